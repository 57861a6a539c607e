#!/usr/bin/env python3
"""What `tern convert` writes, beside what mlx-lm writes and computes.

The reference encoders must give mlx-lm's own bytes. Folders of the default encoders are loaded by
mlx-lm, which must compute the logits that tern computes, and lose less than mlx-lm's own. Folders of
mlx-lm and GGUF files go back to plain weights, which must be those that the packages decode.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import mlx.core as mx
import numpy as np
from gguf import GGMLQuantizationType as Type

import gguf_model
import mlx_model
import tern_cli
import tiny_model

BOUND = 3e-4
AFFINE = [(bits, group) for bits in (2, 3, 4, 5, 6, 8) for group in (32, 64, 128)]
FLOATS = [("mxfp4", 4, 32), ("mxfp8", 8, 32), ("nvfp4", 4, 16)]


def targets() -> list[tuple[str, list[str], dict]]:
    """Name of the target, its options, and mlx-lm's way to say the same."""
    affine = [(f"mlx-{bits}bit", ["--group-size", str(group)],
               {"bits": bits, "group_size": group}) for bits, group in AFFINE]
    return affine + [(f"mlx-{mode}", [], {"bits": bits, "group_size": group, "mode": mode})
                     for mode, bits, group in FLOATS]


def convert(tern: str, source: Path, target: Path, to: str, *flags: str) -> dict:
    """The program's report."""
    run = subprocess.run([tern, "convert", str(source), str(target), "--to", to, "--json", *flags],
                         capture_output=True, text=True, timeout=300)
    if run.returncode != 0:
        raise tern_cli.TernError(f"tern convert --to {to}: {run.stderr.strip()}")
    return json.loads(run.stdout)


def tensors(folder: Path) -> dict[str, mx.array]:
    found: dict[str, mx.array] = {}
    for shard in sorted(folder.glob("*.safetensors")):
        found.update(mx.load(str(shard)))
    return found


def difference(ours: dict[str, mx.array], theirs: dict[str, mx.array]) -> str:
    """Empty when both hold the same bytes under the same names."""
    if ours.keys() != theirs.keys():
        return f"names differ: {sorted(ours.keys() ^ theirs.keys())[:4]}"
    for name, value in ours.items():
        other = theirs[name]
        if value.dtype != other.dtype or value.shape != other.shape:
            return f"{name}: {value.dtype} {value.shape}, mlx-lm {other.dtype} {other.shape}"
        if not mx.array_equal(value.view(mx.uint8), other.view(mx.uint8)).item():
            count = int(mx.sum(value.view(mx.uint8) != other.view(mx.uint8)).item())
            return f"{name}: {count} bytes differ"
    return ""


def relative(decoded: dict[str, np.ndarray], truth: dict[str, np.ndarray]) -> float:
    error = sum(float(np.sum((decoded[k].astype(np.float64) - truth[k]) ** 2)) for k in truth)
    return error / sum(float(np.sum(truth[k].astype(np.float64) ** 2)) for k in truth)


def bf16(value: np.ndarray) -> np.ndarray:
    return np.array(mx.array(value).astype(mx.bfloat16).astype(mx.float32))


