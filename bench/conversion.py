#!/usr/bin/env python3
"""Memory and time of a conversion: converts a model of the family's full widths, and reports the peak
and the time beside the one that was estimated.

The model has few layers, all 128 experts, the full vocabulary and BF16 weights that are a hole in
their file: zeros that take no disk, but are read, mapped and coded like any others. Tensors are made
one after the other, so the peak depends on the largest ones, not on how many there are. Encoders are
faster on zeros, and holes need no reading: for the time, --filled writes numbers instead.

  bench/conversion.py --tern build/release/tern --to mlx-4bit gguf-q4_k_m
  bench/conversion.py --tern build/release/tern --to bf16 gguf-q8_0 --filled --pattern 'ME*' --experts 16
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import struct
import subprocess
import tempfile
import time
from pathlib import Path

HIDDEN, VOCABULARY, EXPERTS, WIDTH, SHARED = 2688, 131072, 128, 1856, 3712
INNER, CONV, IN_PROJ, QUERIES, KEYS = 4096, 6144, 10304, 4096, 256


def config(pattern: str, experts: int) -> dict:
    return {"model_type": "nemotron_h", "vocab_size": VOCABULARY, "hidden_size": HIDDEN,
            "num_hidden_layers": len(pattern), "hybrid_override_pattern": pattern, "mamba_num_heads": 64,
            "mamba_head_dim": 64, "ssm_state_size": 128, "n_groups": 8, "conv_kernel": 4, "num_attention_heads": 32,
            "num_key_value_heads": 2, "head_dim": 128, "n_routed_experts": experts, "num_experts_per_tok": 6,
            "moe_intermediate_size": WIDTH, "moe_shared_expert_intermediate_size": SHARED, "n_shared_experts": 1,
            "intermediate_size": WIDTH, "layer_norm_epsilon": 1e-5, "norm_topk_prob": True,
            "routed_scaling_factor": 2.5, "tie_word_embeddings": False}


def shapes(pattern: str, experts: int) -> dict[str, list[int]]:
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
            own = {"gate.weight": [experts, HIDDEN], "gate.e_score_correction_bias": [experts],
                   "shared_experts.up_proj.weight": [SHARED, HIDDEN],
                   "shared_experts.down_proj.weight": [HIDDEN, SHARED]}
            for e in range(experts):
                own[f"experts.{e}.up_proj.weight"] = [WIDTH, HIDDEN]
                own[f"experts.{e}.down_proj.weight"] = [HIDDEN, WIDTH]
        found |= {mixer + name: shape for name, shape in own.items()}
    return found


def fill(file, size: int) -> None:
    """BF16 numbers, normal with a deviation of 0.02; a block of them again and again, each time rotated."""
    source = random.Random(1)
    block = b"".join(struct.pack("<f", source.gauss(0, 0.02))[2:] for _ in range(1 << 20))
    while size > 0:
        cut = 2 * source.randrange(len(block) // 2)
        size -= file.write((block[cut:] + block[:cut])[:size])


def write_model(folder: Path, pattern: str, experts: int, filled: bool) -> int:
    """@return bytes of the weights"""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config(pattern, experts)))
    header, at = {}, 0
    for name, shape in shapes(pattern, experts).items():
        size = 2
        for extent in shape:
            size *= extent
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with (folder / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        if filled:
            fill(file, at)
        else:
            file.truncate(8 + len(text) + at)
    return at


def run(arguments: list[str]) -> tuple[int, int, float, dict]:
    """Status, peak of resident memory in bytes (mapped files included), seconds, and the report."""
    begun = time.monotonic()
    child = subprocess.Popen(arguments, stdout=subprocess.PIPE)
    report = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    status = child.returncode = os.waitstatus_to_exitcode(status)
    return status, 1024 * usage.ru_maxrss, time.monotonic() - begun, json.loads(report) if status == 0 else {}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tern", required=True, help="the program")
    parser.add_argument("--to", nargs="+", default=["mlx-4bit", "gguf-q4_k_m"], help="formats")
    parser.add_argument("--pattern", default="ME", help="layers: M, E, *")
    parser.add_argument("--experts", type=int, default=EXPERTS, help="of a layer")
    parser.add_argument("--filled", action="store_true", help="numbers instead of holes")
    parser.add_argument("--limit", type=float, default=3e9, help="bytes that no conversion may exceed")
    options = parser.parse_args()
    good = True
    with tempfile.TemporaryDirectory() as name:
        source = Path(name) / "source"
        size = write_model(source, options.pattern, options.experts, options.filled)
        print("| to | read, GB | peak of resident memory, GB | seconds | of them converting | estimated | estimate / real |")
        print("|---|---|---|---|---|---|---|")
        for to in options.to:
            out = Path(name) / (to + (".gguf" if to.startswith("gguf") else ""))
            status, peak, seconds, report = run([options.tern, "convert", str(source), str(out), "--to", to, "--json"])
            good &= status == 0 and peak < options.limit
            real, estimated = report.get("seconds", 0), report.get("estimated_seconds", 0)
            print(f"| {to} | {size / 1e9:.2f} | {peak / 1e9:.3f} | {seconds:.1f} | {real:.1f} | {estimated:.1f} | "
                  f"{estimated / real if real else 0:.2f} |", flush=True)
            for made in (out, out.with_name(out.name + ".partial")):
                shutil.rmtree(made) if made.is_dir() else made.unlink(missing_ok=True)
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())
