#!/usr/bin/env python3
"""Every variant of the family, made, found by its name, and used.

From a small random checkpoint, whose widths are to each other as the family's are (so that rows are
no whole blocks of 256, and GGUF's fallbacks fire), and from the embedded model, `tern convert` makes
each of the 14 formats once. The files are linked into a cache of Hugging Face's layout under the 28
names that hold weights, and everything then goes by name: 56 names load, generate and give logits,
those with a suffix with the cache that it promises. Logits of the small model must be those that
mlx-lm computes in float32 from the dequantized weights (the package gguf decodes GGUF). The table in
docs/variants.md must say what was found; --update writes it.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import gguf_model
import mlx_model
import pages
import tern_cli
import tiny_model

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/variants.md"
PART = "tests/oracle/variants_check.py --update"
FAMILY = "majentik/Nemotron-3-Nano-Omni-30B-A3B-Reasoning-"
PARAMETERS = 31_577_940_288  # of the family's text model
COMMIT = "0123456789abcdef0123456789abcdef01234567"
TOKENS = 192  # more than the 16-bit windows of a cache hold
BOUND = 3e-4  # from the oracle
CACHE_BOUND = 0.08  # what a 4-bit cache may move logits of random weights, which it must move
SIDE_FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json",
              "special_tokens_map.json")
TOLERANCE = 0.15  # of losses in the table: instruction sets round differently


def small_config() -> dict:
    """The family's widths, about a sixth of them; the vocabulary of the embedded model."""
    return tiny_model.make_config(
        hybrid_override_pattern="MEM*E", vocab_size=2048, hidden_size=448, mamba_num_heads=12, mamba_head_dim=64,
        n_groups=4, ssm_state_size=64, num_attention_heads=4, num_key_value_heads=2, head_dim=128,
        n_routed_experts=6, moe_intermediate_size=320, moe_shared_expert_intermediate_size=640, bos_token_id=1,
        eos_token_id=11)


@dataclass
class Found:
    """What one name gave."""

    kv: str
    answer: str
    logits: np.ndarray


class Family:
    def __init__(self, tern: str, folder: Path) -> None:
        self.tern, self.folder = tern, folder
        self.variants = json.loads(self.run("variants", "--json"))["variants"]
        self.formats = list(dict.fromkeys(v["format"] for v in self.variants))
        self.tokens = folder / "tokens.json"
        self.tokens.write_text(json.dumps(np.random.default_rng(2).integers(0, 2048, TOKENS).tolist()))

    def run(self, *arguments: object, home: Path | None = None, fails: bool = False) -> str:
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "HF_HUB_OFFLINE": "1",
                       "HF_HOME": str(home or self.folder / "nowhere")}
        if isa := os.environ.get("TERN_ISA"):
            environment["TERN_ISA"] = isa
        run = subprocess.run([self.tern, *map(str, arguments)], env=environment, capture_output=True, text=True,
                             timeout=300, stdin=subprocess.DEVNULL)
        if (run.returncode != 0) != fails:
            raise tern_cli.TernError(f"tern {' '.join(map(str, arguments))}: {run.returncode} {run.stderr.strip()}")
        return run.stderr if fails else run.stdout

    def convert(self, source: Path | str, place: Path, kind: str) -> None:
        """The files of one format, as its repository holds them."""
        if kind.startswith("GGUF-"):
            place.mkdir()
            self.run("convert", source, place / (kind[5:] + ".gguf"), "--to", kind.lower(), "-t", 1)
        else:
            self.run("convert", source, place, "--to", kind.lower(), "-t", 1)

    def publish(self, source: Path | str, label: str) -> Path:
        """A cache that holds all formats of a model under all names. @return HF_HOME"""
        home = self.folder / f"home-{label}"
        made = self.folder / f"made-{label}"
        made.mkdir()
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda kind: self.convert(source, made / kind, kind), self.formats))
        for variant in self.variants:
            if variant["name"] != variant["weights"]:
                continue  # a card only: no repository with weights
            repository = home / "hub" / ("models--" + variant["repository"].replace("/", "--"))
            snapshot = repository / "snapshots" / COMMIT
            snapshot.mkdir(parents=True)
            (repository / "refs").mkdir()
            (repository / "refs/main").write_text(COMMIT)
            for file in (made / variant["format"]).iterdir():
                (snapshot / file.name).symlink_to(file)
        return home

    def oracle(self, kind: str, config: dict) -> np.ndarray:
        """Logits of the small model's dequantized weights."""
        place = self.folder / "made-small" / kind
        if kind.startswith("GGUF-"):
            weights = gguf_model.read(place / (kind[5:] + ".gguf"), config)
        else:
            weights = mlx_model.dequantized(place, json.loads((place / "config.json").read_text()))
        twin = tiny_model.save(self.folder / "twin", config, weights)
        return mlx_model.logits(twin, json.loads(self.tokens.read_text())).astype(np.float64)

    def logits(self, model: str, home: Path | None) -> np.ndarray:
        out = self.folder / f"{model.split('/')[-1]}.npy"
        self.run("logits", "-m", model, "--tokens", self.tokens, "-o", out, "-t", 1, home=home)
        return np.load(out).astype(np.float64)

    def use(self, variant: dict, small: Path, demo: Path) -> Found:
        name = variant["repository"]
        if name.startswith(FAMILY + "TurboQuant"):  # the other label's files are the same
            self.run("generate", "-m", name, "-p", "Hello", "-n", 2, "--temp", 0, "-t", 1, home=small)
        answer = self.run("generate", "-m", name, "-p", "Solve: 17 * 23", "-n", 200, "--temp", 0, "-t", 1, home=demo)
        numbers = re.findall(r"\d+", answer)
        kv = json.loads(self.run("info", name, "--json", home=demo))["kv"]
        return Found(kv, "391" if numbers[-1:] == ["391"] else "wrong", self.logits(name, small))


