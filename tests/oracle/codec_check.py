#!/usr/bin/env python3
"""The KV codecs and TurboQuant against NumPy, written from arXiv:2504.19874, bit for bit.

Rotations and codebooks are made here again: the generator's numbers and the block-diagonal
rotations exactly, the codebooks to float32, the dense rotation by its orthogonality. Codes, norms,
scales and reconstructions must then be equal in every bit. q8_0 and q4_0 are compared with the
package gguf, affine with mlx.
"""

from __future__ import annotations

import argparse
import functools
import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

import tern_cli

F = np.float32
M64 = (1 << 64) - 1


class Generator:
    """SplitMix64; normal numbers by the polar method."""

    def __init__(self, seed: int) -> None:
        self.state = seed
        self.spare: float | None = None

    def next(self) -> int:
        self.state = (self.state + 0x9E3779B97F4A7C15) & M64
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & M64
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & M64
        return z ^ (z >> 31)

    def uniform(self) -> float:
        return (self.next() >> 11) * 2.0**-53

    def in_disk(self) -> tuple[float, float, float]:
        while True:
            x, y = 2 * self.uniform() - 1, 2 * self.uniform() - 1
            square = x * x + y * y
            if 0 < square < 1:
                return x, y, square

    def normal(self) -> float:
        if self.spare is not None:
            value, self.spare = self.spare, None
            return value
        x, y, square = self.in_disk()
        factor = math.sqrt(-2 * math.log(square) / square)
        self.spare = y * factor
        return x * factor


def sums(x: np.ndarray) -> np.ndarray:
    """Float32 sums over the last axis in 16 lanes, which are added as a tree."""
    parts = x.reshape(*x.shape[:-1], -1, 16)
    lanes = np.zeros((*x.shape[:-1], 16), F)
    for i in range(parts.shape[-2]):
        lanes = lanes + parts[..., i, :]
    for half in (8, 4, 2, 1):
        lanes = lanes[..., :half] + lanes[..., half : 2 * half]
    return lanes[..., 0]


def multiply(columns: np.ndarray, x: np.ndarray) -> np.ndarray:
    """M x for each row of x, M [dim, dim] by columns; columns are added in their order."""
    y = np.zeros_like(x)
    for c in range(columns.shape[0]):
        y = y + columns[c][None, :] * x[:, c : c + 1]
    return y


class Rotation:
    def __init__(self, kind: str, dim: int, parameters: np.ndarray) -> None:
        self.kind, self.dim, self.p = kind, dim, parameters

    def hadamard(self, x: np.ndarray) -> np.ndarray:
        block = self.dim & -self.dim
        h = 1
        while h < block:
            pairs = x.reshape(len(x), -1, 2, h)
            x = np.concatenate([pairs[:, :, :1] + pairs[:, :, 1:], pairs[:, :, :1] - pairs[:, :, 1:]],
                               axis=2).reshape(len(x), self.dim)
            h *= 2
        return x * F(1 / math.sqrt(block))

    def groups(self, x: np.ndarray, direction: float) -> np.ndarray:
        if self.kind == "planar":
            c, s = self.p.reshape(-1, 2).T
            s = F(direction) * s
            a, b = x[:, 0::2], x[:, 1::2]
            return np.stack([c * a - s * b, s * a + c * b], axis=2).reshape(x.shape)
        w, x1, y, z = self.p.reshape(-1, 4).T
        x1, y, z = F(direction) * x1, F(direction) * y, F(direction) * z
        v0, v1, v2, v3 = (x[:, i::4] for i in range(4))
        return np.stack([w * v0 - x1 * v1 - y * v2 - z * v3, w * v1 + x1 * v0 + y * v3 - z * v2,
                         w * v2 - x1 * v3 + y * v0 + z * v1, w * v3 + x1 * v2 - y * v1 + z * v0],
                        axis=2).reshape(x.shape)

    def forward(self, x: np.ndarray) -> np.ndarray:
        if self.kind == "hadamard":
            return self.hadamard(x * self.p)
        if self.kind == "haar":
            return multiply(self.p.reshape(self.dim, self.dim).T, x)
        return self.groups(x, 1)

    def inverse(self, x: np.ndarray) -> np.ndarray:
        if self.kind == "hadamard":
            return self.hadamard(x) * self.p
        if self.kind == "haar":
            return multiply(self.p.reshape(self.dim, self.dim), x)
        return self.groups(x, -1)


