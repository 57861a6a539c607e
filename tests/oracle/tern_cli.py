"""Calls of the program under test, shared by the oracle scripts."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np


class TernError(RuntimeError):
    """The program ended with an error."""


def logits(tern: str, model: Path, tokens: Path, out: Path, isa: str = "", *flags: str) -> np.ndarray:
    """[tokens, vocabulary] in float64, from `tern logits`."""
    environment = {**os.environ, "TERN_ISA": isa} if isa else os.environ
    run = subprocess.run(
        [tern, "logits", "-m", str(model), "--tokens", str(tokens), "-o", str(out), *flags],
        env=environment, capture_output=True, text=True, timeout=300,
    )
    if run.returncode != 0:
        raise TernError(f"tern logits -m {model} exited {run.returncode}: {run.stderr.strip()}")
    return np.load(out).astype(np.float64)


def relative_error(actual: np.ndarray, expected: np.ndarray) -> float:
    """||a - b|| / ||b||, infinite when shapes differ or b says nothing."""
    scale = np.linalg.norm(expected)
    if actual.shape != expected.shape or not scale > 0:
        return float("inf")
    return float(np.linalg.norm(actual - expected) / scale)


class Report:
    """Prints one line for each comparison and counts."""

    def __init__(self) -> None:
        self.passed = 0
        self.failed: list[str] = []

    def add(self, name: str, good: bool, note: str) -> None:
        print(f"{'ok  ' if good else 'FAIL'} {name}: {note}", flush=True)
        if good:
            self.passed += 1
        else:
            self.failed.append(name)

    def compare(self, name: str, expected: np.ndarray, bound: float, call) -> None:
        """`call` gives the actual logits, or raises TernError."""
        try:
            error = relative_error(call(), expected)
            self.add(name, error <= bound, f"relative error {error:.2e}, bound {bound:.0e}")
        except TernError as failure:
            self.add(name, False, str(failure))

    def finish(self) -> int:
        print(f"{self.passed} passed, {len(self.failed)} failed")
        return 1 if self.failed else 0
