"""Writes small model files with the reference libraries, and what a reader must find in them.

    python3 tests/golden/formats/make.py

needs numpy, safetensors and gguf from PyPI. manifest.json records the versions that were used and,
for every model, its tensors (name, type, shape outermost first, CRC-32 of the bytes) and metadata.
"""

import datetime
import hashlib
import importlib.metadata
import json
import pathlib
import struct
import zlib

import gguf
import numpy as np
from safetensors import TensorSpec, serialize_file

HERE = pathlib.Path(__file__).parent
SEED = 20260801

SAFETENSORS = {  # name in the header: our name, bytes of an element
    "BOOL": ("bool", 1), "U8": ("u8", 1), "I8": ("i8", 1), "F8_E4M3": ("f8_e4m3", 1),
    "F8_E5M2": ("f8_e5m2", 1), "F8_E8M0": ("f8_e8m0", 1), "I16": ("i16", 2), "U16": ("u16", 2),
    "F16": ("f16", 2), "BF16": ("bf16", 2), "I32": ("i32", 4), "U32": ("u32", 4), "F32": ("f32", 4),
    "F64": ("f64", 8), "I64": ("i64", 8), "U64": ("u64", 8),
}
SPELLED = {  # the names that the writer takes
    "BOOL": "bool", "U8": "uint8", "I8": "int8", "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2", "F8_E8M0": "float8_e8m0fnu", "I16": "int16", "U16": "uint16",
    "F16": "float16", "BF16": "bfloat16", "I32": "int32", "U32": "uint32", "F32": "float32",
    "F64": "float64", "I64": "int64", "U64": "uint64",
}
GGUF_BLOCKS = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K",
               "IQ4_NL", "IQ4_XS", "MXFP4", "BF16"]


def digest(data):
    return hashlib.sha256(data).hexdigest()


def write_safetensors(path, tensors, metadata=None):
    """tensors: name -> (type, shape, bytes)."""
    serialize_file(
        {name: TensorSpec(dtype=SPELLED[kind], shape=shape, data_ptr=keep(data), data_len=len(data))
         for name, (kind, shape, data) in tensors.items()},
        str(path), metadata=metadata)
    return [{"name": name, "type": SAFETENSORS[kind][0], "shape": shape, "crc32": zlib.crc32(data)}
            for name, (kind, shape, data) in tensors.items()]


ALIVE = []


def keep(data):
    """The address of a copy that lives as long as the process."""
    array = np.frombuffer(data, np.uint8).copy() if data else np.zeros(1, np.uint8)
    ALIVE.append(array)
    return array.ctypes.data


def all_types(rng):
    tensors = {}
    for kind, (_, size) in SAFETENSORS.items():
        tensors[f"a.{kind.lower()}"] = (kind, [3, 5], rng.bytes(15 * size))
        tensors[f"scalar.{kind.lower()}"] = (kind, [], rng.bytes(size))
    tensors["empty"] = ("F32", [0, 7], b"")
    tensors["four.axes"] = ("BF16", [2, 1, 3, 2], rng.bytes(24))
    return tensors


def shards(rng):
    """A sharded model as Hugging Face and MLX write it."""
    files, weight_map, expected = {}, {}, []
    for i in range(2):
        name = f"model-0000{i + 1}-of-00002.safetensors"
        tensors = {f"layers.{i}.w{j}": ("BF16", [4, 4], rng.bytes(32)) for j in range(3)}
        expected += write_safetensors(HERE / "sharded" / name, tensors, {"format": "mlx"})
        weight_map.update({key: name for key in tensors})
    index = {"metadata": {"total_size": 192}, "weight_map": weight_map}
    (HERE / "sharded/model.safetensors.index.json").write_text(json.dumps(index, indent=1))
    (HERE / "sharded/config.json").write_text(json.dumps({"model_type": "tiny"}) + "\n")
    return expected


