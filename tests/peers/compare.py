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
import os
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path

import numpy as np

os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/oracle"))

import pages  # noqa: E402
import tern_cli  # noqa: E402
import tiny_model  # noqa: E402

BOUND_FLOAT = 1e-5
GGUF_TYPES = "F32 F16 BF16 Q8_0 Q4_0 Q5_0 Q5_1 IQ4_NL MXFP4 Q2_K Q3_K Q4_K Q5_K Q6_K IQ4_XS".split()


def transformers_logits(folder: Path, ids: list[int]) -> np.ndarray:
    import torch
    from transformers import AutoModelForCausalLM, logging

    logging.disable_progress_bar()
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
    """With keys and values in float32, so that what is left are its products."""
    import llama_cpp

    model = llama_cpp.Llama(str(path), n_ctx=len(ids) + 8, n_batch=512, logits_all=True, verbose=False,
                            n_threads=2, type_k=llama_cpp.GGML_TYPE_F32, type_v=llama_cpp.GGML_TYPE_F32)
    model.eval(ids)
    return np.array(model.scores[: len(ids)], dtype=np.float64)


def same_choice(a: np.ndarray, b: np.ndarray) -> str:
    """Share of positions where both prefer the same token."""
    return f"{100 * np.mean(a.argmax(axis=1) == b.argmax(axis=1)):.1f} %"


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


class Distances:
    """tern and llama.cpp from a reference, on one file after the other."""

    def __init__(self, tern: str, folder: Path, rows: list[str]):
        self.tern, self.folder, self.rows, self.good = tern, folder, rows, True

    def add(self, label: str, path: Path, ids: list[int], reference: np.ndarray) -> None:
        tokens = self.folder / "tokens.json"
        tokens.write_text(json.dumps(ids))
        out = self.folder / "out.npy"
        exact = tern_cli.logits(self.tern, path, tokens, out, "scalar")
        fast = tern_cli.logits(self.tern, path, tokens, out)
        llama = llama_logits(path, ids)
        error = tern_cli.relative_error(exact, reference)
        self.good &= error <= BOUND_FLOAT
        self.rows.append(
            f"| {label} | {error:.1e} | {tern_cli.relative_error(fast, reference):.1e} | "
            f"{tern_cli.relative_error(llama, reference):.1e} | {tern_cli.relative_error(fast, llama):.1e} | "
            f"{same_choice(fast, reference)} | {same_choice(llama, reference)} |")
        print(self.rows[-1], flush=True)


def compare_llama(tern: str, folder: Path, rows: list[str]) -> bool:
    import gguf
    import gguf_model

    config = tiny_model.make_config(hybrid_override_pattern="ME*EME")
    tensors = tiny_model.make_tensors(config, seed=4)
    ids = np.random.default_rng(6).integers(0, 320, 100).tolist()
    distances = Distances(tern, folder, rows)
    for name in GGUF_TYPES:
        path = folder / f"tiny-{name}.gguf"
        stored = gguf_model.write(path, config, tensors, gguf.GGMLQuantizationType[name])
        reference = transformers_logits(tiny_model.save(folder / "twin", config, stored), ids)
        distances.add(f"tiny, {name}", path, ids, reference)

    config, tensors = demo_model()
    ids = demo_text(tern)
    for name in ("F32", "F16", "Q8_0", "Q4_0"):
        path = folder / f"demo-{name}.gguf"
        stored = gguf_model.write(path, config, tensors, gguf.GGMLQuantizationType[name])
        reference = transformers_logits(tiny_model.save(folder / "twin", config, stored), ids)
        distances.add(f"demo, {name}", path, ids, reference)
    return distances.good


def demo_model() -> tuple[dict, dict[str, np.ndarray]]:
    from safetensors.torch import load_file

    folder = ROOT / "demo/model"
    config = json.loads((folder / "config.json").read_text())
    weights = load_file(folder / "model.safetensors")
    return config, {name: tensor.float().numpy() for name, tensor in weights.items()}


def demo_text(tern: str) -> list[int]:
    """Token ids of a text that the demo model has an opinion on: its own answers."""
    prompts = ("Solve: 17 * 23", "Solve: 408 + 377", "Solve: 56 * 71")
    text = "".join(
        subprocess.run([tern, "generate", "demo", "-p", prompt, "--show-thinking", "--temp", "0"],
                       capture_output=True, text=True, check=True).stdout for prompt in prompts)
    run = subprocess.run([tern, "tokenize", "-m", "demo", "--json", "-"], input=text, capture_output=True,
                         text=True, check=True)
    return json.loads(run.stdout)


def versions(*packages: str) -> str:
    return ", ".join(f"{package} {importlib.metadata.version(package)}" for package in packages)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tern", required=True, help="the program")
    parser.add_argument("--report", type=Path, help="write the tables into this page")
    parser.add_argument("--only", choices=("transformers", "llama"))
    options = parser.parse_args()
    text = []
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
                     "Relative distance of each from transformers in float32 on the dequantized weights of the same "
                     "GGUF file: a tiny random model (100 random tokens) and the embedded model, converted, on its own "
                     "answers. Keys and values are float32 in all. The last columns: positions where the likeliest "
                     "token is the reference's. llama.cpp rounds activations to the type of the weights, or to eight "
                     "bits; in the random model that also sends tokens to other experts.", "",
                     "| model, type | tern, scalar | tern, fast | llama.cpp | tern, fast, from llama.cpp | tern | llama.cpp |",
                     "|---|---|---|---|---|---|---|", *rows, ""]
    if options.report and not options.only:
        pages.write(options.report, "tests/peers/compare.py --report", text)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
