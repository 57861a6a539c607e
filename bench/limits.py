#!/usr/bin/env python3
"""What this machine could do at most, and how much of it tern reaches on a model.

Writes the figures (limits.json, limits.md) and a roofline picture (roofline.svg).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import harness
import roofline

LABELS = {
    "read_memory_GBs": ("read memory, 2 MiB pages", "GB/s"),
    "read_memory_4KiB_pages_GBs": ("read memory, 4 KiB pages", "GB/s"),
    "read_L3_8MiB_GBs": ("read 8 MiB a thread (L3)", "GB/s"),
    "read_L2_512KiB_GBs": ("read 512 KiB a thread (L2)", "GB/s"),
    "read_L1_16KiB_GBs": ("read 16 KiB a thread (L1)", "GB/s"),
    "gemv_4bit_memory_GBs": ("4-bit matrix times vector, from memory", "GB/s"),
    "gemv_4bit_L2_512KiB_GBs": ("4-bit matrix times vector, from L2", "GB/s"),
    "fp32_fma_GFLOPs": ("fp32 multiply-add", "GFLOP/s"),
    "bf16_dot_GFLOPs": ("bf16 dot product (AVX-512)", "GFLOP/s"),
    "int16_dot_GOPs": ("int16 dot product", "GOP/s"),
    "int8_dot_GOPs": ("int8 dot product", "GOP/s"),
    "amx_bf16_GFLOPs": ("bf16 tiles (AMX)", "GFLOP/s"),
    "amx_int8_GOPs": ("int8 tiles (AMX)", "GOP/s"),
}
PEAKS = ("fp32_fma_GFLOPs", "bf16_dot_GFLOPs", "int16_dot_GOPs", "int8_dot_GOPs", "amx_bf16_GFLOPs", "amx_int8_GOPs")


def reached(options, limits: dict) -> list[dict]:
    """Decode against memory, prefill against arithmetic."""
    threads = str(limits["threads"])
    work = harness.Work(options.tern, options.model)
    command = [options.tern, "bench", "-m", options.model, "-t", threads, "-p", options.n_prompt, "-n",
               options.n_gen, "-r", options.runs, "-o", "json"]
    found = []
    for test in json.loads(harness.call(command, options.under)):
        speed = harness.median(test["samples_ts"])
        prompt = test["n_prompt"] > 0
        flops = speed * work.prompt_flops * 1e-9
        row = {"test": harness.test_name(test), "tokens_s": speed, "GFLOPs": flops}
        if prompt:
            row["shares"] = {f"of {LABELS[name][0]}": flops / limits[name][threads] for name in PEAKS if name in limits}
            row["flops_per_byte"] = work.prompt_flops * test["n_prompt"] / work.info["weight_bytes"]
        else:
            row["GBs"] = speed * work.decode_bytes * 1e-9
            row |= {"shares": {"of reading memory": row["GBs"] / limits["read_memory_GBs"][threads]}}
            if "gemv_4bit_memory_GBs" in limits:
                row["shares"]["of the 4-bit product"] = row["GBs"] / limits["gemv_4bit_memory_GBs"][threads]
            row["flops_per_byte"] = work.prompt_flops / work.decode_bytes
        found.append(row)
    return found


def render(result: dict) -> str:
    limits, threads = result["limits"], str(result["limits"]["threads"])
    rows = [[label, f"{limits[name]['1']:.4g}", f"{limits[name][threads]:.4g}", unit]
            for name, (label, unit) in LABELS.items() if name in limits]
    text = [f"Machine: {harness.machine_line(result['machine'])}. Medians of {limits['runs']} runs.", "",
            harness.table(["at most", "1 thread", f"{threads} threads", ""], rows), ""]
    if result["reached"]:
        rows = []
        for row in result["reached"]:
            draws = f"{row['GBs']:.1f} GB/s" if "GBs" in row else f"{row['GFLOPs']:.0f} GFLOP/s"
            shares = ", ".join(f"{100 * share:.0f} % {name}" for name, share in row["shares"].items())
            rows.append([row["test"], f"{row['tokens_s']:.2f}", draws, shares])
        text += [f"{result['tern']} on {result['file']}:", "",
                 harness.table(["test", "tokens/s", "that is", "which is"], rows), ""]
    return "\n".join(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--program", type=Path, required=True, help="tern_limits")
    parser.add_argument("--tern", type=Path, required=True)
    parser.add_argument("-m", "--model", type=Path, help="how much of the limits tern reaches on this one")
    parser.add_argument("-p", "--n-prompt", type=int, default=512)
    parser.add_argument("-n", "--n-gen", type=int, default=64)
    parser.add_argument("-r", "--runs", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=harness.ROOT / "build/bench", help="for the results")
    parser.add_argument("--under", default="", help="command line that runs each measurement")
    options = parser.parse_args()
    threads = harness.machine()["cpus"]
    limits = json.loads(harness.call([options.program, threads, options.runs], options.under))
    result = {"machine": harness.machine(), "limits": limits, "reached": []}
    if options.model:
        result |= {"tern": harness.tern_version(options.tern), "reached": reached(options, limits),
                   "file": harness.Work(options.tern, options.model).describe()}
    options.folder.mkdir(parents=True, exist_ok=True)
    text = render(result)
    (options.folder / "limits.json").write_text(json.dumps(result, indent=1))
    (options.folder / "limits.md").write_text(text)
    (options.folder / "roofline.svg").write_text(roofline.picture(result))
    print(text)


if __name__ == "__main__":
    main()
