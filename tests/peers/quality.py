#!/usr/bin/env python3
"""What quantization costs the embedded model: files of tern beside those of mlx-lm and llama.cpp.

One run, one base (BF16), one text. Held-out conversations of every kind that the model was trained
on (demo/train/data.py) are read in windows; every token's prediction counts, the model's own answers
and the questions alike. All files are read by tern, in whose arithmetic they differ by their weights
alone. The table gives the mean KL divergence from the base, and of the difference between two files
its standard error over windows: what one file loses at a window is much like what the other loses
there, so that the difference is known better than either.

  --report   writes the table into docs/convert.md, with the versions that made it
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import random
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests/oracle"), str(ROOT / "demo/train")]

import data  # noqa: E402
import gguf_files  # noqa: E402
import pages  # noqa: E402
import tern_cli  # noqa: E402

GGUF = ("q2_k", "q3_k_m", "iq4_xs", "q4_k_m")
MLX_BITS = (2, 3, 4)
# Kinds of conversations, each a task of its own.
KINDS = ("direct", "thinking", "facts", "lookup", "recall512", "courtesy")
WINDOW = 512  # tokens, each from an empty state
PART = "tests/peers/quality.py --report"


@dataclass
class Window:
    kind: str
    ids: list[int]


def conversation(rng: random.Random, kind: str) -> str:
    """One that training never saw: operands of the held-out share."""
    if kind in ("direct", "thinking"):
        op = rng.choice("+-*")
        turn = data.arithmetic_turn(rng, op, kind == "thinking", test=True)
        chat = data.Chat([turn], kind == "thinking")
    else:
        chat = data.sample(rng, {kind: 1.0})
    return "".join(text for text, _ in chat.render()) + "\n"


def windows(per_kind: int, seed: str) -> list[Window]:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(ROOT / "demo/model/tokenizer.json"))
    found = []
    for kind in KINDS:
        rng = random.Random(f"{seed} {kind}")
        for _ in range(per_kind):
            ids: list[int] = []
            while len(ids) < WINDOW:
                ids += tokenizer.encode(conversation(rng, kind), add_special_tokens=False).ids
            found.append(Window(kind, ids[:WINDOW]))
    return found


def calibration(folder: Path) -> Path:
    """Other conversations of the same kinds, for importance matrices."""
    file = folder / "calibration.txt"
    parts = [conversation(random.Random(f"calibration {kind} {i}"), kind) for i in range(60) for kind in KINDS]
    file.write_text("".join(parts))
    return file


class Judge:
    """Mean KL divergence from the base, for each window."""

    def __init__(self, tern: str, base: Path | str, text: list[Window], folder: Path) -> None:
        self.tern, self.folder, self.text = tern, folder, text
        for i, window in enumerate(text):
            (folder / f"{i}.json").write_text(json.dumps(window.ids))
        with ThreadPoolExecutor(2) as pool:
            self.base = list(pool.map(lambda i: self.log_p(base, i), range(len(text))))

    def log_p(self, model: Path | str, i: int) -> np.ndarray:
        logits = tern_cli.logits(self.tern, model, self.folder / f"{i}.json", self.folder / f"{i}.npy", "", "-t", "1")
        logits -= logits.max(axis=1, keepdims=True)
        return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))

    def divergences(self, model: Path | str) -> np.ndarray:
        def one(i: int) -> float:
            p, q = self.base[i], self.log_p(model, i)
            return float((np.exp(p) * (p - q)).sum(axis=1).mean())

        with ThreadPoolExecutor(2) as pool:
            return np.array(list(pool.map(one, range(len(self.text)))))


def error(values: np.ndarray) -> float:
    return float(values.std(ddof=1) / np.sqrt(len(values)))


def convert(tern: str, source: Path | str, out: Path, to: str, *flags: str) -> Path:
    subprocess.run([tern, "convert", str(source), str(out), "--to", to, *flags], check=True, capture_output=True)
    return out


@dataclass
class Row:
    format: str
    peer: str
    theirs: np.ndarray  # of each window
    ours: np.ndarray

    def line(self) -> str:
        difference = self.ours - self.theirs
        return (f"| {self.format} | {self.peer} | {self.theirs.mean():.5f} | {self.ours.mean():.5f} "
                f"| {difference.mean():+.5f} \u00b1 {error(difference):.5f} "
                f"| {int((difference < 0).sum())} of {len(difference)} |")

    @property
    def good(self) -> bool:
        return float(self.ours.mean()) < float(self.theirs.mean())


class Bench:
    def __init__(self, tern: str, folder: Path, text: list[Window]) -> None:
        self.tern, self.folder = tern, folder
        self.judge = Judge(tern, "demo", text, folder)
        self.plain = convert(tern, "demo", folder / "demo.gguf", "gguf-bf16")
        self.imatrix = folder / "imatrix.gguf"
        subprocess.run([tern, "imatrix", "-m", "demo", "-f", calibration(folder), "--special", "-o", self.imatrix],
                       check=True, capture_output=True)

    def ours(self, to: str, weighted: bool) -> np.ndarray:
        out = self.folder / f"{to}{'-weighted' if weighted else ''}{'.gguf' if to.startswith('gguf') else ''}"
        flags = ["--imatrix", str(self.imatrix)] if weighted else []
        return self.judge.divergences(convert(self.tern, "demo", out, to, *flags))

    def llama(self, recipe: str, weighted: bool) -> Row:
        theirs = self.folder / "llama.gguf"
        gguf_files.quantize(self.plain, theirs, recipe, self.imatrix if weighted else None)
        return Row(f"GGUF {recipe.upper()}" + (", importance" if weighted else ""), "llama.cpp",
                   self.judge.divergences(theirs), self.ours(f"gguf-{recipe}", weighted))

    def mlx(self, bits: int) -> Row:
        import mlx_model

        theirs = self.folder / f"lm-{bits}"
        mlx_model.convert(ROOT / "demo/model", theirs, bits=bits, group_size=64)
        return Row(f"MLX {bits} bits", "mlx-lm", self.judge.divergences(theirs), self.ours(f"mlx-{bits}bit", False))

    def mlx_weighted(self, bits: int, plain: Row) -> Row:
        return Row(f"MLX {bits} bits, importance", "tern without", plain.ours, self.ours(f"mlx-{bits}bit", True))


def versions() -> str:
    return ", ".join(f"{p} {importlib.metadata.version(p)}" for p in ("mlx-lm", "llama-cpp-python"))


def write_report(text: list[Window], lines: list[str]) -> None:
    note = f"{len(text)} windows of {WINDOW} tokens; {versions()}; {date.today()}."
    pages.write(ROOT / "docs/convert.md", PART, [note, "", *lines])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tern", required=True, help="the program")
    parser.add_argument("--report", action="store_true", help="write the table into docs/convert.md")
    parser.add_argument("--windows", type=int, default=8, help="of each kind of conversation")
    parser.add_argument("--seed", default="eval", help="of the conversations")
    options = parser.parse_args()
    text = windows(options.windows, options.seed)
    lines = ["| format | beside | KLD, theirs | KLD, tern | difference | lower in |", "|---|---|---|---|---|---|"]
    print("\n".join(lines))
    rows = []

    def add(row: Row) -> Row:
        rows.append(row)
        lines.append(row.line())
        print(lines[-1], flush=True)
        return row

    with tempfile.TemporaryDirectory() as name:
        bench = Bench(options.tern, Path(name), text)
        coarse = [add(bench.mlx(bits)) for bits in MLX_BITS]
        for recipe in GGUF:
            add(bench.llama(recipe, False))
        add(bench.mlx_weighted(2, coarse[0]))
        add(bench.llama("q2_k", True))
    if options.report:
        write_report(text, lines)
    return 0 if all(row.good for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
