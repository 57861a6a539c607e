#!/usr/bin/env python3
"""GGUF files beside llama.cpp: its own choice of types, its reading of ours, and what either loses.

  recipes   types that llama.cpp's quantizer plans for every tensor of the full model, and of two of
            full widths with other layers, beside those of `tern convert`; --golden keeps them
  reads     llama.cpp loads our file of every recipe and agrees on logits with tern, and tern reads
            llama.cpp's; --report puts the table into docs/peers.md

KL divergence beside llama.cpp and mlx-lm: quality.py.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib.metadata
import json
import re
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
import pages  # noqa: E402
import tern_cli  # noqa: E402
import tiny_model  # noqa: E402

FILE_TYPES = {"q8_0": 7, "q6_k": 18, "q5_k_m": 17, "q5_k_s": 16, "q5_1": 9, "q5_0": 8, "q4_k_m": 15, "q4_k_s": 14,
              "q4_1": 3, "q4_0": 2, "iq4_nl": 25, "iq4_xs": 30, "mxfp4_moe": 38, "q3_k_l": 13, "q3_k_m": 12,
              "q3_k_s": 11, "q2_k": 10}
# The full model; then experts in the first sixteenth, eighth and last eighth; and attention in layer 0, whose groups of
# heads a rule asks for.
PATTERNS = {"MEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEMEM*EMEMEMEME": 128, "EM*E*EM*E*EM*E*E": 3, "*E*M*E*E": 3}
GOLDEN = ROOT / "tests/golden/convert/gguf_recipes.json"


def convert(tern: str, source: Path | str, out: Path, recipe: str, *flags: str) -> None:
    subprocess.run([tern, "convert", str(source), str(out), "--to", f"gguf-{recipe}", *flags], check=True,
                   capture_output=True, text=True)


def silence() -> None:
    """No log of llama.cpp."""
    import llama_cpp

    global QUIET
    QUIET = llama_cpp.llama_log_callback(lambda *_: None)
    llama_cpp.llama_log_set(QUIET, ctypes.c_void_p(0))


QUIET = None  # kept alive here: llama.cpp calls it


def read_imatrix(path: Path) -> dict[str, np.ndarray]:
    """Mean squares, as llama.cpp's tool reads them: an expert that was never chosen counts 1."""
    tensors = {t.name: np.array(t.data, np.float32) for t in gguf.GGUFReader(path).tensors}
    found = {}
    for name, sums in tensors.items():
        if name.endswith(".in_sum2"):
            counts = tensors[name.replace(".in_sum2", ".counts")]
            found[name.removesuffix(".in_sum2")] = np.where(counts > 0, sums / np.maximum(counts, 1), 1).reshape(-1)
    return found


def quantize(source: Path, out: Path, recipe: str, imatrix: Path | None = None) -> None:
    """By llama.cpp."""
    import llama_cpp

    silence()
    parameters = llama_cpp.llama_model_quantize_default_params()
    parameters.ftype = FILE_TYPES[recipe]
    parameters.nthread = 2
    means = read_imatrix(imatrix) if imatrix else {}
    entries = (llama_cpp.llama_model_imatrix_data * (len(means) + 1))()
    for entry, (name, values) in zip(entries, means.items()):
        entry.name, entry.size = name.encode(), len(values)
        entry.data = values.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
    if imatrix:
        parameters.imatrix = ctypes.cast(entries, type(parameters.imatrix))
    if llama_cpp.llama_model_quantize(str(source).encode(), str(out).encode(), ctypes.byref(parameters)) != 0:
        raise RuntimeError(f"llama.cpp cannot make {recipe}")


def types(path: Path) -> dict[str, str]:
    return {tensor.name: tensor.tensor_type.name.lower() for tensor in gguf.GGUFReader(path).tensors}


def wide_config(pattern: str, experts: int) -> dict:
    """Widths of the full model."""
    return tiny_model.make_config(
        hybrid_override_pattern=pattern, hidden_size=2688, n_routed_experts=experts, moe_intermediate_size=1856,
        moe_shared_expert_intermediate_size=3712, mamba_num_heads=64, mamba_head_dim=64, ssm_state_size=128, n_groups=8,
        num_attention_heads=32, num_key_value_heads=2, head_dim=128, num_experts_per_tok=2, vocab_size=131072)


