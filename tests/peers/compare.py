#!/usr/bin/env python3
"""Logits of tern beside those of transformers (float32) and llama.cpp, on the same files.

transformers is the reference: float32, no quantized activations. llama.cpp rounds activations to
eight bits for quantized weights, so it is expected to be further from the reference than tern is;
the table shows both distances on the same dequantized weights.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import sys
import tempfile
from datetime import date
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/oracle"))

import tern_cli  # noqa: E402
import tiny_model  # noqa: E402

BOUND_FLOAT = 1e-5
GGUF_TYPES = "F32 F16 BF16 Q8_0 Q4_0 Q5_0 Q5_1 IQ4_NL MXFP4 Q2_K Q3_K Q4_K Q5_K Q6_K IQ4_XS".split()


def transformers_logits(folder: Path, ids: list[int]) -> np.ndarray:
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    # dt is softplus(dt + bias) without a floor (see the model's own kernels); the torch path of
    # some versions clamps it to time_step_min, which this undoes.
    for module in model.modules():
        if hasattr(module, "time_step_min"):
            module.time_step_min = 0.0
        if hasattr(module, "time_step_limit"):
            module.time_step_limit = (0.0, float("inf"))
    with torch.no_grad():
        return model(torch.tensor([ids]), use_cache=False).logits[0].double().numpy()


def llama_logits(path: Path, ids: list[int]) -> np.ndarray:
    from llama_cpp import Llama

    model = Llama(str(path), n_ctx=len(ids) + 8, logits_all=True, verbose=False, n_threads=2)
    model.eval(ids)
    return np.array(model.scores[: len(ids)], dtype=np.float64)


def compare_transformers(tern: str, folder: Path, rows: list[str]) -> bool:
    rng = np.random.default_rng(5)
    config = tiny_model.make_config()
    tiny = tiny_model.save(folder / "tiny", config, tiny_model.make_tensors(config, seed=3))
    good = True
    for label, model, vocabulary in (("tiny, all kinds", tiny, 320), ("demo", ROOT / "demo/model", 2048)):
        ids = rng.integers(0, vocabulary, 300).tolist()
        tokens = folder / "tokens.json"
        tokens.write_text(json.dumps(ids))
        expected = transformers_logits(model, ids)
        for isa in ("scalar", ""):
            actual = tern_cli.logits(tern, model, tokens, folder / "out.npy", isa)
            error = tern_cli.relative_error(actual, expected)
            good &= error <= BOUND_FLOAT
            rows.append(f"| {label} | {isa or 'best'} | {error:.1e} | {'yes' if error <= BOUND_FLOAT else 'NO'} |")
            print(rows[-1], flush=True)
    return good


def compare_llama(tern: str, folder: Path, rows: list[str]) -> bool:
    import gguf

    import gguf_model

    rng = np.random.default_rng(6)
    config = tiny_model.make_config(hybrid_override_pattern="ME*EME")
    tensors = tiny_model.make_tensors(config, seed=4)
    ids = rng.integers(0, 320, 100).tolist()
    tokens = folder / "tokens.json"
    tokens.write_text(json.dumps(ids))
    good = True
    for name in GGUF_TYPES:
        path = folder / f"tiny-{name}.gguf"
        stored = gguf_model.write(path, config, tensors, gguf.GGMLQuantizationType[name])
        reference = transformers_logits(tiny_model.save(folder / "twin", config, stored), ids)
        ours = tern_cli.relative_error(tern_cli.logits(tern, path, tokens, folder / "out.npy"), reference)
        try:
            theirs = f"{tern_cli.relative_error(llama_logits(path, ids), reference):.1e}"
        except (ValueError, RuntimeError) as failure:
            theirs = f"refused ({failure})"
        good &= ours <= BOUND_FLOAT
        rows.append(f"| {name} | {ours:.1e} | {theirs} |")
        print(rows[-1], flush=True)
    return good


def versions(*packages: str) -> str:
    return ", ".join(f"{package} {importlib.metadata.version(package)}" for package in packages)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tern", required=True, help="the program")
    parser.add_argument("--report", type=Path, help="write the tables to this Markdown file")
    parser.add_argument("--only", choices=("transformers", "llama"))
    options = parser.parse_args()
    text = ["# Peers", "", "Made by `scripts/peers`. Relative error is ||a - b|| / ||b|| over the logits of all positions.", ""]
    good = True
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.only != "llama":
            rows: list[str] = []
            good &= compare_transformers(options.tern, folder, rows)
            text += [f"## transformers in float32 ({versions('transformers', 'torch')}, {date.today()})", "",
                     "| model, 300 random tokens | TERN_ISA | relative error | within 1e-5 |",
                     "|---|---|---|---|", *rows, ""]
        if options.only != "transformers":
            rows = []
            good &= compare_llama(options.tern, folder, rows)
            text += [f"## llama.cpp ({versions('llama-cpp-python', 'gguf')}, {date.today()})", "",
                     "Distance of each from transformers in float32 on the dequantized weights of the same GGUF file "
                     "(tiny random model, 100 tokens).", "",
                     "| type | tern | llama.cpp |", "|---|---|---|", *rows, ""]
    if options.report and not options.only:
        options.report.write_text("\n".join(text))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
