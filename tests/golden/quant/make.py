#!/usr/bin/env python3
"""Makes the golden files of src/quant: stored bytes and the floats that the reference decodes.

Run from this folder: python3 make.py
A case is codes, scales, biases and the expected float32 values, one after another in gguf.bin or
mlx.bin; manifest.json has their places and sizes.

Oracles
- blocks of GGUF: gguf.quants.dequantize, float32.
- MLX: mlx.core.dequantize in float32. Scales and biases stored as f16 or bf16 are widened first,
  which is exact; given as they are, MLX would round every product and sum to that type, because
  there its result has the type of the scales. E8M0 scale 255 is left out: the standard says NaN,
  MLX says infinity.
"""

import datetime
import hashlib
import importlib.metadata
import json
import pathlib

import gguf
import mlx.core as mx
import numpy as np

SEED = 20240607
HERE = pathlib.Path(__file__).parent

# Offsets of the f16 fields of each block type.
F16_FIELDS = {
    "F16": [], "BF16": [],
    "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0],
    "Q2_K": [80, 82], "Q3_K": [108], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208],
    "IQ4_NL": [0], "IQ4_XS": [0], "MXFP4": [],
}
# Zeros, the smallest and largest subnormals, the smallest and largest normals, infinity, NaN.
SPECIAL_F16 = [0x0000, 0x8000, 0x0001, 0x83FF, 0x0400, 0xFBFF, 0x7C00, 0xFE00]


def f16_scales(rng, count):
    """Special values and ordinary ones of either sign, in random order."""
    special = np.array(SPECIAL_F16, np.uint16)[:count]
    ordinary = rng.standard_normal(count - len(special)).astype(np.float16) * np.float16(0.05)
    return rng.permutation(np.concatenate([special, ordinary.view(np.uint16)]))


def gguf_case(rng, kind):
    quant = gguf.GGMLQuantizationType[kind]
    values, size = gguf.GGML_QUANT_SIZES[quant]
    if values == 1:  # plain: every 37th bit pattern, so that all exponents are there
        cols = 256
        data = (np.arange(1792, dtype=np.uint32) * 37 % 65536).astype(np.uint16).view(np.uint8)
        data = data.reshape(-1, cols * 2)
    else:
        blocks = 32 if values == 32 else 9
        data = rng.integers(0, 256, (blocks, size), dtype=np.uint8)
        for offset in F16_FIELDS[kind]:
            data[:, offset:offset + 2] = f16_scales(rng, blocks).reshape(-1, 1).view(np.uint8)
        if kind == "MXFP4":
            data[:, 0] = np.linspace(0, 255, blocks).astype(np.uint8)
            data[1, 0] = 1
        cols = values * (4 if values == 32 else 3)
        data = data.reshape(-1, cols // values * size)
    with np.errstate(all="ignore"):
        expected = gguf.quants.dequantize(data, quant).astype(np.float32)
    return dict(name=kind.lower(), scheme=kind.lower(), rows=data.shape[0], cols=cols,
                codes=data.tobytes(), expected=expected)


def to_bf16(x):
    """Truncates: any bf16 will do."""
    return (x.view(np.uint32) >> 16).astype(np.uint16)


def affine_case(rng, bits, group, scale_type):
    rows, cols = 2, 256
    words = rng.integers(0, 2**32, (rows, cols * bits // 32), dtype=np.uint32)
    shape = (rows, cols // group)
    scales, biases = (rng.standard_normal(shape).astype(np.float32) * np.float32(f)
                      for f in (0.01, 0.1))
    scales.flat[0] = -abs(scales.flat[0])
    scales.flat[1], biases.flat[2] = 0, 0
    scales.flat[3], biases.flat[3] = 3e-6, -6e-7  # subnormal as f16
    if scale_type == "f16":
        stored = [v.astype(np.float16) for v in (scales, biases)]
        wide = [v.astype(np.float32) for v in stored]
    elif scale_type == "bf16":
        stored = [to_bf16(v) for v in (scales, biases)]
        wide = [(v.astype(np.uint32) << 16).view(np.float32) for v in stored]
    else:
        stored = wide = [scales, biases]
    expected = mx.dequantize(mx.array(words), mx.array(wide[0]), mx.array(wide[1]), group, bits)
    return dict(name=f"mlx_affine{bits}_g{group}_{scale_type}", scheme="mlx affine", rows=rows,
                cols=cols, bits=bits, group=group, scale_type=scale_type, codes=words.tobytes(),
                scales=stored[0].tobytes(), biases=stored[1].tobytes(),
                expected=np.array(expected))


def float_case(rng, mode, bits, group):
    rows, cols = 4, 512
    words = rng.integers(0, 2**32, (rows, cols * bits // 32), dtype=np.uint32)
    scales = np.arange(rows * cols // group) * 255 // (rows * cols // group)
    scales = scales.astype(np.uint8).reshape(rows, -1)
    expected = mx.dequantize(mx.array(words), mx.array(scales), None, group, bits, mode,
                             dtype=mx.float32)
    return dict(name=f"mlx_{mode}", scheme=f"mlx {mode}", rows=rows, cols=cols, bits=bits,
                group=group, scale_type="u8", codes=words.tobytes(), scales=scales.tobytes(),
                expected=np.array(expected))


def write(file, cases):
    """Writes the planes and floats of `cases`; returns their rows of the manifest."""
    rows, blob = [], b""
    for case in cases:
        planes = [case.pop("codes"), case.pop("scales", b""), case.pop("biases", b"")]
        expected = case.pop("expected")
        assert expected.dtype == np.float32 and expected.size == case["rows"] * case["cols"]
        rows.append(case | dict(file=file, offset=len(blob), plane_bytes=[len(p) for p in planes]))
        blob += b"".join(planes) + expected.tobytes()
    (HERE / file).write_bytes(blob)
    return rows, {file: hashlib.sha256(blob).hexdigest()}


def main():
    rng = np.random.default_rng(SEED)
    gguf_rows, gguf_hash = write("gguf.bin", [gguf_case(rng, kind) for kind in F16_FIELDS])
    affine = [(bits, group, "bf16") for bits in (2, 3, 4, 5, 6, 8) for group in (32, 64, 128)]
    affine += [(bits, 64, kind) for bits in (2, 3, 4, 5, 6, 8) for kind in ("f32", "f16")]
    mlx_rows, mlx_hash = write("mlx.bin", [affine_case(rng, *args) for args in affine] + [
        float_case(rng, "mxfp4", 4, 32), float_case(rng, "mxfp8", 8, 32),
        float_case(rng, "nvfp4", 4, 16)])
    manifest = {
        "command": "python3 make.py",
        "date": datetime.date.today().isoformat(),
        "versions": {name: importlib.metadata.version(name) for name in ("gguf", "mlx", "numpy")},
        "seed": SEED,
        "compare": "bit for bit; any NaN equals any NaN",
        "sha256": gguf_hash | mlx_hash,
    }
    rows = ",\n  ".join(json.dumps(row) for row in gguf_rows + mlx_rows)
    text = json.dumps(manifest, indent=1)[:-2] + ',\n "cases": [\n  ' + rows + "\n ]\n}\n"
    (HERE / "manifest.json").write_text(text)


main()