def layer_shapes(kind: str, config: dict) -> dict[str, tuple[int, ...]]:
    """Names after "blk.N.", and shapes, outermost first; one axis: float32."""
    hidden, inner = config["hidden_size"], config["mamba_num_heads"] * config["mamba_head_dim"]
    conv = inner + 2 * config["n_groups"] * config["ssm_state_size"]
    heads = config["mamba_num_heads"]
    q, kv = (config[n] * config["head_dim"] for n in ("num_attention_heads", "num_key_value_heads"))
    experts, width = config["n_routed_experts"], config["moe_intermediate_size"]
    shared = config["moe_shared_expert_intermediate_size"]
    if kind == "M":
        return {"ssm_in.weight": (inner + conv + heads, hidden), "ssm_conv1d.weight": (conv, config["conv_kernel"]),
                "ssm_conv1d.bias": (conv,), "ssm_dt.bias": (heads,), "ssm_a": (heads, 1), "ssm_d": (heads, 1),
                "ssm_norm.weight": (config["n_groups"], inner // config["n_groups"]), "ssm_out.weight": (hidden, inner)}
    if kind == "*":
        return {"attn_q.weight": (q, hidden), "attn_k.weight": (kv, hidden), "attn_v.weight": (kv, hidden),
                "attn_output.weight": (hidden, q)}
    return {"ffn_gate_inp.weight": (experts, hidden), "exp_probs_b.bias": (experts,),
            "ffn_up_exps.weight": (experts, width, hidden), "ffn_down_exps.weight": (experts, hidden, width),
            "ffn_up_shexp.weight": (shared, hidden), "ffn_down_shexp.weight": (hidden, shared)}


def write_hollow(path: Path, config: dict) -> None:
    """A model whose numbers are a hole in the file: all zeros, and no disk is used."""
    writer = gguf_model.open_writer(path, config)
    shapes = {"token_embd.weight": (config["vocab_size"], config["hidden_size"]),
              "output_norm.weight": (config["hidden_size"],),
              "output.weight": (config["vocab_size"], config["hidden_size"])}
    for index, kind in enumerate(config["hybrid_override_pattern"]):
        layer = {"attn_norm.weight": (config["hidden_size"],), **layer_shapes(kind, config)}
        shapes |= {f"blk.{index}.{name}": shape for name, shape in layer.items()}
    size = 0
    for name, shape in shapes.items():
        floats = len(shape) == 1 or any(part in name for part in ("ssm_a", "ssm_d", "norm", "conv1d", "gate_inp"))
        dtype = np.dtype(np.float32 if floats else np.float16)
        count = int(np.prod(shape)) * dtype.itemsize
        writer.add_tensor_info(name, shape, dtype, count)
        size += -(-count // 32) * 32
    for step in (writer.write_header_to_file, writer.write_kv_data_to_file, writer.write_ti_data_to_file):
        step()
    writer.close()
    head = -(-path.stat().st_size // 32) * 32
    with path.open("ab") as file:
        file.truncate(head + size)


def chosen_types(source: Path, recipe: str, importance: bool) -> dict[str, str]:
    """What llama.cpp's quantizer would make each tensor of; those that it leaves alone are not named."""
    import llama_cpp

    lines: list[str] = []
    log = llama_cpp.llama_log_callback(lambda _, text, __: lines.append(text.decode()))
    llama_cpp.llama_log_set(log, ctypes.c_void_p(0))
    parameters = llama_cpp.llama_model_quantize_default_params()
    parameters.ftype, parameters.dry_run = FILE_TYPES[recipe], True
    one = (ctypes.c_float * 1)(1)
    entries = (llama_cpp.llama_model_imatrix_data * 2)()
    entries[0].name, entries[0].data, entries[0].size = b"none", one, 1
    if importance:  # of no tensor here: some rules ask only whether there is one
        parameters.imatrix = ctypes.cast(entries, type(parameters.imatrix))
    status = llama_cpp.llama_model_quantize(str(source).encode(), b"none", ctypes.byref(parameters))
    silence()
    if status != 0:
        raise RuntimeError(f"llama.cpp cannot plan {recipe}: {''.join(lines)[-300:]}")
    return {m[1]: m[2].lower() for m in re.finditer(r"\] +(\S+) +- \[.*\((\w+)\)\n", "".join(lines))}


def recipes(tern: str, folder: Path, golden: Path | None) -> bool:
    models = []
    good = True
    for pattern, experts in PATTERNS.items():
        plain = folder / "wide.gguf"
        plain.unlink(missing_ok=True)
        write_hollow(plain, wide_config(pattern, experts))
        # A line of types for each recipe, in the order of the names.
        names = list(chosen_types(plain, "q8_0", False))
        model = {"pattern": pattern, "experts": experts, "tensors": " ".join(names), "types": {}, "with_imatrix": {}}
        models.append(model)
        for name in FILE_TYPES:
            chosen = chosen_types(plain, name, False)
            model["types"][name] = " ".join(chosen.get(n, "f16") for n in names)
            weighted = chosen_types(plain, name, True)
            model["with_imatrix"][name] = " ".join(weighted.get(n, "f16") for n in names)
            run = subprocess.run([tern, "convert", str(plain), str(folder / "none.gguf"), "--to", f"gguf-{name}",
                                  "--dry-run", "--json"], check=True, capture_output=True, text=True)
            ours = {t["name"]: t["type"] for f in json.loads(run.stdout)["files"] for t in f.get("tensors", [])}
            wrong = [f"{n}: {ours.get(n)}, llama.cpp {k}" for n, k in chosen.items() if ours.get(n) != k]
            good &= not wrong and bool(chosen)
            note = "; ".join(wrong[:4]) or f"{len(chosen)} tensors alike"
            print(f"{'ok  ' if not wrong else 'FAIL'} {pattern} {name}: {note}", flush=True)
    if golden:
        golden.parent.mkdir(parents=True, exist_ok=True)
        golden.write_text(json.dumps({
            "command": "python3 tests/peers/gguf_files.py recipes --golden --tern PROGRAM", "date": str(date.today()),
            "versions": {p: importlib.metadata.version(p) for p in ("llama-cpp-python", "gguf")},
            "models": models}, indent=1) + "\n")
    return good


def reads(tern: str, folder: Path, report: bool) -> bool:
    good = True
    ids = compare.demo_text(tern)[:200]
    tokens = folder / "ids.json"
    tokens.write_text(json.dumps(ids))
    plain = folder / "demo.gguf"
    convert(tern, "demo", plain, "bf16")
    rows = ["| recipe | tern's file | llama.cpp's file | same choice |", "|---|---|---|---|"]
    print("\n".join(rows))
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
        rows.append(f"| {name} | {' | '.join(cells + ['-'] * (2 - len(cells)))} | {100 * agree:.1f} % |")
        print(rows[-1], flush=True)
    if report:
        note = (f"{len(ids)} tokens of the embedded model's own answers; {versions()}, {date.today()}. Distance of "
                "llama.cpp's logits from tern's on the same file, and positions where both prefer the same token in both "
                "files. What is left is llama.cpp's rounding of activations to the type of the weights, or to eight bits.")
        pages.write(ROOT / "docs/peers.md", "tests/peers/gguf_files.py reads --report", [note, "", *rows])
    return good


def versions() -> str:
    return ", ".join(f"{p} {importlib.metadata.version(p)}" for p in ("llama-cpp-python", "gguf"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("recipes", "reads"))
    parser.add_argument("--tern", required=True, help="the program")
    parser.add_argument("--golden", action="store_true", help="recipes: write tests/golden/convert/gguf_recipes.json")
    parser.add_argument("--report", action="store_true", help="reads: write the table into docs/peers.md")
    options = parser.parse_args()
    print(versions())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.what == "recipes":
            good = recipes(options.tern, folder, GOLDEN if options.golden else None)
        else:
            good = reads(options.tern, folder, options.report)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
