#!/usr/bin/env python3
"""Every storage format of the family against the packages that define it.

For each format a tiny random model is written by the peer's own code (mlx-lm for MLX, gguf for
GGUF), read back and dequantized by that same code into a plain float32 model, and both go through
`tern logits`: the quantized file and its dequantized twin must give the same logits. The forward
pass itself is held against transformers elsewhere (tests/golden/model).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

import tiny_model

BOUND = 1e-5
MLX_AFFINE = [(bits, group) for bits in (2, 3, 4, 5, 6, 8) for group in (32, 64, 128)]
MLX_FLOATS = [("mxfp4", 4, 32), ("mxfp8", 8, 32), ("nvfp4", 4, 16)]
GGUF_TYPES = (
    "F32 F16 BF16 Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q2_K Q3_K Q4_K Q5_K Q6_K IQ4_NL IQ4_XS MXFP4".split()
)


def logits(tern: str, model: Path, tokens: Path, out: Path, isa: str) -> np.ndarray:
    environment = {**os.environ, "TERN_ISA": isa} if isa else os.environ
    run = subprocess.run(
        [tern, "logits", "-m", str(model), "--tokens", str(tokens), "-o", str(out)],
        env=environment, capture_output=True, text=True, timeout=120,
    )
    if run.returncode != 0:
        raise RuntimeError(f"tern logits -m {model} exited {run.returncode}: {run.stderr.strip()}")
    return np.load(out).astype(np.float64)


class Checker:
    def __init__(self, tern: str, folder: Path, isas: list[str]):
        self.tern, self.folder, self.isas = tern, folder, isas
        self.failed: list[str] = []
        self.passed = 0
        rng = np.random.default_rng(11)
        self.tokens = folder / "tokens.json"
        self.tokens.write_text(json.dumps(rng.integers(0, 320, 70).tolist()))

    def compare(self, label: str, model: Path, config: dict, weights: dict[str, np.ndarray]) -> None:
        twin = tiny_model.save(self.folder / "twin", config, weights)
        out = self.folder / "out.npy"
        for isa in self.isas:
            try:
                expected = logits(self.tern, twin, self.tokens, out, isa)
                actual = logits(self.tern, model, self.tokens, out, isa)
                error = np.linalg.norm(actual - expected) / np.linalg.norm(expected)
                good = bool(error <= BOUND) and np.abs(expected).max() > 0
                note = f"relative error {error:.2e}"
            except RuntimeError as failure:
                good, note = False, str(failure)
            name = f"{label} [{isa or 'best'}]"
            print(f"{'ok  ' if good else 'FAIL'} {name}: {note}", flush=True)
            self.passed += good
            if not good:
                self.failed.append(name)


def check_mlx(checker: Checker, config: dict, source: Path) -> None:
    import mlx.core as mx

    import mlx_model

    def run(label: str, **kwargs) -> None:
        target = checker.folder / "mlx" / label.replace(" ", "-")
        written = mlx_model.convert(source, target, **kwargs)
        plain = {k: v for k, v in config.items()}
        checker.compare(f"mlx {label}", target, plain, mlx_model.dequantized(target, written))

    run("bf16")
    run("f16", dtype=mx.float16)
    for bits, group in MLX_AFFINE:
        run(f"affine {bits} bits group {group}", bits=bits, group_size=group)
    run("affine 4 bits group 64 f16", bits=4, group_size=64, dtype=mx.float16)
    for mode, bits, group in MLX_FLOATS:
        run(mode, bits=bits, group_size=group, mode=mode)

    def mixed(path: str, module) -> bool | dict:
        if not hasattr(module, "to_quantized") or "o_proj" in path:
            return False
        if "lm_head" in path or "fc2" in path:
            return {"group_size": 32, "bits": 6, "mode": "affine"}
        return True

    run("mixed 4 and 6 bits, o_proj plain", bits=4, group_size=64, predicate=mixed)


def check_gguf(checker: Checker, config: dict, tensors: dict[str, np.ndarray]) -> None:
    import gguf

    import gguf_model

    for name in GGUF_TYPES:
        path = checker.folder / f"tiny-{name}.gguf"
        kind = gguf.GGMLQuantizationType[name]
        stored = gguf_model.write(path, config, tensors, kind)
        checker.compare(f"gguf {name}", path, config, stored)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tern", required=True, help="the program")
    parser.add_argument("--only", choices=("mlx", "gguf"), help="one container")
    parser.add_argument("--isa", action="append", help="instruction sets; default: the best")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        checker = Checker(options.tern, Path(folder), options.isa or [""])
        config = tiny_model.make_config()
        tensors = tiny_model.make_tensors(config, seed=3)
        source = tiny_model.save(Path(folder) / "hf", config, tensors)
        if options.only != "gguf":
            check_mlx(checker, config, source)
        if options.only != "mlx":
            check_gguf(checker, config, tensors)
    print(f"{checker.passed} passed, {len(checker.failed)} failed")
    return 1 if checker.failed else 0


if __name__ == "__main__":
    sys.exit(main())
