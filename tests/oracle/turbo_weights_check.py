#!/usr/bin/env python3
"""Models with TurboQuant weights, as `tern quantize` writes them, decoded by NumPy.

The decoder below is written from docs/turboquant.md. The logits of the coded model must be those
of mlx-lm for the plain model with the decoded weights, and the weights as near to the original as
the theory of the codebook says.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

import codec_check
import mlx_model
import tern_cli
import tiny_model

BOUND = 1e-4
# Relative error of normal weights with a searched scale.
THEORY = {2: 0.1110, 3: 0.0293, 4: 0.00688, 5: 0.00165}


def gaussian_levels(bits: int) -> np.ndarray:
    """Lloyd and Max's levels for N(0, 1), by integrals on a grid."""
    t = (np.arange(400_000) + 0.5) * 1e-5 * 2.5
    f = np.exp(-t * t / 2)
    mass, moment = np.concatenate([[0], np.cumsum(f)]), np.concatenate([[0], np.cumsum(t * f)])
    grid = np.concatenate([[0], t + 1.25e-5])
    half = 1 << (bits - 1)
    levels = 3 * (np.arange(half) + 0.5) / half
    for _ in range(4000):
        bounds = np.concatenate([[0], (levels[1:] + levels[:-1]) / 2, [10]])
        levels, before = (np.diff(np.interp(bounds, grid, moment))
                          / np.diff(np.interp(bounds, grid, mass)), levels)
        if np.max(np.abs(levels - before)) < 1e-12:
            break
    return np.concatenate([-levels[::-1], levels])


def stored_levels(bits: int) -> np.ndarray:
    """Those of the format: multiples of 1/512."""
    return np.rint(512 * gaussian_levels(bits)) / 512


def unpack(words: np.ndarray, bits: int) -> np.ndarray:
    """Codes of the little-endian bit stream of each row."""
    rows = words.reshape(-1, words.shape[-1]).view(np.uint8)
    stream = np.unpackbits(rows, axis=1, bitorder="little")
    codes = stream.reshape(len(rows), -1, bits) @ (1 << np.arange(bits))
    return codes.reshape(*words.shape[:-1], -1)


def decode(words: np.ndarray, scales: np.ndarray, bits: int, seed: int) -> np.ndarray:
    values = stored_levels(bits)[unpack(words, bits)] * np.repeat(scales.astype(np.float64), 64, -1)
    generator = codec_check.Generator(seed)
    signs = np.array([1.0 if generator.next() >> 63 == 0 else -1.0 for _ in range(64)])
    hadamard = np.array([[1.0]])
    while len(hadamard) < 64:
        hadamard = np.block([[hadamard, hadamard], [hadamard, -hadamard]])
    groups = values.reshape(*values.shape[:-1], -1, 64)
    return ((groups @ hadamard / 8) * signs).reshape(values.shape)  # R^T of each group


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tern", required=True, help="the program")
    options = parser.parse_args()
    report = tern_cli.Report()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tokens, out = folder / "tokens.json", folder / "out.npy"
        config = tiny_model.make_config()
        plain = tiny_model.save(folder / "plain", config, tiny_model.make_tensors(config, 3))
        original = load_file(plain / "model.safetensors")
        ids = np.random.default_rng(1).integers(0, config["vocab_size"], 90).tolist()
        tokens.write_text(json.dumps(ids))
        for bits in (2, 3, 4, 5):
            coded = folder / f"coded{bits}"
            subprocess.run([options.tern, "quantize", str(plain), str(coded), "--bits", str(bits),
                            "--head-bits", str(bits), "--seed", "9"], check=True, capture_output=True, timeout=120)
            quantization = json.loads((coded / "config.json").read_text())["quantization"]
            assert quantization["rotation_seed"] == 9 and quantization["bits"] == bits
            stored = load_file(coded / "model.safetensors")
            decoded, error, square = dict(original), 0.0, 0.0
            for key, scales in stored.items():
                if not key.endswith(".scales"):
                    continue
                weight = key.removesuffix(".scales") + ".weight"
                decoded[weight] = decode(stored[weight], scales, bits, 9).astype(np.float32)
                error += float(np.sum((decoded[weight] - original[weight].astype(np.float64)) ** 2))
                square += float(np.sum(original[weight].astype(np.float64) ** 2))
            ratio = error / square / THEORY[bits]
            report.add(f"{bits} bits: error of the weights", math.isclose(ratio, 1, rel_tol=0.03),
                       f"{error / square:.5f}, {ratio:.3f} of the theory")
            target = folder / f"decoded{bits}"
            target.mkdir()
            (target / "config.json").write_text((plain / "config.json").read_text())
            save_file({k: np.ascontiguousarray(v) for k, v in decoded.items()},
                      target / "model.safetensors", metadata={"format": "pt"})
            expected = mlx_model.logits(target, ids).astype(np.float64)
            for isa in ("scalar", ""):
                report.compare(f"{bits} bits, {isa or 'best'}", expected, BOUND,
                               lambda isa=isa, coded=coded: tern_cli.logits(
                                   options.tern, coded, tokens, out, isa))
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