def check_mlx(report: tern_cli.Report, tern: str, folder: Path, plain: Path, truth: dict,
              ids: list[int], tokens: Path) -> None:
    for index, (target, flags, spec) in enumerate(targets()):
        name = " ".join([target, *flags[1:]])
        theirs, same, ours = (folder / f"{kind}{index}" for kind in ("lm", "reference", "ours"))
        their_config = mlx_model.convert(plain, theirs, **spec)
        convert(tern, plain, same, target, *flags, "--reference")
        note = difference(tensors(same), tensors(theirs))
        report.add(f"{name}: the reference is mlx-lm's, byte for byte", not note, note or "equal")
        config = json.loads((same / "config.json").read_text())
        wanted = {k: their_config["quantization"][k] for k in ("bits", "group_size", "mode")}
        report.add(f"{name}: config.json", config["quantization"] == wanted
                   and config["quantization_config"] == wanted, str(config["quantization"]))
        convert(tern, plain, ours, target, *flags)
        losses = [relative(mlx_model.dequantized(f, json.loads((f / "config.json").read_text())),
                           truth) for f in (ours, theirs)]
        # Eight-bit floats are best where mlx-lm puts them.
        bound = losses[1] * (1.000001 if target == "mlx-mxfp8" else 0.97)
        report.add(f"{name}: loses less than mlx-lm's encoder", losses[0] < bound,
                   f"{losses[0]:.6f}, mlx-lm {losses[1]:.6f}")
        expected = mlx_model.logits(ours, ids).astype(np.float64)
        report.compare(f"{name}: mlx-lm computes the same", expected, BOUND,
                       lambda ours=ours: tern_cli.logits(tern, ours, tokens, folder / "out.npy"))


def check_omni(report: tern_cli.Report, tern: str, folder: Path, config: dict, truth: dict) -> None:
    """A model with encoders beside the text tower."""
    rng = np.random.default_rng(8)
    encoder = "sound_encoder.encoder"
    media = {"vision_model.radio_model.model.blocks.0.attn.qkv.weight": np.ones((6, 4), np.float32),
             "mlp1.0.weight": np.full(8, 0.1, np.float32),
             f"{encoder}.subsampling.layers.0.weight": rng.random((4, 3, 2, 5), np.float32),
             f"{encoder}.subsampling.layers.2.weight": rng.random((4, 1, 3, 3), np.float32),
             f"{encoder}.layers.0.conv.pointwise_conv1.weight": rng.random((6, 4, 1), np.float32),
             f"{encoder}.layers.0.conv.depthwise_conv.weight": rng.random((6, 2, 9), np.float32)}
    left_out = {"vision_model.radio_model.input_conditioner.norm_mean": np.zeros((3, 1, 1), np.float32),
                f"{encoder}.feature_extractor.featurizer.fb": np.ones((1, 8, 9), np.float32)}
    # As mlx-vlm has them: the projector's layers in a list, channels last.
    renamed = {k.replace("mlp1.", "mlp1.layers."): np.moveaxis(v, 1, -1) if k.startswith(encoder) else v
               for k, v in media.items()}
    tower = {f"language_model.{k}": v for k, v in truth.items()} | media | left_out
    outer = {"model_type": "NemotronH_Nano_Omni_Reasoning_V3", "llm_config": config}
    omni = tiny_model.save(folder / "omni", outer, tower)
    convert(tern, omni, folder / "omni-four", "mlx-4bit")
    ours = tensors(folder / "omni-four")
    same = all(np.array_equal(np.array(ours[k]), v) for k, v in renamed.items())
    names = all(k in renamed or k.startswith("language_model.") for k in ours)
    report.add("encoders are carried along, as mlx-vlm names them", same and names, f"{len(ours)} tensors")
    convert(tern, folder / "omni-four", folder / "omni-back", "bf16")
    back = tensors(folder / "omni-back")
    same = all(np.array_equal(np.array(back[k]), v) for k, v in media.items())
    again = convert(tern, folder / "omni-four", folder / "omni-again", "mlx-4bit")
    note = difference({k: v for k, v in ours.items() if k in renamed},
                      {k: v for k, v in tensors(folder / "omni-again").items() if k in renamed})
    report.add("and back again", same and not note and bool(again), note or f"{len(back)} tensors")
    convert(tern, omni, folder / "text-four", "mlx-4bit", "--text-only")
    note = difference(tensors(folder / "text-four"),
                      {k.removeprefix("language_model."): v for k, v in ours.items() if k not in renamed})
    report.add("--text-only is the text tower alone", not note, note or "equal")
    written = json.loads((folder / "text-four/config.json").read_text())
    report.add("its config names the text model", written["architectures"] == ["NemotronHForCausalLM"] and
               written["model_type"] == "nemotron_h", str(written["architectures"]))
    mlx_model.logits(folder / "text-four", [1, 2, 3])  # mlx-lm loads it


