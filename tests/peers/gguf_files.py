#!/usr/bin/env python3
"""GGUF files beside llama.cpp: its own choice of types, its reading of ours, and what either loses.

  recipes   types that llama.cpp's quantizer gives every tensor of a model of full widths with few
            layers, beside those of `tern convert`; --golden writes them to a file
  reads     llama.cpp loads our file of every recipe and agrees on logits with tern, and tern reads
            llama.cpp's
  quality   KL divergence from BF16 of the embedded model, quantized by llama.cpp and by tern
"""

from __future__ import annotations

import argparse
import ctypes
import importlib.metadata
import json
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/oracle"))

import gguf  # noqa: E402

import compare  # noqa: E402
import gguf_model  # noqa: E402
import tern_cli  # noqa: E402
import tiny_model  # noqa: E402

FILE_TYPES = {"q8_0": 7, "q6_k": 18, "q5_k_m": 17, "q5_k_s": 16, "q5_1": 9, "q5_0": 8, "q4_k_m": 15, "q4_k_s": 14,
              "q4_1": 3, "q4_0": 2, "iq4_nl": 25, "iq4_xs": 30, "mxfp4_moe": 38, "q3_k_l": 13, "q3_k_m": 12,
              "q3_k_s": 11, "q2_k": 10}
# Experts in the first sixteenth, eighth and last eighth; and attention in layer 0, whose groups of heads a rule asks for.
PATTERNS = ("EM*E*EM*E*EM*E*E", "*E*M*E*E")
GOLDEN = ROOT / "tests/golden/convert/gguf_recipes.json"


def convert(tern: str, source: Path | str, out: Path, recipe: str, *flags: str) -> None:
    subprocess.run([tern, "convert", str(source), str(out), "--to", f"gguf-{recipe}", *flags], check=True,
                   capture_output=True, text=True)


def quantize(source: Path, out: Path, recipe: str) -> None:
    """By llama.cpp."""
    import llama_cpp

    parameters = llama_cpp.llama_model_quantize_default_params()
    parameters.ftype = FILE_TYPES[recipe]
    parameters.nthread = 2
    if llama_cpp.llama_model_quantize(str(source).encode(), str(out).encode(), ctypes.byref(parameters)) != 0:
        raise RuntimeError(f"llama.cpp cannot make {recipe}")


def types(path: Path) -> dict[str, str]:
    return {tensor.name: tensor.tensor_type.name.lower() for tensor in gguf.GGUFReader(path).tensors}


def wide_config(pattern: str, **overrides) -> dict:
    """Widths of the full model, few experts and a small vocabulary."""
    return tiny_model.make_config(
        hybrid_override_pattern=pattern, hidden_size=2688, n_routed_experts=3, moe_intermediate_size=1856,
        moe_shared_expert_intermediate_size=3712, mamba_num_heads=64, mamba_head_dim=64, ssm_state_size=128, n_groups=8,
        num_attention_heads=32, num_key_value_heads=2, head_dim=128, **overrides)


def recipes(tern: str, folder: Path, golden: Path | None) -> bool:
    result: dict[str, dict[str, dict[str, str]]] = {}
    good = True
    for pattern in PATTERNS:
        config = wide_config(pattern)
        plain = folder / "wide.gguf"
        gguf_model.write(plain, config, tiny_model.make_tensors(config, seed=1), gguf.GGMLQuantizationType.F16)
        chosen = result[pattern] = {}
        for name in FILE_TYPES:
            out = folder / "out.gguf"
            quantize(plain, out, name)
            chosen[name] = types(out)
            run = subprocess.run([tern, "convert", str(plain), str(folder / "none.gguf"), "--to", f"gguf-{name}",
                                  "--dry-run", "--json"], check=True, capture_output=True, text=True)
            ours = {t["name"]: t["type"] for f in json.loads(run.stdout)["files"] for t in f.get("tensors", [])}
            wrong = [f"{t}: {ours.get(t)}, llama.cpp {k}" for t, k in chosen[name].items() if ours.get(t) != k]
            good &= not wrong
            note = "; ".join(wrong[:4]) or f"{len(ours)} tensors alike"
            print(f"{'ok  ' if not wrong else 'FAIL'} {pattern} {name}: {note}", flush=True)
    if golden:
        golden.parent.mkdir(parents=True, exist_ok=True)
        golden.write_text(json.dumps({"made by": f"tests/peers/gguf_files.py recipes --golden, {versions()}, "
                                                 f"{date.today()}", "types": result}, indent=1) + "\n")
    return good


