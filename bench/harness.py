"""What the measuring programs share: the machine, the program, models and how much work a token is."""

from __future__ import annotations

import json
import os
import platform
import re
import shlex
import statistics
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FEATURES = "avx2 avx512f avx512_vnni avx512_bf16 avx512_fp16 amx_bf16 amx_int8 asimd i8mm bf16"


def read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def machine() -> dict:
    cpu = read("/proc/cpuinfo")
    name = re.search(r"^model name\s*: (.*)$", cpu, re.M)
    flags = re.search(r"^(?:flags|Features)\s*: (.*)$", cpu, re.M)
    have = set(flags.group(1).split()) if flags else set()
    memory = re.search(r"^MemTotal:\s*(\d+) kB", read("/proc/meminfo"), re.M)
    return {
        "cpu": name.group(1) if name else platform.machine(),
        "cpus": len(os.sched_getaffinity(0)),
        "features": [flag for flag in FEATURES.split() if flag in have],
        "memory_GiB": round(int(memory.group(1)) / 2**20, 1) if memory else None,
        "kernel": platform.release(),
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
    }


def machine_line(m: dict) -> str:
    return (f"{m['cpu']}, {m['cpus']} CPUs ({', '.join(m['features'])}), {m['memory_GiB']} GiB, "
            f"Linux {m['kernel']}, {m['date']}")


def call(command: list, under: str = "", **environment: str) -> str:
    """Standard output of `command`, run by the command line `under`, if any."""
    line = shlex.split(under) + [str(part) for part in command]
    run = subprocess.run(line, capture_output=True, text=True, env={**os.environ, **environment})
    if run.returncode != 0:
        raise SystemExit(f"{shlex.join(line)}\nexited {run.returncode}: {run.stderr.strip()[-2000:]}")
    return run.stdout


def tern_version(tern: Path) -> str:
    commit = subprocess.run(["git", "-C", str(ROOT), "describe", "--always", "--dirty"],
                            capture_output=True, text=True).stdout.strip()
    return f"{call([tern, '--version']).splitlines()[0]} ({commit or 'no commit'})"


def synthetic(folder: Path, preset: str, experts: int, pattern: str) -> Path:
    """A model file with the family's widths and random weights, made once.

    The vocabulary shrinks with the number of layers, so that the output matrix keeps its share.
    """
    layers = pattern.replace("*", "A")
    vocabulary = max(131072 * len(pattern) // 52 // 256 * 256, 2048)
    path = folder / f"{preset}-e{experts}-{layers if len(layers) < 20 else 'full'}.gguf"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        call([sys.executable, ROOT / "bench/make_synthetic_gguf.py", "--preset", preset, "--experts",
              experts, "--pattern", pattern, "--vocab", vocabulary, partial])
        partial.rename(path)
    return path


class Work:
    """Bytes read and operations done for one token."""

    def __init__(self, tern: Path, model: Path):
        self.info = info = json.loads(call([tern, "info", "-m", model, "--tensors", "--json"]))
        share = info["experts_per_token"] / max(info["experts"], 1)
        self.decode_bytes = self.prompt_flops = 0.0
        for tensor in info["tensors"]:
            if tensor["role"] == "embedding" and "output.weight" in {t["name"] for t in info["tensors"]}:
                continue
            part = share if tensor["shape"].count(",") == 2 else 1.0
            self.decode_bytes += part * tensor["bytes"]
            if tensor["name"] not in ("output.weight", "lm_head.weight"):
                self.prompt_flops += 2 * part * tensor["parameters"]
        state = info["memory"][0]["state"]
        self.decode_bytes += state  # read for each token, written for each sixteenth

    def describe(self) -> str:
        info = self.info
        layers = ", ".join(f"{n} {kind}" for kind, n in info["layers"].items() if n)
        types = ", ".join(f"{name} {100 * t['bytes'] / info['weight_bytes']:.0f} %"
                          for name, t in info["types"].items() if t["bytes"] > info["weight_bytes"] / 100)
        return (f"{Path(info['model']).name}: {info['weight_bytes'] / 1e9:.2f} GB ({types} of the bytes), layers: {layers}; "
                f"{info['experts']} experts")


def median(values: list[float]) -> float:
    return statistics.median(values)


def numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def test_name(test: dict) -> str:
    name = f"pp{test['n_prompt']}" if test["n_prompt"] else f"tg{test['n_gen']}"
    return name + (f" @ d{test['n_depth']}" if test["n_depth"] else "")


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])