def check_back(report: tern_cli.Report, tern: str, folder: Path, config: dict, plain: Path,
               truth: dict, ids: list[int], tokens: Path) -> None:
    """Quantized models to plain ones."""
    their = mlx_model.convert(plain, folder / "lm-four", bits=4, group_size=64)
    convert(tern, folder / "lm-four", folder / "lm-back", "bf16")
    decoded = mlx_model.dequantized(folder / "lm-four", their)
    back = {k: np.array(v.astype(mx.float32)) for k, v in tensors(folder / "lm-back").items()}
    wrong = [k for k in decoded if not np.array_equal(bf16(decoded[k]), back[k])]
    report.add("mlx-lm's folder to bf16", not wrong and back.keys() == truth.keys(), str(wrong[:3]))
    for kind in (Type.Q8_0, Type.Q5_1, Type.MXFP4, Type.F16, Type.BF16):
        path = folder / f"{kind.name}.gguf"
        stored = gguf_model.write(path, config, truth, kind)
        convert(tern, path, folder / kind.name, "bf16")
        back = {k: np.array(v.astype(mx.float32)) for k, v in tensors(folder / kind.name).items()}
        keep = {k for k in stored if k.endswith("A_log")}  # a logarithm of an exponential
        wrong = [k for k in stored if k not in keep and not np.array_equal(bf16(stored[k]), back[k])]
        near = all(np.allclose(stored[k], back[k], atol=1e-6) for k in keep)
        report.add(f"GGUF {kind.name} to bf16", not wrong and near and back.keys() == truth.keys(),
                   str(wrong[:3] or sorted(back.keys() ^ truth.keys())[:3]))
    convert(tern, folder / "Q8_0.gguf", folder / "gguf-four", "mlx-4bit")
    expected = mlx_model.logits(folder / "gguf-four", ids).astype(np.float64)
    report.compare("GGUF to mlx-4bit: mlx-lm computes the same", expected, BOUND,
                   lambda: tern_cli.logits(tern, folder / "gguf-four", tokens, folder / "out.npy"))
    report_copy = convert(tern, folder / "MXFP4.gguf", folder / "mx", "mlx-mxfp4")
    routers = sum(v.size for k, v in truth.items() if k.endswith("gate.weight"))  # F32 to bf16
    report.add("GGUF MXFP4 to mlx-mxfp4 copies the codes", report_copy["coded"] == routers
               and not report_copy["warnings"][1:], str(report_copy["coded"]))
    shape = {k: v for k, v in truth.items()}
    decoded = mlx_model.dequantized(folder / "mx", json.loads((folder / "mx/config.json").read_text()))
    stored = gguf_model.write(folder / "again.gguf", config, shape, Type.MXFP4)
    wrong = [k for k in decoded if k.endswith("proj.weight") and not np.array_equal(decoded[k], stored[k])]
    report.add("... and mlx decodes what the gguf package decodes", not wrong, str(wrong[:3]))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tern", required=True, help="the program")
    options = parser.parse_args()
    report = tern_cli.Report()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = tiny_model.make_config(torch_dtype="bfloat16")
        truth = tiny_model.make_tensors(config, 5)
        plain = tiny_model.save(folder / "plain", config, truth)
        ids = np.random.default_rng(2).integers(0, config["vocab_size"], 60).tolist()
        tokens = folder / "tokens.json"
        tokens.write_text(json.dumps(ids))
        check_mlx(report, options.tern, folder, plain, truth, ids, tokens)
        check_back(report, options.tern, folder, config, plain, truth, ids, tokens)
        check_omni(report, options.tern, folder, config, truth)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
