"""Writes the first seeds of the fuzz targets of src/formats.

    python3 tests/corpus/make_formats.py
"""

import json
import pathlib
import struct

HERE = pathlib.Path(__file__).parent


def seed(target, name, data):
    (HERE / target).mkdir(exist_ok=True)
    (HERE / target / name).write_bytes(data)


def header(tensors, metadata=None):
    entries = {"__metadata__": metadata} if metadata else {}
    at = 0
    for name, kind, shape, size in tensors:
        entries[name] = {"dtype": kind, "shape": shape, "data_offsets": [at, at + size]}
        at += size
    return json.dumps(entries, separators=(",", ":")).encode(), bytes(range(at))


def safetensors(tensors, metadata=None):
    text, data = header(tensors, metadata)
    return struct.pack("<Q", len(text)) + text + data


def string(text):
    return struct.pack("<Q", len(text)) + text


def gguf(keys, tensors, data, version=3, alignment=32):
    out = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(keys))
    for name, kind, value in keys:
        out += string(name) + struct.pack("<I", kind) + value
    for name, dims, kind, offset in tensors:
        out += string(name) + struct.pack("<I", len(dims))
        out += struct.pack(f"<{len(dims)}QIQ", *dims, kind, offset)
    return out + bytes(-len(out) % alignment) + bytes(data)


def folder(*files):
    """The packing that shards_fuzz.cpp describes."""
    out = b""
    for name, contents in files:
        out += bytes([len(name)]) + name + struct.pack(">H", len(contents)) + contents
    return out


def shard(tensors):
    text, data = header(tensors)
    return text + b"\n" + data


def main():
    a, b = ("a", "F32", [2, 1], 8), ("b", "BF16", [], 2)
    seed("safetensors", "two", safetensors([a, b], {"format": "mlx"}))
    seed("safetensors", "none", safetensors([]))
    seed("safetensors", "empty_axis", safetensors([("e", "U8", [0, 3], 0), b]))
    keys = [(b"general.alignment", 4, struct.pack("<I", 32)), (b"s", 8, string(b"text")),
            (b"n", 9, struct.pack("<IQ2i", 5, 2, 1, -1)),
            (b"t", 9, struct.pack("<IQ", 8, 1) + string(b"x")),
            (b"b", 7, b"\1"), (b"f", 6, struct.pack("<f", 1)), (b"d", 12, struct.pack("<d", 1))]
    seed("gguf", "everything", gguf(keys, [(b"w", [4, 2], 0, 0), (b"q", [32], 8, 32)], 66))
    seed("gguf", "metadata_only", gguf(keys, [], 0))
    seed("gguf", "version_2", gguf([], [(b"w", [256], 12, 0)], 144, version=2))
    index = json.dumps({"weight_map": {"a": "x.safetensors", "b": "y.safetensors"}}).encode()
    config = (b"config.json", b"{}")
    seed("shards", "single", folder(config, (b"model.safetensors", shard([a, b]))))
    seed("shards", "two", folder(config, (b"model.safetensors.index.json", index),
                                 (b"x.safetensors", shard([a])), (b"y.safetensors", shard([b]))))

    def part(number, tensors, data):
        keys = [(b"split.no", 2, struct.pack("<H", number)),
                (b"split.count", 2, struct.pack("<H", 2)),
                (b"split.tensors.count", 5, struct.pack("<i", 1))]
        return gguf(keys, tensors, data)

    seed("shards", "split", folder((b"m-00001-of-00002.gguf", part(0, [], 0)),
                                   (b"m-00002-of-00002.gguf", part(1, [(b"w", [8], 0, 0)], 32))))


if __name__ == "__main__":
    main()
