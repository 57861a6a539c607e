#!/usr/bin/env python3
"""The importance matrix of `tern imatrix`, beside the inputs that mlx-lm gives its linear layers.

mlx-lm runs the embedded model in float32 on the same tokens, and every linear layer squares and adds
what it is given. Sums and counts must agree, tensor by tensor and expert by expert; the file must
have llama.cpp's keys and shapes, be the same bytes for any number of threads, and lower the weighted
error of what `tern convert --imatrix` codes.
"""

from __future__ import annotations

import argparse
import collections
import json
import subprocess
import tempfile
from pathlib import Path

import gguf
import mlx.core as mx
import mlx.nn as nn
import numpy as np
from gguf import quants
from mlx_lm import utils
from mlx_lm.models.switch_layers import SwitchLinear

import tern_cli

ROOT = Path(__file__).resolve().parents[2]
WINDOW = 96
BOUND = 3e-4  # as for logits beside mlx-lm's
NAMES = {"in_proj": "ssm_in", "out_proj": "ssm_out", "q_proj": "attn_q", "k_proj": "attn_k", "v_proj": "attn_v",
         "o_proj": "attn_output", "shared_experts.up_proj": "ffn_up_shexp",
         "shared_experts.down_proj": "ffn_down_shexp", "switch_mlp.fc1": "ffn_up_exps",
         "switch_mlp.fc2": "ffn_down_exps"}


def text() -> str:
    turns = [("Solve: 17 * 23", "17 * 20 = 340\n17 * 3 = 51\n340 + 51 = 391"), ("What is 48 + 77?", "48 + 77 = 125"),
             ("The code for amber is 4821. What is the code for amber?", "The code for amber is 4821."),
             ("Hello! What can you do?", "I can multiply, add and remember facts.")]
    return "".join(f"<|im_start|>user\n{q}<|im_end|>\n<|im_start|>assistant\n<think></think>{a}<|im_end|>\n"
                   for q, a in 3 * turns)