def reads(tern: str, folder: Path) -> bool:
    good = True
    ids = compare.demo_text(tern)[:200]
    tokens = folder / "ids.json"
    tokens.write_text(json.dumps(ids))
    plain = folder / "demo.gguf"
    convert(tern, "demo", plain, "bf16")
    print("| recipe | tern's file: distance of llama.cpp from tern | llama.cpp's file | same choice |\n|---|---|---|---|")
    for name in ("bf16", "f16", *FILE_TYPES):
        cells, agree = [], 1.0
        for label in ("tern", "llama.cpp"):
            path = folder / f"{label}.gguf"
            path.unlink(missing_ok=True)
            if label == "tern":
                convert(tern, "demo", path, name)
            elif name in FILE_TYPES:
                quantize(plain, path, name)
            else:
                continue
            own = tern_cli.logits(tern, path, tokens, folder / "out.npy")
            theirs = compare.llama_logits(path, ids)
            error = tern_cli.relative_error(theirs, own)
            agree = min(agree, float(np.mean(own.argmax(axis=1) == theirs.argmax(axis=1))))
            good &= error < 0.05
            cells.append(f"{error:.1e}")
        print(f"| {name} | {' | '.join(cells + ['-'] * (2 - len(cells)))} | {100 * agree:.1f} % |", flush=True)
    return good


def divergence(tern: str, path: Path, base: Path) -> dict:
    run = subprocess.run([tern, "eval", "kld", "-m", str(path), "--base", str(base), "--json"], check=True,
                         capture_output=True, text=True)
    return json.loads(run.stdout)


def quality(tern: str, folder: Path, text: Path | None) -> bool:
    plain = folder / "demo.gguf"
    convert(tern, "demo", plain, "bf16")
    base = folder / "base.tern"
    flags = ["-f", str(text)] if text else []  # else conversations of the kind that the model was trained on
    subprocess.run([tern, "eval", "kld", "-m", str(plain), *flags, "--save-base", str(base)], check=True,
                   capture_output=True)
    good = True
    print("| recipe | llama.cpp, mean KLD | tern, mean KLD | tern / llama.cpp |\n|---|---|---|---|")
    for name in FILE_TYPES:
        theirs, ours = folder / "theirs.gguf", folder / "ours.gguf"
        ours.unlink(missing_ok=True)
        quantize(plain, theirs, name)
        convert(tern, plain, ours, name)
        assert types(theirs) == types(ours), name
        a, b = (divergence(tern, path, base)["kld"]["mean"] for path in (theirs, ours))
        good &= b < a
        print(f"| {name} | {a:.5f} | {b:.5f} | {b / a:.2f} |", flush=True)
    return good


def versions() -> str:
    return ", ".join(f"{p} {importlib.metadata.version(p)}" for p in ("llama-cpp-python", "gguf"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("recipes", "reads", "quality"))
    parser.add_argument("--tern", required=True, help="the program")
    parser.add_argument("--golden", action="store_true", help="recipes: write tests/golden/convert/gguf_recipes.json")
    parser.add_argument("--text", type=Path, help="quality: what is predicted; default: made up")
    options = parser.parse_args()
    print(versions())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.what == "recipes":
            good = recipes(options.tern, folder, GOLDEN if options.golden else None)
        elif options.what == "reads":
            good = reads(options.tern, folder)
        else:
            good = quality(options.tern, folder, options.text)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