def check_roots(family: Family, report: tern_cli.Report) -> None:
    for name, said in (("TurboQuant", "--kv turbo4"), ("RotorQuant", "--kv iso4"), ("mmproj-F16", "encoders")):
        message = family.run("generate", "-m", FAMILY + name, "-p", "Hello", fails=True)
        report.add(f"{name} says what it is", said in message and "weights" in message or said == "encoders" in message,
                   message.splitlines()[0])


def table(rows: list[list[str]]) -> list[str]:
    head = ["name", "format", "bits a weight", "bytes of the full model", "KV cache", "from the oracle", "from BF16",
            "17 * 23"]
    return ["| " + " | ".join(head) + " |", "|---" * len(head) + "|", *("| " + " | ".join(r) + " |" for r in rows)]


def same_line(ours: str, theirs: str) -> bool:
    """Equal, but for losses, which may differ a little."""
    a, b = (line.strip("| ").split(" | ") for line in (ours, theirs))
    if len(a) != len(b):
        return False
    loss = len(a) - 2
    for i, (x, y) in enumerate(zip(a, b)):
        if i == loss and re.fullmatch(r"[\d.e+-]+ %", x) and re.fullmatch(r"[\d.e+-]+ %", y):
            u, v = float(x[:-2]), float(y[:-2])
            if abs(u - v) > TOLERANCE * max(u, v):
                return False
        elif x != y:
            return False
    return True


def check_page(report: tern_cli.Report, lines: list[str], update: bool) -> None:
    if update:
        pages.write(PAGE, PART, lines)
        return
    committed = pages.read(PAGE, PART)
    wrong = [a for a, b in zip(lines, committed) if not same_line(a, b)]
    report.add("docs/variants.md", len(lines) == len(committed) and not wrong,
               "; ".join(wrong[:3]) or f"{len(lines) - 2} rows")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tern", required=True, help="the program")
    parser.add_argument("--update", action="store_true", help="write the table in docs/variants.md")
    options = parser.parse_args()
    report = tern_cli.Report()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        family = Family(options.tern, folder)
        config = small_config()
        source = tiny_model.save(folder / "small", config, tiny_model.make_tensors(config, seed=4))
        for file in SIDE_FILES:
            shutil.copy(ROOT / "demo/model" / file, source / file)
        small, demo = family.publish(source, "small"), family.publish("demo", "demo")
        report.add("names", len(family.variants) == 56 and len(family.formats) == 14, f"{len(family.variants)} names")
        check_roots(family, report)
        base = family.logits(str(source), None)
        oracles = {kind: family.oracle(kind, config) for kind in family.formats}
        with ThreadPoolExecutor(2) as pool:
            found = dict(zip((v["name"] for v in family.variants),
                             pool.map(lambda v: family.use(v, small, demo), family.variants)))
        rows = []
        for variant in family.variants:
            one, truth = found[variant["name"]], oracles[variant["format"]]
            error = tern_cli.relative_error(one.logits, truth)
            least, bound = (0, BOUND) if variant["name"] == variant["weights"] else (2 * BOUND, CACHE_BOUND)
            good = least <= error <= bound and one.kv == variant["kv"]
            report.add(variant["name"], good, f"{error:.1e} from the oracle, cache {one.kv}, says {one.answer}")
            loss = 100 * tern_cli.relative_error(one.logits, base)
            rows.append([f"`{variant['name']}`", variant["format"], f"{8 * variant['bytes'] / PARAMETERS:.2f}",
                         f"{variant['bytes']:,}".replace(",", " "), one.kv,
                         f"within {bound:.0e}" if good else "NO", f"{loss:.2g} %", one.answer])
        check_page(report, table(rows), options.update)
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main())