def check_parameters(kind: str, dim: int, seed: int, p: np.ndarray) -> bool:
    generator = Generator(seed)
    if kind == "hadamard":
        expected = [1.0 if generator.next() >> 63 == 0 else -1.0 for _ in range(dim)]
        return np.array_equal(p, np.array(expected, F))
    if kind == "planar":
        points = [generator.in_disk() for _ in range(dim // 2)]
        return np.array_equal(p, np.array([v for x, y, s in points
                                           for v in (x / math.sqrt(s), y / math.sqrt(s))], F))
    if kind == "iso":  # the logarithm may differ in its last bit
        q = np.array([[generator.normal() for _ in range(4)] for _ in range(dim // 4)])
        q /= np.sqrt((q * q).sum(axis=1, keepdims=True))
        return bool(np.max(np.abs(p.reshape(-1, 4) - q)) < 1e-7)
    r = p.reshape(dim, dim).astype(np.float64)
    first = np.array([generator.normal() for _ in range(dim)])
    return (np.max(np.abs(r @ r.T - np.eye(dim))) < 1e-6
            and np.max(np.abs(r[0] - first / np.linalg.norm(first))) < 1e-7)


class Density:
    """A coordinate of a random unit vector: integrals of f and t f over [0, x], on a fine grid."""

    def __init__(self, dim: int):
        cells = 400_000
        self.edge = min(1.0, 14 / math.sqrt(dim))
        t = (np.arange(cells) + 0.5) * self.edge / cells
        f = np.exp((dim - 3) / 2 * np.log1p(-t * t))
        self.grid = np.concatenate([[0], t + 0.5 * self.edge / cells])
        self.mass = np.concatenate([[0], np.cumsum(f)])
        self.moment = np.concatenate([[0], np.cumsum(t * f)])

    def cells_of(self, levels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mass and moment of the cells of ascending positive levels."""
        bounds = np.concatenate([[0], (levels[1:] + levels[:-1]) / 2, [self.edge]])
        return (np.diff(np.interp(bounds, self.grid, self.mass)),
                np.diff(np.interp(bounds, self.grid, self.moment)))


def positive_levels(density: Density, dim: int, bits: int) -> np.ndarray:
    half = 1 << (bits - 1)
    levels = 3 * (np.arange(half) + 0.5) / half / math.sqrt(dim)
    for _ in range(3000):
        mass, moment = density.cells_of(levels)
        levels, before = moment / mass, levels
        if np.max(np.abs(levels - before)) < 1e-13:
            break
    return levels


@functools.cache
def lloyd_max(dim: int, bits: int) -> np.ndarray:
    levels = positive_levels(Density(dim), dim, bits)
    return np.concatenate([-levels[::-1], levels])


@functools.cache
def whole_levels(dim: int, bits: int) -> np.ndarray:
    """The same, moved to whole numbers of a step: the greatest / n of least distortion."""
    density = Density(dim)
    exact = positive_levels(density, dim, bits)

    def moved(n: int) -> tuple[float, np.ndarray]:
        levels = np.round(exact * n / exact[-1]) * exact[-1] / n
        mass, moment = density.cells_of(levels)
        return float(np.sum(levels * (levels * mass - 2 * moment))), levels

    levels = min((moved(n) for n in range(64, 128)), key=lambda pair: pair[0])[1]
    return np.concatenate([-levels[::-1], levels])


def storable(x: np.ndarray) -> np.ndarray:
    return np.clip(np.where(np.isnan(x), F(0), x), F(-65504), F(65504))


def index(u: np.ndarray, levels: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """The number of boundaries below u."""
    return (u[..., None] > bounds).sum(axis=-1).astype(np.uint8)


class Dump:
    """Runs tern_codec_dump and reads its arrays."""

    def __init__(self, program: str, folder: Path) -> None:
        self.program, self.folder = program, folder

    def run(self, isa: str, codec: str, kind: str, choice: str, dim: int, seed: int,
            x: np.ndarray) -> None:
        for old in self.folder.iterdir():
            old.unlink()
        x.astype(F).tofile(self.folder / "x")
        subprocess.run([self.program, codec, kind, choice, str(dim), str(seed),
                        str(self.folder / "x"), str(self.folder)],
                       check=True, timeout=120, env={**os.environ, "TERN_ISA": isa})

    def __call__(self, name: str, dtype=F) -> np.ndarray:
        return np.fromfile(self.folder / name, dtype)


def vectors(dim: int) -> np.ndarray:
    """Ordinary vectors, and some that are not."""
    random = np.random.default_rng(dim)
    x = random.standard_normal((64, dim)).astype(F)
    x[1] = 0
    x[2, 1:] = 0
    x[3, :4] *= 1000
    x[4] *= F(1e-6)
    x[5] *= F(1e4)
    x[6, 5], x[6, 6], x[6, 7] = np.nan, np.inf, F(-1e30)
    x[7] = random.standard_t(2, dim)
    return x


def codebook_is_right(dim: int, bits: int, levels: np.ndarray) -> bool:
    return bool(np.max(np.abs(lloyd_max(dim, bits) - levels)) < 3e-7)


def check_mse(dump: Dump, report: tern_cli.Report, isa: str, kind: str, bits: int, dim: int) -> None:
    x = vectors(dim)
    dump.run(isa, "mse", kind, str(bits), dim, 7, x)
    p, levels, bounds = dump("parameters"), dump("levels"), dump("bounds")
    rotation = Rotation(kind, dim, p)
    clean = storable(x)
    norm = np.sqrt(sums(clean * clean))
    inverse = np.where(norm > F(1e-18), F(1) / np.where(norm > 0, norm, F(1)), F(0))
    codes = index(rotation.forward(clean) * inverse[:, None], levels, bounds)
    decoded = rotation.inverse(norm[:, None] * levels[codes])
    good = {
        "rotation": check_parameters(kind, dim, 7, p),
        "codebook": codebook_is_right(dim, bits, levels),
        "codes": np.array_equal(codes.ravel(), dump("codes", np.uint8)),
        "norms": np.array_equal(norm, dump("norm")),
        "decoded": np.array_equal(decoded.ravel(), dump("decoded")),
    }
    wrong = [name for name, equal in good.items() if not equal]
    report.add(f"mse {kind} {bits} bits, dim {dim}, {isa}", not wrong, ", ".join(wrong) or "equal")


def check_prod(dump: Dump, report: tern_cli.Report, isa: str, kind: str, bits: int,
               dim: int) -> None:
    x = vectors(dim)
    dump.run(isa, "prod", kind, str(bits), dim, 7, x)
    rotation = Rotation(kind, dim, dump("parameters"))
    columns = dump("projection").reshape(dim, dim)
    clean = storable(x)
    norm = np.sqrt(sums(clean * clean))
    inverse = np.where(norm > F(1e-18), F(1) / np.where(norm > 0, norm, F(1)), F(0))
    u = rotation.forward(clean) * inverse[:, None]
    coarse = np.zeros_like(u)
    codes = np.zeros(0, np.uint8)
    if bits > 1:
        levels, bounds = dump("levels"), dump("bounds")
        codes = index(u, levels, bounds)
        coarse = levels[codes]
    e = u - coarse
    residual = np.sqrt(sums(e * e))
    sign = (multiply(columns, e) >= 0).astype(np.uint8)
    back = np.zeros((len(x), dim))  # S^T s
    for row in range(dim):
        back = back + columns[:, row].astype(np.float64)[None, :] * (2.0 * sign[:, row : row + 1] - 1)
    unbias = math.sqrt(math.pi / 2) / dim
    fine = coarse.astype(np.float64) + residual.astype(np.float64)[:, None] * unbias * back
    decoded = rotation.inverse((norm.astype(np.float64)[:, None] * fine).astype(F))
    generator = Generator(8)
    drawn = np.array([generator.normal() for _ in range(4 * dim)])
    good = {
        "projection": np.max(np.abs(columns.ravel()[: 4 * dim] - drawn)) < 1e-6,
        "codes": np.array_equal(codes.ravel(), dump("codes", np.uint8)),
        "signs": np.array_equal(sign.ravel(), dump("sign", np.uint8)),
        "residuals": np.array_equal(residual, dump("residual")),
        "decoded": np.array_equal(decoded.ravel(), dump("decoded")),
    }
    wrong = [name for name, equal in good.items() if not equal]
    report.add(f"prod {kind} {bits} bits, dim {dim}, {isa}", not wrong, ", ".join(wrong) or "equal")


KV = {"turbo2": ("hadamard", (2,)), "turbo2_5": ("hadamard", (3, 2)), "turbo3": ("hadamard", (3,)),
      "turbo3_5": ("hadamard", (4, 3)), "turbo4": ("hadamard", (4,)), "planar3": ("planar", (3,)),
      "planar4": ("planar", (4,)), "iso3": ("iso", (3,)), "iso4": ("iso", (4,))}


def assign(r: np.ndarray, inverse: np.ndarray, books: list) -> tuple:
    """Codes, levels, and the sums of r c and c c, run by run."""
    codes, chosen, cross, square = [], [], F(0), F(0)
    for part, (levels, bounds) in zip(np.split(r, len(books), axis=1), books):
        codes.append(index(part * inverse[:, None], levels, bounds))
        chosen.append(levels[codes[-1]])
        cross = cross + sums(part * chosen[-1])
        square = square + sums(chosen[-1] * chosen[-1])
    return np.concatenate(codes, axis=1), np.concatenate(chosen, axis=1), cross, square


def search(r: np.ndarray, norm: np.ndarray, books: list, best: list) -> list:
    for factor in np.array([.7, .75, .8, .85, .9, .95, 1.05, 1.1, 1.15, 1.2, 1.25, 1.3], F):
        trial = assign(r, F(1) / (norm * factor), books)
        better = trial[2] * trial[2] * best[3] > best[2] * best[2] * trial[3]
        best = [np.where(better[:, None] if old.ndim == 2 else better, new, old)
                for new, old in zip(trial, best)]
    return best


def check_kv(dump: Dump, report: tern_cli.Report, isa: str, scheme: str, scale: str,
             dim: int) -> None:
    kind, bits = KV[scheme]
    x = vectors(dim)
    dump.run(isa, "kv", scheme, scale, dim, 7, x)
    rotation = Rotation(kind, dim, dump("parameters"))
    books, right = [], True
    for run in range(len(bits)):
        levels = dump(f"levels{run}")
        exact = whole_levels(dim, bits[run])
        right = right and bool(np.max(np.abs(exact - levels)) < 3e-7)
        # Midpoints are taken before rounding to float32; a tie at a boundary has probability 0.
        books.append((levels, ((exact[1:] + exact[:-1]) / 2).astype(F)))
    r = rotation.forward(storable(x))
    norm = np.sqrt(sums(r * r))
    zero = norm < F(2.0**-25)
    safe = np.where(zero, F(1), norm)
    best = list(assign(r, np.where(zero, F(0), F(1) / safe), books))
    if scale == "searched":
        live = ~zero
        found = search(r[live], norm[live], books, [part[live] for part in best])
        for part, new in zip(best, found):
            part[live] = new
    codes, chosen, cross, square = best
    fitted = safe / np.sqrt(square) if scale == "norm" else cross / square
    scales = np.where(zero, F(0), np.minimum(fitted, F(65504))).astype(np.float16)
    decoded = rotation.inverse(scales.astype(F)[:, None] * chosen)
    good = {
        "rotation": check_parameters(kind, dim, 7, dump("parameters")),
        "codebook": right,
        "codes": np.array_equal(codes.ravel(), dump("codes", np.uint8)),
        "scales": np.array_equal(scales, dump("scales", np.float16)),
        "decoded": np.array_equal(decoded.ravel(), dump("decoded")),
    }
    wrong = [name for name, equal in good.items() if not equal]
    report.add(f"{scheme} {scale}, dim {dim}, {isa}", not wrong, ", ".join(wrong) or "equal")


def check_ggml(dump: Dump, report: tern_cli.Report, scheme: str) -> None:
    from gguf import quants, GGMLQuantizationType as Type
    x = np.random.default_rng(5).standard_normal((64, 128)).astype(F)
    x[1] = 0
    dump.run("", "kv", scheme, "norm", 128, 0, x)
    kind = {"q8_0": Type.Q8_0, "q4_0": Type.Q4_0}[scheme]
    expected = quants.dequantize(quants.quantize(x, kind), kind)
    report.add(f"{scheme} as gguf", np.array_equal(expected.ravel(), dump("decoded")), "decoded")


def check_affine(dump: Dump, report: tern_cli.Report, scheme: str) -> None:
    import mlx.core as mx
    bits = int(scheme[-1])
    x = np.random.default_rng(6).standard_normal((64, 128)).astype(F)
    x[1] = 0
    x[2] = abs(x[2])
    dump.run("", "kv", scheme, "norm", 128, 0, x)
    words, scales, biases = mx.quantize(mx.array(x), group_size=64, bits=bits, stream=mx.cpu)
    packed = np.array(words).view(np.uint8)
    codes = packed if bits == 8 else np.stack([packed & 15, packed >> 4], axis=-1)
    good = (np.array_equal(codes.ravel(), dump("codes", np.uint8))
            and np.array_equal(np.array(scales).astype(np.float16).ravel(), dump("scales", np.float16))
            and np.array_equal(np.array(biases).astype(np.float16).ravel(), dump("biases", np.float16)))
    report.add(f"{scheme} as mlx", good, "codes, scales, biases")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--program", required=True, help="tern_codec_dump")
    options = parser.parse_args()
    report = tern_cli.Report()
    np.seterr(over="ignore", invalid="ignore")
    with tempfile.TemporaryDirectory() as name:
        dump = Dump(options.program, Path(name))
        for isa in ("scalar", ""):
            for kind in ("hadamard", "haar"):
                for bits in (1, 2, 3, 4, 5):
                    for dim in (32, 96, 128):
                        check_mse(dump, report, isa, kind, bits, dim)
                        check_prod(dump, report, isa, kind, bits, dim)
            for scheme in KV:
                for scale in ("norm", "least_squares", "searched"):
                    check_kv(dump, report, isa, scheme, scale, 128)
            check_kv(dump, report, isa, "turbo4", "norm", 1536)
        for scheme in ("q8_0", "q4_0"):
            check_ggml(dump, report, scheme)
        for scheme in ("affine8", "affine4"):
            check_affine(dump, report, scheme)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
