#!/usr/bin/env python3
"""GGUF files of `tern convert`, read by the package gguf.

Names, shapes and keys must be those that gguf_model.py writes with the package after llama.cpp's
converter; weights must decode to the source's within the error of their type, plain ones exactly;
logits of the file must be those of its own dequantized weights. Tokenizer and chat template of the
embedded model must come back.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type
from gguf import quants

import gguf_model
import tern_cli
import tiny_model

# Relative squared error of normal weights, twice the worst of the types that a recipe uses.
RECIPES = {"f32": 0, "f16": 1e-7, "bf16": 1e-12, "q8_0": 6e-5, "q6_k": 6e-4, "q5_k_m": 4e-3, "q5_k_s": 4e-3,
           "q5_0": 4e-3, "q4_k_m": 0.011, "q4_0": 0.014, "iq4_nl": 0.012, "iq4_xs": 0.012, "mxfp4_moe": 0.026,
           "q3_k_m": 0.045, "q3_k_s": 0.045, "q2_k": 0.14}


def convert(tern: str, source: Path | str, out: Path, *flags: str) -> None:
    run = subprocess.run([tern, "convert", str(source), str(out), *flags], capture_output=True, text=True, timeout=300)
    if run.returncode != 0:
        raise tern_cli.TernError(f"tern convert {' '.join(flags)} exited {run.returncode}: {run.stderr.strip()}")


def keys_of(reader: gguf.GGUFReader) -> dict:
    return {name: field.contents() for name, field in reader.fields.items() if not name.startswith("GGUF.")}


def values_of(reader: gguf.GGUFReader) -> dict[str, np.ndarray]:
    return {t.name: quants.dequantize(t.data, t.tensor_type).reshape([int(n) for n in t.shape[::-1]])
            for t in reader.tensors}


def check_recipe(tern: str, folder: Path, source: Path, config: dict, name: str, bound: float) -> str:
    """What is wrong with the file of one recipe."""
    path = folder / f"{name}.gguf"
    convert(tern, source, path, "--to", f"gguf-{name}")
    ours, theirs = gguf.GGUFReader(path), gguf.GGUFReader(folder / "expected.gguf")
    wrong = []
    keys = keys_of(ours)
    for key, value in keys_of(theirs).items():
        found = keys.get(key)
        same = np.allclose(found, value, rtol=1e-6) if isinstance(value, float) and found is not None else found == value
        if not same and key not in ("general.name", "general.alignment") and not key.endswith(".rope.dimension_count"):
            wrong.append(f"{key} is {found}, not {value}")
    rotary = [value for key, value in keys.items() if key.endswith(".rope.dimension_count")]
    if rotary != [config["hidden_size"] // config["num_attention_heads"]]:
        wrong.append(f"rope.dimension_count is {rotary}")
    plain, coded = values_of(theirs), values_of(ours)
    if {n: v.shape for n, v in plain.items()} != {n: v.shape for n, v in coded.items()}:
        return "names or shapes differ"
    for tensor in ours.tensors:
        a, b = plain[tensor.name].astype(np.float64), coded[tensor.name]
        error = float(np.sum((a - b) ** 2) / np.sum(a**2))
        if error > (1e-12 if tensor.tensor_type == Type.F32 else bound):
            wrong.append(f"{tensor.name} ({tensor.tensor_type.name}) error {error:.2e}")
    return "; ".join(wrong)


def check_logits(tern: str, folder: Path, config: dict, report: tern_cli.Report) -> None:
    """Of a file, and of the weights that the package decodes from it, as a model of their own."""
    tokens = folder / "tokens.json"
    tokens.write_text(json.dumps(np.random.default_rng(2).integers(0, 320, 40).tolist()))
    for name in ("q4_k_m", "mxfp4_moe", "iq4_xs", "q2_k"):
        path = folder / f"{name}.gguf"
        twin = folder / f"twin-{name}.gguf"
        convert(tern, path, twin, "--to", "gguf-f32")
        reader = gguf.GGUFReader(path)
        coded, plain = values_of(reader), values_of(gguf.GGUFReader(twin))
        equal = all(np.array_equal(coded[n], plain[n]) for n in coded)
        expected = tern_cli.logits(tern, twin, tokens, folder / "a.npy", "scalar")
        actual = tern_cli.logits(tern, path, tokens, folder / "b.npy", "scalar")
        error = tern_cli.relative_error(actual, expected)
        report.add(f"back to f32, {name}", equal and error < 1e-5, f"weights equal: {equal}, logits {error:.1e}")


def check_demo(tern: str, folder: Path, report: tern_cli.Report) -> None:
    path = folder / "demo.gguf"
    convert(tern, "demo", path, "--to", "gguf-q8_0")
    text = "Hello, w\u00f6rld! <|im_start|>user\n17 * 23 = 391 \U0001F600\n\n  x"
    ids = [json.loads(subprocess.run([tern, "tokenize", "-m", str(model), "--json", "-"], input=text, check=True,
                                     capture_output=True, text=True).stdout) for model in ("demo", path)]
    keys = keys_of(gguf.GGUFReader(path))
    root = Path(__file__).resolve().parents[2] / "demo/model"
    tokenizer = json.loads((root / "tokenizer.json").read_text())
    vocabulary = {t: i for t, i in tokenizer["model"]["vocab"].items()} | {
        t["content"]: t["id"] for t in tokenizer["added_tokens"]}
    good = {
        "ids": ids[0] == ids[1],
        "tokens": all(keys["tokenizer.ggml.tokens"][i] == t for t, i in vocabulary.items()),
        "merges": keys["tokenizer.ggml.merges"] == [m if isinstance(m, str) else " ".join(m)
                                                    for m in tokenizer["model"]["merges"]],
        "types": all(keys["tokenizer.ggml.token_type"][t["id"]] == 3 for t in tokenizer["added_tokens"] if t["special"]),
        "eos": keys["tokenizer.ggml.eos_token_id"] == 11 and keys["tokenizer.ggml.bos_token_id"] == 1,
        "template": keys["tokenizer.chat_template"] == (root / "chat_template.jinja").read_text(),
        "file type": keys["general.file_type"] == 7 and keys["general.quantization_version"] == 2,
    }
    wrong = [name for name, equal in good.items() if not equal]
    report.add("tokenizer of the embedded model", not wrong, ", ".join(wrong) or "equal")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tern", required=True, help="the program")
    options = parser.parse_args()
    report = tern_cli.Report()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for label, pattern in (("moe", "ME*EME"), ("dense", "M-*-M")):
            config = tiny_model.make_config(hybrid_override_pattern=pattern, n_shared_experts=1)
            tensors = tiny_model.make_tensors(config, seed=9)
            place = folder / label
            source = tiny_model.save(place / "source", config, tensors)
            gguf_model.write(place / "expected.gguf", config, tensors, Type.F32)
            for recipe, bound in RECIPES.items() if label == "moe" else (("f32", 0), ("q4_k_m", 0.011)):
                try:
                    wrong = check_recipe(options.tern, place, source, config, recipe, bound)
                except tern_cli.TernError as failure:
                    wrong = str(failure)
                report.add(f"{label}, {recipe}", not wrong, wrong or "equal")
            if label == "moe":
                check_logits(options.tern, place, config, report)
        check_demo(options.tern, folder, report)
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main())
