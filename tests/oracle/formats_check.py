#!/usr/bin/env python3
"""Every storage format of the family against the packages that define it.

For each format a tiny random model is written by the peer's own code (mlx-lm for MLX, gguf for
GGUF) and dequantized by that same code into a plain float32 twin. mlx-lm computes the twin's logits
in float32; `tern logits` of the quantized file must agree, for every position.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np

import mlx_model
import tern_cli
import tiny_model
from tern_cli import Report

BOUND = 1e-5
FAST_BOUND = 5e-4  # activations of 16 bits
MLX_AFFINE = [(bits, group) for bits in (2, 3, 4, 5, 6, 8) for group in (32, 64, 128)]
MLX_FLOATS = [("mxfp4", 4, 32), ("mxfp8", 8, 32), ("nvfp4", 4, 16)]
GGUF_TYPES = (
    "F32 F16 BF16 Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q2_K Q3_K Q4_K Q5_K Q6_K IQ4_NL IQ4_XS MXFP4".split()
)


class Checker:
    def __init__(self, tern: str, folder: Path, isas: list[str]):
        self.tern, self.folder, self.isas = tern, folder, isas
        self.report = Report()
        rng = np.random.default_rng(11)
        self.ids = rng.integers(0, 320, 70).tolist()
        self.tokens = folder / "tokens.json"
        self.tokens.write_text(json.dumps(self.ids))

    def compare(self, label: str, model: Path, config: dict, weights: dict[str, np.ndarray]) -> None:
        twin = tiny_model.save(self.folder / "twin", config, weights)
        expected = mlx_model.logits(twin, self.ids).astype(np.float64)
        out = self.folder / "out.npy"
        for isa in self.isas:
            self.report.compare(
                f"{label} [{isa or 'best'}]",
                expected,
                BOUND if isa == "scalar" else FAST_BOUND,
                lambda: tern_cli.logits(self.tern, model, self.tokens, out, isa),
            )

    def refused(self, label: str, model: Path, reason: str) -> None:
        try:
            tern_cli.logits(self.tern, model, self.tokens, self.folder / "out.npy")
            self.report.add(label, False, "was accepted")
        except tern_cli.TernError as failure:
            self.report.add(label, reason in str(failure), str(failure).splitlines()[0])


def check_mlx(checker: Checker, config: dict, source: Path) -> None:
    import mlx.core as mx

    def run(label: str, **kwargs) -> None:
        target = checker.folder / "mlx" / label.replace(" ", "-")
        written = mlx_model.convert(source, target, **kwargs)
        checker.compare(f"mlx {label}", target, config, mlx_model.dequantized(target, written))

    run("bf16")
    run("f16", dtype=mx.float16)
    for bits, group in MLX_AFFINE:
        run(f"affine {bits} bits group {group}", bits=bits, group_size=group)
    run("affine 4 bits group 64 f16", bits=4, group_size=64, dtype=mx.float16)
    for mode, bits, group in MLX_FLOATS:
        run(mode, bits=bits, group_size=group, mode=mode)

    scaled = checker.folder / "mlx" / "nvfp4-global"
    mlx_model.convert(source, scaled, bits=4, group_size=16, mode="nvfp4", global_scale=True)
    checker.refused("mlx nvfp4 with global scales", scaled, "global scale")

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
    return checker.report.finish()


if __name__ == "__main__":
    sys.exit(main())