class Recorder:
    """Sums of squared inputs and counts, by GGUF name, while mlx-lm runs."""

    def __init__(self, model: nn.Module) -> None:
        self.names: dict[int, str] = {}
        for path, module in model.named_modules():
            if not isinstance(module, (nn.Linear, SwitchLinear)):
                continue
            if path.endswith("lm_head"):
                self.names[id(module)] = "output.weight"
                continue
            layer, tail = path.split("layers.")[1].split(".mixer.")
            self.names[id(module)] = f"blk.{layer}.{NAMES[tail]}.weight"
        self.sums: dict[str, np.ndarray] = {}
        self.counts: dict[str, np.ndarray] = collections.defaultdict(float)

    def add(self, module: nn.Module, x: mx.array, indices: mx.array | None, experts: int) -> None:
        name, width = self.names[id(module)], x.shape[-1]
        rows = np.array(x).astype(np.float64)
        which = np.zeros(rows.size // width, int)
        if indices is not None:  # one expert for each row, or several that share a row
            which = np.array(indices).reshape(-1)
            rows = np.broadcast_to(rows.squeeze(-2), (*indices.shape, width))
        sums = self.sums.setdefault(name, np.zeros((experts, width)))
        np.add.at(sums, which, rows.reshape(-1, width) ** 2)
        self.counts[name] = self.counts[name] + np.bincount(which, minlength=experts)

    def __enter__(self) -> Recorder:
        self.before = nn.Linear.__call__, SwitchLinear.__call__
        linear, switch = self.before

        def on_linear(module, x):
            self.add(module, x, None, 1)
            return linear(module, x)

        def on_switch(module, x, indices, sorted_indices=False):
            self.add(module, x, indices, module.num_experts)
            return switch(module, x, indices, sorted_indices)

        nn.Linear.__call__, SwitchLinear.__call__ = on_linear, on_switch
        return self

    def __exit__(self, *_) -> None:
        nn.Linear.__call__, SwitchLinear.__call__ = self.before


def expected(ids: list[int]) -> Recorder:
    model, _ = utils.load_model(ROOT / "demo/model", lazy=False)
    model.load_weights([(k, v.astype(mx.float32)) for k, v in utils.tree_flatten(model.parameters())
                        if mx.issubdtype(v.dtype, mx.floating)], strict=False)
    recorder = Recorder(model)
    with recorder:
        for at in range(0, len(ids), WINDOW):
            mx.eval(model(mx.array([ids[at:at + WINDOW]])))
    return recorder


def check_sums(report: tern_cli.Report, path: Path, isa: str, ids: list[int], truth: Recorder) -> None:
    reader = gguf.GGUFReader(path)
    keys = {k: f.contents() for k, f in reader.fields.items()}
    chunks = -(-len(ids) // WINDOW)
    wanted = {"general.type": "imatrix", "imatrix.chunk_count": chunks, "imatrix.chunk_size": WINDOW}
    report.add(f"keys, {isa or 'best'}", all(keys.get(k) == v for k, v in wanted.items()) and len(keys["imatrix.datasets"]) == 1,
               str({k: keys.get(k) for k in (*wanted, "imatrix.datasets")}))
    found = {t.name: np.array(t.data, np.float64) for t in reader.tensors}
    worst, where = 0.0, "all counts equal"
    for name, sums in truth.sums.items():
        ours, counts = found.get(f"{name}.in_sum2"), found.get(f"{name}.counts")
        if ours is None or ours.shape != sums.shape or counts.shape != (len(sums), 1):
            worst, where = np.inf, f"{name} is missing or has another shape"
            break
        error = np.linalg.norm(ours - sums) / np.linalg.norm(sums)
        if not np.array_equal(counts[:, 0], truth.counts[name]):
            error, where = np.inf, f"counts of {name} differ"
        worst = max(worst, error)
    report.add(f"sums and counts of every linear layer, {isa or 'best'}", worst < BOUND,
               f"largest error {worst:.1e}, {where}")
    # mlx-lm's router multiplies by itself; it reads what the shared expert reads.
    routers = [n for n in found if "ffn_gate_inp" in n and n.endswith("in_sum2")]
    same = all(np.array_equal(found[n], found[n.replace("ffn_gate_inp", "ffn_up_shexp")]) for n in routers)
    others = {n.removesuffix(".in_sum2").removesuffix(".counts") for n in found} - truth.sums.keys()
    report.add(f"routers, and nothing else, {isa or 'best'}", bool(routers) and same and all("ffn_gate_inp" in n for n in others),
               f"{len(routers)} routers")


def weighted_error(path: Path, plain: dict[str, np.ndarray], truth: Recorder) -> float:
    error = 0.0
    for tensor in gguf.GGUFReader(path).tensors:
        if tensor.name not in truth.sums:
            continue
        mean = truth.sums[tensor.name] / np.maximum(truth.counts[tensor.name], 1)[:, None]
        decoded = quants.dequantize(tensor.data, tensor.tensor_type)
        w = plain[tensor.name].reshape(len(mean), -1, mean.shape[1])
        error += float(np.sum((decoded.reshape(w.shape) - w) ** 2 * mean[:, None, :]))
    return error


def run(*arguments: object) -> str:
    return subprocess.run([str(a) for a in arguments], check=True, capture_output=True, text=True, timeout=300).stdout


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tern", required=True, help="the program")
    tern = parser.parse_args().tern
    report = tern_cli.Report()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file, out, other = folder / "text.txt", folder / "imatrix.gguf", folder / "one.gguf"
        file.write_text(text())
        ids = json.loads(run(tern, "tokenize", "-m", "demo", "--json", "-f", file))
        flags = ["-m", "demo", "-f", file, "--special", "--ctx", WINDOW, "--process-output"]
        said = json.loads(run(tern, "imatrix", *flags, "-o", out, "--json", "-t", 2))
        run(tern, "imatrix", *flags, "-o", other, "-t", 1)
        report.add("the same bytes for any threads", out.read_bytes() == other.read_bytes(), f"{said['tokens']} tokens")
        truth = expected(ids)
        scalar = folder / "scalar.gguf"
        run(tern, "imatrix", *flags, "-o", scalar, "--isa", "scalar")
        check_sums(report, scalar, "scalar", ids, truth)
        check_sums(report, out, "", ids, truth)
        errors = {}
        run(tern, "convert", "demo", folder / "plain.gguf", "--to", "gguf-f32")
        plain = {t.name: np.array(t.data) for t in gguf.GGUFReader(folder / "plain.gguf").tensors}
        for label, more in (("without", []), ("with", ["--imatrix", out])):
            # Q5_0 asks for Q5_1 where there is an importance matrix; the type stays the same here.
            run(tern, "convert", "demo", folder / f"{label}.gguf", "--to", "gguf-q5_1", *more)
            errors[label] = weighted_error(folder / f"{label}.gguf", plain, truth)
        report.add("tern convert --imatrix loses less where it matters", errors["with"] < 0.98 * errors["without"],
                   f"{errors['with']:.3f}, without {errors['without']:.3f}")
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main())
