#!/usr/bin/env python3
"""Memory of a conversion: converts a model of the family's full widths and reports the peak.

The model has few layers, all 128 experts, the full vocabulary and BF16 weights that are a hole in
their file: zeros that take no disk, but are read, mapped and coded like any others. Tensors are made
one after the other, so the peak depends on the largest ones, not on how many there are.

  bench/conversion.py --tern build/release/tern --to mlx-4bit gguf-q4_k_m
"""

from __future__ import annotations

import argparse
import json
import os
import struct
import tempfile
import time
from pathlib import Path

HIDDEN, VOCABULARY, EXPERTS, WIDTH, SHARED = 2688, 131072, 128, 1856, 3712
INNER, CONV, IN_PROJ, QUERIES, KEYS = 4096, 6144, 10304, 4096, 256


def config(pattern: str) -> dict:
    return {"model_type": "nemotron_h", "vocab_size": VOCABULARY, "hidden_size": HIDDEN,
            "num_hidden_layers": len(pattern), "hybrid_override_pattern": pattern, "mamba_num_heads": 64,
            "mamba_head_dim": 64, "ssm_state_size": 128, "n_groups": 8, "conv_kernel": 4, "num_attention_heads": 32,
            "num_key_value_heads": 2, "head_dim": 128, "n_routed_experts": EXPERTS, "num_experts_per_tok": 6,
            "moe_intermediate_size": WIDTH, "moe_shared_expert_intermediate_size": SHARED, "n_shared_experts": 1,
            "intermediate_size": WIDTH, "layer_norm_epsilon": 1e-5, "norm_topk_prob": True,
            "routed_scaling_factor": 2.5, "tie_word_embeddings": False}


def shapes(pattern: str) -> dict[str, list[int]]:
    found = {"backbone.embeddings.weight": [VOCABULARY, HIDDEN], "backbone.norm_f.weight": [HIDDEN],
             "lm_head.weight": [VOCABULARY, HIDDEN]}
    for i, kind in enumerate(pattern):
        mixer = f"backbone.layers.{i}.mixer."
        found[f"backbone.layers.{i}.norm.weight"] = [HIDDEN]
        if kind == "M":
            own = {"in_proj.weight": [IN_PROJ, HIDDEN], "conv1d.weight": [CONV, 1, 4], "conv1d.bias": [CONV],
                   "dt_bias": [64], "A_log": [64], "D": [64], "norm.weight": [INNER], "out_proj.weight": [HIDDEN, INNER]}
        elif kind == "*":
            own = {"q_proj.weight": [QUERIES, HIDDEN], "k_proj.weight": [KEYS, HIDDEN], "v_proj.weight": [KEYS, HIDDEN],
                   "o_proj.weight": [HIDDEN, QUERIES]}
        else:
            own = {"gate.weight": [EXPERTS, HIDDEN], "gate.e_score_correction_bias": [EXPERTS],
                   "shared_experts.up_proj.weight": [SHARED, HIDDEN],
                   "shared_experts.down_proj.weight": [HIDDEN, SHARED]}
            for e in range(EXPERTS):
                own[f"experts.{e}.up_proj.weight"] = [WIDTH, HIDDEN]
                own[f"experts.{e}.down_proj.weight"] = [HIDDEN, WIDTH]
        found |= {mixer + name: shape for name, shape in own.items()}
    return found


def write_hollow(folder: Path, pattern: str) -> int:
    """@return bytes of the weights"""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config(pattern)))
    header, at = {}, 0
    for name, shape in shapes(pattern).items():
        size = 2
        for extent in shape:
            size *= extent
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with (folder / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + at)
    return at


def run(arguments: list[str]) -> tuple[int, int, float]:
    """Status, peak of resident memory in bytes (mapped files included), seconds."""
    begun = time.monotonic()
    child = os.posix_spawn(arguments[0], arguments, os.environ)
    _, status, usage = os.wait4(child, 0)
    return os.waitstatus_to_exitcode(status), 1024 * usage.ru_maxrss, time.monotonic() - begun


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tern", required=True, help="the program")
    parser.add_argument("--to", nargs="+", default=["mlx-4bit", "gguf-q4_k_m"], help="formats")
    parser.add_argument("--pattern", default="ME", help="layers: M, E, *")
    parser.add_argument("--limit", type=float, default=3e9, help="bytes that no conversion may exceed")
    options = parser.parse_args()
    good = True
    with tempfile.TemporaryDirectory() as name:
        source = Path(name) / "source"
        size = write_hollow(source, options.pattern)
        print(f"| to | read, GB | peak of resident memory, GB | seconds |\n|---|---|---|---|")
        for to in options.to:
            out = Path(name) / (to + (".gguf" if to.startswith("gguf") else ""))
            status, peak, seconds = run([options.tern, "convert", str(source), str(out), "--to", to])
            good &= status == 0 and peak < options.limit
            print(f"| {to} | {size / 1e9:.2f} | {peak / 1e9:.3f} | {seconds:.0f} |", flush=True)
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())