def add_gguf_tensors(writer, rng, expected):
    plain = [np.float32, np.float16, np.float64, np.int8, np.int16, np.int32, np.int64]
    for kind in plain:
        array = np.frombuffer(rng.bytes(15 * np.dtype(kind).itemsize), kind).reshape(3, 5)
        name = "plain." + np.dtype(kind).name
        writer.add_tensor(name, array)
        code = np.dtype(kind).kind + str(8 * np.dtype(kind).itemsize)
        expected.append({"name": name, "type": code, "shape": [3, 5],
                         "crc32": zlib.crc32(array.tobytes())})
    for kind in GGUF_BLOCKS:
        number = gguf.GGMLQuantizationType[kind]
        block, size = gguf.GGML_QUANT_SIZES[number]
        rows, row = 2, max(block, 4)
        array = np.frombuffer(rng.bytes(rows * row // block * size), np.uint8)
        array = array.reshape(rows, row // block * size)
        writer.add_tensor("block." + kind.lower(), array, raw_dtype=number)
        expected.append({"name": "block." + kind.lower(), "type": kind.lower(),
                         "shape": [rows, row], "crc32": zlib.crc32(array.tobytes())})


def add_metadata(writer):
    """Every kind of value. @returns what a reader must find, widened as it widens."""
    writer.add_name("tiny")
    writer.add_uint8("t.u8", 200)
    writer.add_int8("t.i8", -100)
    writer.add_uint16("t.u16", 60000)
    writer.add_int16("t.i16", -30000)
    writer.add_uint32("t.u32", 4000000000)
    writer.add_int32("t.i32", -2000000000)
    writer.add_float32("t.f32", 0.1)
    writer.add_uint64("t.u64", 2**63)
    writer.add_int64("t.i64", -(2**62))
    writer.add_float64("t.f64", 0.1)
    writer.add_bool("t.true", True)
    writer.add_bool("t.false", False)
    writer.add_string("t.utf8", "na\u00efve \u2603 \U0001f600")
    writer.add_array("t.strings", ["", "<s>", "\u0120the", "x" * 300])
    writer.add_array("t.integers", [0, 2, -1, 1856])
    writer.add_array("t.floats", [0.5, -1.25, 3.0])
    writer.add_array("t.bools", [True, False, True])
    return {
        "general.architecture": "tiny", "general.name": "tiny", "t.u8": 200, "t.i8": -100,
        "t.u16": 60000, "t.i16": -30000, "t.u32": 4000000000, "t.i32": -2000000000,
        "t.f32": struct.unpack("<f", struct.pack("<f", 0.1))[0], "t.u64": 2**63,
        "t.i64": -(2**62), "t.f64": 0.1, "t.true": True, "t.false": False,
        "t.utf8": "na\u00efve \u2603 \U0001f600",
        "t.strings": ["", "<s>", "\u0120the", "x" * 300], "t.integers": [0, 2, -1, 1856],
        "t.floats": [0.5, -1.25, 3.0], "t.bools": [True, False, True],
    }


def write_gguf(path, rng, alignment=None, **split):
    writer = gguf.GGUFWriter(path, "tiny", **split)
    metadata = add_metadata(writer)
    if alignment:
        writer.add_custom_alignment(alignment)
        metadata["general.alignment"] = alignment
    expected = []
    add_gguf_tensors(writer, rng, expected)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return {"tensors": expected, "metadata": metadata}


def main():
    rng = np.random.default_rng(SEED)
    (HERE / "sharded").mkdir(exist_ok=True)
    models = {}
    models["types.safetensors"] = {
        "tensors": write_safetensors(HERE / "types.safetensors", all_types(rng),
                                     {"format": "pt", "note": "na\u00efve \"quoted\""}),
        "metadata": {"format": "pt", "note": "na\u00efve \"quoted\""},
    }
    models["sharded"] = {"tensors": shards(rng), "metadata": {}}
    models["types.gguf"] = write_gguf(HERE / "types.gguf", rng)
    models["aligned.gguf"] = write_gguf(HERE / "aligned.gguf", rng, alignment=256)
    models["split-00001-of-00004.gguf"] = write_gguf(
        HERE / "split.gguf", rng, split_max_tensors=7, small_first_shard=True)
    models["split-00001-of-00004.gguf"]["metadata"].update(
        {"split.no": 0, "split.count": 4, "split.tensors.count": 21})
    files = sorted(p for p in HERE.rglob("*") if p.suffix in (".gguf", ".safetensors"))
    for path in files:
        path.chmod(0o644)
    manifest = {
        "command": "python3 tests/golden/formats/make.py",
        "versions": {name: importlib.metadata.version(name)
                     for name in ("gguf", "numpy", "safetensors")},
        "seed": SEED,
        "date": datetime.date.today().isoformat(),
        "files": {str(p.relative_to(HERE)): digest(p.read_bytes()) for p in files},
        "models": models,
    }
    (HERE / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")


if __name__ == "__main__":
    main()
