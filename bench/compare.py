#!/usr/bin/env python3
"""tern and llama.cpp in turn on the same file.

Each round runs every test once in tern and once in llama.cpp (each after one run to warm up), so that
slow and fast spells of the machine meet both. Prints medians and the ratio of medians.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import time
from pathlib import Path

import harness

PRESETS = ("q4_0", "q4km", "mxfp4", "q8_0", "iq4nl")


def peak_memory(command: list) -> int:
    """Bytes that stayed resident besides the mapped files, at most."""
    process = subprocess.Popen([str(part) for part in command], stdout=subprocess.DEVNULL)
    most = 0
    while process.poll() is None:
        status = harness.read(f"/proc/{process.pid}/status")
        own = re.search(r"^RssAnon:\s*(\d+) kB", status, re.M)
        most = max(most, int(own.group(1)) * 1024 if own else 0)
        time.sleep(0.02)
    return most


def tests(options) -> list[tuple[int, int, int]]:
    """(prompt, generate, depth) of each."""
    one = [(n, 0) for n in options.n_prompt if n] + [(0, n) for n in options.n_gen if n]
    return [(*test, depth) for depth in options.n_depth for test in one]


def lengths(test: tuple[int, int, int]) -> list:
    return ["-p", test[0], "-n", test[1], "-d", test[2], "-r", 1]


def run_tern(options, model: Path, test: tuple[int, int, int]) -> dict:
    command = [options.tern, "bench", "-m", model, "-t", options.threads, "-o", "json", "--kv", options.kv]
    if options.prefill_chunk:
        command += ["--prefill-chunk", options.prefill_chunk]
    return json.loads(harness.call(command + lengths(test), options.under))[0]


def run_peer(options, model: Path, test: tuple[int, int, int]) -> dict:
    command = [sys.executable, harness.ROOT / "bench/llama_peer.py", "-m", model, "-t", options.threads,
               "--kv", options.peer_kv or options.kv]
    return json.loads(harness.call(command + lengths(test), options.under))


def start_up(options, model: Path) -> float:
    """Seconds from the start of the program to its first token, the file in the page cache."""
    seconds = []
    for _ in range(3):
        begin = time.perf_counter()
        harness.call([options.tern, "generate", "-m", model, "--raw", "-p", "a", "-n", 1, "--ctx", 4096])
        seconds.append(time.perf_counter() - begin)
    return min(seconds)


def compare(options, model: Path) -> dict:
    found: dict[str, dict] = {}
    peer = {}
    for number in range(options.rounds):
        print(f"{model.name}: round {number + 1} of {options.rounds}", file=sys.stderr, flush=True)
        for test in tests(options):
            ours = run_tern(options, model, test)
            row = found.setdefault(harness.test_name(ours), {"tern": [], "llama.cpp": []})
            row["tern"] += ours["samples_ts"]
            peer = run_peer(options, model, test)
            row["llama.cpp"] += peer["tests"][0]["samples_ts"]
    for row in found.values():
        row["tern_median"] = harness.median(row["tern"])
        row["peer_median"] = harness.median(row["llama.cpp"])
        row["ratio"] = row["tern_median"] / row["peer_median"]
    memory = [options.tern, "bench", "-m", model, "-p", 512, "-n", 8, "-r", 1, "-t", options.threads]
    return {
        "file": harness.Work(options.tern, model).describe(),
        "kv": options.kv,
        "tests": found,
        "tern_first_token_s": start_up(options, model),
        "peer_load_s": peer["load_s"],
        "tern_own_memory_bytes": peak_memory(memory),
        "peer_peak_rss_bytes": peer["peak_rss_bytes"],
        "peer": peer["version"],
        "peer_features": peer["features"],
    }


def spread(values: list[float]) -> str:
    return f"{harness.median(values):.2f} [{min(values):.2f} .. {max(values):.2f}]"


def render(result: dict) -> str:
    text = [f"Machine: {harness.machine_line(result['machine'])}.",
            f"{result['tern']}; {result['models'][0]['peer']}; {result['threads']} threads, "
            f"{result['rounds']} rounds in turn, f16 cache unless said otherwise. Tokens a second: median [slowest .. fastest].", ""]
    rows = []
    for model in result["models"]:
        for name, row in model["tests"].items():
            rows.append([model["file"].split(":")[0], name, spread(row["tern"]), spread(row["llama.cpp"]),
                         f"**{row['ratio']:.2f}**"])
    text += [harness.table(["file", "test", "tern", "llama.cpp", "ratio"], rows), ""]
    rows = [[model["file"].split(":")[0], f"{model['tern_first_token_s']:.2f} s", f"{model['peer_load_s']:.2f} s",
             f"{model['tern_own_memory_bytes'] / 1e6:.0f} MB", f"{model['peer_peak_rss_bytes'] / 1e6:.0f} MB"]
            for model in result["models"]]
    text += [harness.table(["file", "tern: start to first token", "llama.cpp: load",
                            "tern: memory besides the file", "llama.cpp: peak RSS"], rows), ""]
    text += ["Files:", ""] + [f"- {model['file']}" for model in result["models"]]
    return "\n".join(text) + "\n"


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", type=Path, help="GGUF files; without one, synthetic ones are made")
    parser.add_argument("--tern", type=Path, default=harness.ROOT / "build/release/tern")
    parser.add_argument("--preset", action="append", choices=PRESETS, help="of a synthetic file; default: q4_0")
    parser.add_argument("--experts", type=int, default=128, help="of a synthetic file")
    parser.add_argument("--pattern", default="MEMEM*E", help="layers of a synthetic file: M, E and *; 'full' is all 52")
    parser.add_argument("--folder", type=Path, default=harness.ROOT / "build/bench", help="for files and results")
    parser.add_argument("-p", "--n-prompt", type=harness.numbers, default=[512])
    parser.add_argument("-n", "--n-gen", type=harness.numbers, default=[64])
    parser.add_argument("-d", "--n-depth", type=harness.numbers, default=[0])
    parser.add_argument("-t", "--threads", type=int, default=harness.machine()["cpus"])
    parser.add_argument("-r", "--rounds", type=int, default=5)
    parser.add_argument("--kv", default="f16", help="cache type of tern")
    parser.add_argument("--peer-kv", default="", help="cache type of llama.cpp, if another")
    parser.add_argument("--prefill-chunk", type=int, default=0, help="prompt tokens that tern reads together")
    parser.add_argument("--under", default="", help="command line that runs each measurement, such as 'nice -n -5'")
    parser.add_argument("-o", "--output", default="compare", help="name of the results: .json and .md")
    return parser.parse_args()


def main() -> None:
    options = parse()
    models = options.models
    if not models:
        from make_synthetic_gguf import PATTERN
        pattern = PATTERN if options.pattern == "full" else options.pattern
        models = [harness.synthetic(options.folder, preset, options.experts, pattern)
                  for preset in options.preset or ["q4_0"]]
    result = {"machine": harness.machine(), "tern": harness.tern_version(options.tern), "threads": options.threads,
              "rounds": options.rounds, "models": [compare(options, model) for model in models]}
    options.folder.mkdir(parents=True, exist_ok=True)
    text = render(result)
    (options.folder / f"{options.output}.json").write_text(json.dumps(result, indent=1))
    (options.folder / f"{options.output}.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
