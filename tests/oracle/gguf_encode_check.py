#!/usr/bin/env python3
"""GGUF blocks and files that tern writes, read and written again by the package gguf.

The reference form must give the package's own bytes; the searched form must decode, by the package,
to less error than the package's, and for types that it cannot write to the error of a good search.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from pathlib import Path

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type
from gguf import quants

import tern_cli

REFERENCE = (Type.F32, Type.F16, Type.BF16, Type.Q4_0, Type.Q4_1, Type.Q5_0, Type.Q5_1, Type.Q8_0, Type.MXFP4)
# Relative squared error on normal weights that the search must not exceed.
BOUNDS = {Type.Q2_K: 0.069, Type.Q3_K: 0.021, Type.Q4_K: 0.0051, Type.Q5_K: 0.00123, Type.Q6_K: 0.000290,
          Type.IQ4_NL: 0.0055, Type.IQ4_XS: 0.0056}


def weights() -> np.ndarray:
    """Ordinary rows, and some that are not."""
    random = np.random.default_rng(11)
    x = (0.02 * random.standard_normal((64, 512))).astype(np.float32)
    x[1] = 0
    x[2, 1:] = 0
    x[3, 40:80] = 0.25
    x[4] = np.abs(x[4])
    x[5] = 0.02 * random.standard_t(3, 512)
    x[6] *= np.float32(1e-6)
    x[7, :32] = np.linspace(-1, 1, 32, dtype=np.float32)
    return x


class Files:
    def __init__(self, program: str, folder: Path) -> None:
        self.program, self.folder = program, folder

    def write(self, kind: Type, form: str, x: np.ndarray) -> gguf.GGUFReader:
        x.tofile(self.folder / "x")
        path = self.folder / "out.gguf"
        subprocess.run([self.program, kind.name.lower(), form, str(x.shape[1]), str(self.folder / "x"), str(path)],
                       check=True, timeout=120)
        return gguf.GGUFReader(path)


def check_file(reader: gguf.GGUFReader, x: np.ndarray) -> str:
    """What is wrong with the keys and the plain tensor."""
    expected = {"general.architecture": "test", "test.texts": ["one", "", "three"], "test.numbers": [1, -2],
                "test.byte": 7, "test.real": 0.5, "test.flag": True}
    wrong = [key for key, value in expected.items() if reader.fields[key].contents() != value]
    names = [tensor.name for tensor in reader.tensors]
    if names != ["w", "v"] or not np.array_equal(reader.tensors[1].data, x[0]):
        wrong.append("tensors")
    return ", ".join(wrong)


def error(x: np.ndarray, y: np.ndarray) -> float:
    return float(np.sum((x.astype(np.float64) - y) ** 2) / np.sum(x.astype(np.float64) ** 2))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--program", required=True, help="tern_gguf_encode_dump")
    options = parser.parse_args()
    report = tern_cli.Report()
    x = weights()
    with tempfile.TemporaryDirectory() as name:
        files = Files(options.program, Path(name))
        for kind in REFERENCE:
            reader = files.write(kind, "reference", x)
            data = np.ascontiguousarray(reader.tensors[0].data).view(np.uint8).reshape(len(x), -1)
            expected = np.ascontiguousarray(quants.quantize(x, kind)).view(np.uint8).reshape(len(x), -1)
            rows = int(np.sum(np.any(data != expected, axis=1)))
            wrong = check_file(reader, x)
            report.add(f"reference {kind.name}", rows == 0 and not wrong, wrong or f"{rows} rows differ")
        for kind in (*REFERENCE[3:], *BOUNDS):
            reader = files.write(kind, "searched", x)
            found = error(x, quants.dequantize(reader.tensors[0].data, kind).reshape(x.shape))
            bound = BOUNDS.get(kind)
            if bound is None:
                share = 0.99 if kind == Type.MXFP4 else 0.97  # it has only exponents to choose
                bound = share * error(x, quants.dequantize(quants.quantize(x, kind), kind))
            normal = x[8:]
            if kind in BOUNDS:
                found = error(normal, quants.dequantize(reader.tensors[0].data, kind).reshape(x.shape)[8:])
            report.add(f"searched {kind.name}", found <= bound, f"error {found:.6f}, at most {bound:.6f}")
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main())
