"""Writes the first seeds of the fuzz targets of binary formats.

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

    sums = [(b"blk.0.ffn_up_exps.weight.in_sum2", [2, 2], 0, 0), (b"blk.0.ffn_up_exps.weight.counts", [1, 2], 0, 32),
            (b"output.weight.in_sum2", [2, 1], 0, 64), (b"output.weight.counts", [1, 1], 0, 96)]
    numbers = b"".join(struct.pack("<4f", *row).ljust(32, b"\0") for row in (
        (1, 2, 0, 0), (3, 0, 0, 0), (4, 5, 0, 0), (6, 0, 0, 0)))
    seed("imatrix", "two", gguf([(b"general.type", 8, string(b"imatrix"))], sums, numbers))
    seed("imatrix", "another_kind", gguf([(b"general.type", 8, string(b"model"))], sums, numbers))

    points = b"0 1 4096 192 0x1.8p-3 0x1p+0\n1 0 0 384 0x1p-2 0x1p+1\n"
    seed("journal", "two_points", b"\0" + points)
    seed("journal", "cut_line", b"\0" + points + b"1 2 30")
    seed("journal", "another_plan", b"\1" + b"tern-convert 1 123\n" + points)
    seed("journal", "hostile", b"\0" + b"18446744073709551615 -1 1e9 x inf nan\n")

    # src/engine/session_file_fuzz.cpp describes the packing.
    def edit(kind, which, value):
        return bytes([kind, which]) + struct.pack("<Q", value)

    for base in range(4):
        seed("session_file", f"whole_{base}", bytes([base]))
        seed("session_file", f"edits_{base}", bytes([base]) + edit(0, 2, 2**64 - 1) + edit(1, 128, 0x30303030) +
             edit(2, 77, 1))
        seed("session_file", f"cut_{base}", bytes([base]) + edit(3, 200, 0))
    seed("session_file", "bytes", b"\xffTERNSESS" + struct.pack("<II", 1, 2) + b"{}" + bytes(16))


if __name__ == "__main__":
    main()
