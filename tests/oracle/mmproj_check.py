#!/usr/bin/env python3
"""The mmproj file of `tern convert`, read by the package gguf.

A small random Omni checkpoint is converted. Names of the encoder of images come from the package's own
map for this family, those of sound from llama.cpp's converter; types, shapes, keys and values are computed
here from the source. Sources without encoders, with a part missing, or with quantized ones must be refused.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
from pathlib import Path

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type

import tern_cli
import tiny_model

WIDTH, FEED, BLOCKS, PATCH, SIDE, HIDDEN = 32, 48, 2, 4, 8, 256
SOUND, SOUND_FEED, CHANNELS = 24, 40, 6
IMAGE = 16  # 4x4 places of 8x8
MEAN, STD = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
RADIO, PARAKEET = "vision_model.radio_model.model.", "sound_encoder.encoder."

# llama.cpp's names of the Parakeet encoder.
SOUND_BLOCK = {
    "norm_feed_forward1": "ffn_norm", "feed_forward1.linear1": "ffn_up", "feed_forward1.linear2": "ffn_down",
    "norm_self_att": "ln1", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_out", "self_attn.relative_k_proj": "linear_pos", "norm_conv": "norm_conv",
    "conv.pointwise_conv1": "conv_pw1", "conv.depthwise_conv": "conv_dw", "conv.pointwise_conv2": "conv_pw2",
    "conv.norm": "conv_norm", "norm_feed_forward2": "ffn_norm_1", "feed_forward2.linear1": "ffn_up_1",
    "feed_forward2.linear2": "ffn_down_1", "norm_out": "ln2"}


def vision_shapes() -> dict[str, tuple[int, ...]]:
    shapes = {f"{RADIO}patch_generator.embedder.weight": (WIDTH, 3 * PATCH * PATCH),
              f"{RADIO}patch_generator.pos_embed": (1, SIDE * SIDE, WIDTH),
              f"{RADIO}patch_generator.cls_token.token": (10, WIDTH),
              "mlp1.0.weight": (4 * WIDTH,), "mlp1.1.weight": (64, 4 * WIDTH), "mlp1.3.weight": (HIDDEN, 64)}
    for i in range(BLOCKS):
        block = f"{RADIO}blocks.{i}."
        for name, rows, cols in (("attn.qkv", 3 * WIDTH, WIDTH), ("attn.proj", WIDTH, WIDTH),
                                 ("mlp.fc1", FEED, WIDTH), ("mlp.fc2", WIDTH, FEED)):
            shapes |= {f"{block}{name}.weight": (rows, cols), f"{block}{name}.bias": (rows,)}
        for name in ("norm1", "norm2"):
            shapes |= {f"{block}{name}.weight": (WIDTH,), f"{block}{name}.bias": (WIDTH,)}
    return shapes


def sound_shapes() -> dict[str, tuple[int, ...]]:
    shapes = {f"{PARAKEET}feature_extractor.featurizer.fb": (1, 16, 9),
              f"{PARAKEET}feature_extractor.featurizer.window": (12,),
              f"{PARAKEET}subsampling.linear.weight": (SOUND, 2 * CHANNELS),
              f"{PARAKEET}subsampling.linear.bias": (SOUND,), "sound_projection.norm.weight": (SOUND,),
              "sound_projection.linear1.weight": (32, SOUND), "sound_projection.linear2.weight": (HIDDEN, 32)}
    for i in (0, 2, 3, 5, 6):
        kernel = (1, 1) if i in (3, 6) else (3, 3)
        inputs = CHANNELS if i in (3, 6) else 1
        shapes |= {f"{PARAKEET}subsampling.layers.{i}.weight": (CHANNELS, inputs, *kernel),
                   f"{PARAKEET}subsampling.layers.{i}.bias": (CHANNELS,)}
    for i in range(BLOCKS):
        block = f"{PARAKEET}layers.{i}."
        for name in SOUND_BLOCK:
            if "norm" in name:
                shapes |= {f"{block}{name}.weight": (SOUND,), f"{block}{name}.bias": (SOUND,)}
            elif name.endswith("linear1"):
                shapes[f"{block}{name}.weight"] = (SOUND_FEED, SOUND)
            elif name.endswith("linear2"):
                shapes[f"{block}{name}.weight"] = (SOUND, SOUND_FEED)
            elif name.startswith("self_attn"):
                shapes[f"{block}{name}.weight"] = (SOUND, SOUND)
        shapes |= {f"{block}conv.pointwise_conv1.weight": (2 * SOUND, SOUND, 1),
                   f"{block}conv.depthwise_conv.weight": (SOUND, 1, 9),
                   f"{block}conv.pointwise_conv2.weight": (SOUND, SOUND, 1),
                   f"{block}conv.norm.running_mean": (SOUND,), f"{block}conv.norm.running_var": (SOUND,),
                   f"{block}self_attn.bias_u": (2, SOUND // 2), f"{block}self_attn.bias_v": (2, SOUND // 2)}
    return shapes


def sound_name(hf: str) -> str:
    fixed = {"feature_extractor.featurizer.fb": "a.mel_filters", "feature_extractor.featurizer.window": "a.window",
             "norm": "mm.a.norm_pre", "linear1": "mm.a.mlp.1", "linear2": "mm.a.mlp.2"}
    module, _, suffix = hf.removeprefix(PARAKEET).removeprefix("sound_projection.").rpartition(".")
    if f"{module}.{suffix}" in fixed:
        return fixed[f"{module}.{suffix}"]
    if module in fixed:
        return f"{fixed[module]}.{suffix}"
    if module.startswith("subsampling.layers."):
        return f"a.conv1d.{module[-1]}.{suffix}"
    if module == "subsampling.linear":
        return f"a.pre_encode.out.{suffix}"
    _, block, layer = module.split(".", 2)
    single = {"self_attn.bias_u": "pos_bias_u", "self_attn.bias_v": "pos_bias_v",
              "conv.norm.running_mean": "conv_norm_mean", "conv.norm.running_var": "conv_norm_var"}
    return f"a.blk.{block}." + (single.get(f"{layer}.{suffix}") or f"{SOUND_BLOCK[layer]}.{suffix}")


def resized(table: np.ndarray, to: int) -> np.ndarray:
    """Bilinear, corners in place, one axis after the other."""
    grid = table.reshape(SIDE, SIDE, WIDTH).astype(np.float64)
    at = np.linspace(0, SIDE - 1, to)
    for axis in (0, 1):
        low = np.minimum(at.astype(int), SIDE - 2)
        part = (at - low).reshape([-1 if a == axis else 1 for a in range(3)])
        grid = np.take(grid, low, axis) * (1 - part) + np.take(grid, low + 1, axis) * part
    return grid.reshape(to * to, WIDTH)


def expected(media: dict[str, np.ndarray]) -> dict[str, tuple[Type, np.ndarray]]:
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.MMPROJ, 4)  # numbers of mlp1, too
    out = {}
    for hf, value in media.items():
        vision = hf in vision_shapes()
        name = names.get_name(hf if not hf.endswith("pos_embed") else hf + ".weight",
                              try_suffixes=(".weight", ".bias")) if vision else sound_name(hf)
        kind = Type.F16 if value.ndim > 1 and name.endswith(".weight") else Type.F32
        if name == "v.patch_embd.weight":
            value = value.reshape(WIDTH, 3, PATCH, PATCH)
        elif name == "v.position_embd.weight":
            value, kind = resized(value, IMAGE // PATCH), Type.F32
        elif name.startswith("a.conv1d") and name.endswith("bias"):
            value = value.reshape(1, -1, 1, 1)
        elif "conv_pw" in name or "conv_dw" in name or name == "a.mel_filters":
            value = value.squeeze(0 if name == "a.mel_filters" else 2 if "conv_pw" in name else 1)
        if not vision and ("conv" in name or "norm" in name):
            kind = Type.F32
        out[name] = (kind, value)
    return out


def expected_keys(sound: bool) -> dict:
    vision = {"projection_dim": HIDDEN, "image_size": IMAGE, "patch_size": PATCH, "embedding_length": WIDTH,
              "feed_forward_length": FEED, "block_count": BLOCKS, "attention.head_count": 16,
              "attention.layer_norm_epsilon": 1e-6, "image_mean": MEAN, "image_std": STD,
              "projector.scale_factor": 2}
    audio = {"projector_type": "parakeet", "projection_dim": HIDDEN, "embedding_length": SOUND,
             "feed_forward_length": SOUND_FEED, "block_count": BLOCKS, "attention.head_count": 2,
             "attention.layer_norm_epsilon": 1e-5, "num_mel_bins": 16, "subsampling_factor": 8,
             "conv_kernel_size": 9}
    keys = {"general.architecture": "clip", "general.type": "mmproj", "general.file_type": 1,
            "clip.has_vision_encoder": True, "clip.use_gelu": True}
    keys |= {f"clip.vision.{k}": v for k, v in vision.items()}
    keys["clip.vision.projector_type" if sound else "clip.projector_type"] = "nemotron_v2_vl"
    if sound:
        keys |= {f"clip.audio.{k}": v for k, v in audio.items()} | {"clip.has_audio_encoder": True}
    return keys


def convert(tern: str, source: Path, out: Path, *flags: str) -> subprocess.CompletedProcess:
    return subprocess.run([tern, "convert", str(source), str(out), "--to", "mmproj-f16", *flags],
                          capture_output=True, text=True, timeout=120)


def check_file(report: tern_cli.Report, tern: str, source: Path, media: dict[str, np.ndarray], sound: bool) -> None:
    label = "images and sound" if sound else "images alone"
    path = source.with_suffix(".gguf")
    plan = convert(tern, source, path, "--dry-run", "--json")
    run = convert(tern, source, path)
    if run.returncode != 0 or plan.returncode != 0:
        report.add(label, False, run.stderr + plan.stderr)
        return
    report.add(f"{label}: --dry-run has the bytes", json.loads(plan.stdout)["bytes"] == path.stat().st_size,
               f"{path.stat().st_size} bytes")
    reader = gguf.GGUFReader(path)
    found = {k: f.contents() for k, f in reader.fields.items() if not k.startswith(("GGUF.", "general.name"))}
    wanted = expected_keys(sound)
    wrong = [k for k in wanted.keys() | found.keys() if k not in found or k not in wanted or not (
        found[k] == wanted[k] if isinstance(wanted[k], str) else np.allclose(found[k], wanted[k], rtol=1e-6))]
    report.add(f"{label}: keys", not wrong, str(wrong or len(found)))
    tensors = {t.name: t for t in reader.tensors}
    wanted = expected(media)
    report.add(f"{label}: names", tensors.keys() == wanted.keys(), str(sorted(tensors.keys() ^ wanted.keys())[:4]))
    wrong = []
    for name in tensors.keys() & wanted.keys():
        kind, value = wanted[name]
        tensor = tensors[name]
        exact = value.astype(np.float16 if kind == Type.F16 else np.float32)
        got = tensor.data.reshape([int(n) for n in tensor.shape[::-1]])
        same = np.allclose(got, exact, atol=1e-6) if "position" in name else np.array_equal(got, exact)
        if tensor.tensor_type != kind or got.shape != exact.shape or not same:
            wrong.append(f"{name} {tensor.tensor_type.name} {got.shape}, expected {kind.name} {exact.shape}")
    report.add(f"{label}: types, shapes and values", not wrong, str(wrong[:3] or len(tensors)))
    run = subprocess.run([tern, "info", "-m", str(path)], capture_output=True, text=True, timeout=60)
    report.add(f"{label}: no text model", run.returncode != 0 and "encoders of images and sound" in run.stderr,
               run.stderr.strip())


def check_killed(report: tern_cli.Report, tern: str, source: Path, whole: Path, seed: int) -> None:
    """kill -9 at random moments, each run going on from the one before: nothing, or all of it."""
    out, random = source.with_name("killed.gguf"), np.random.default_rng(seed)
    begun = time.monotonic()
    subprocess.run([tern, "version"], capture_output=True, timeout=60)
    least = time.monotonic() - begun  # before, nothing has begun
    killed = halves = 0
    for _ in range(12):
        process = subprocess.Popen([tern, "convert", str(source), str(out), "--to", "mmproj-f16", "--resume"],
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(least * random.uniform(0.5, 4))
        process.kill()
        killed += process.wait(60) != 0
        if out.exists():
            halves += out.read_bytes() != whole.read_bytes()
            out.unlink()
    report.add("killed: nothing under the final name, or all of it", killed > 0 and halves == 0,
               f"{killed} of 12 killed, {halves} incomplete")
    run = convert(tern, source, out, "--resume")
    report.add("killed: --resume completes the same bytes",
               run.returncode == 0 and out.read_bytes() == whole.read_bytes()
               and not out.with_name(out.name + ".partial").exists(), run.stderr.strip())


def check_refused(report: tern_cli.Report, tern: str, folder: Path, save, media: dict[str, np.ndarray]) -> None:
    missing = {k: v for k, v in media.items() if not k.endswith("blocks.1.mlp.fc2.bias")}
    cases = {"no encoders": ({}, "no encoder of images"),
             "a tensor is missing": (missing, "expected"),
             "an unknown tensor": (media | {f"{RADIO}blocks.0.ls1": np.ones(WIDTH, np.float32)}, "ls1"),
             "codes": (media | {"mlp1.1.weight": np.ones((64, 4), np.uint32)}, "mlp1.1.weight"),
             "not square": (media | {f"{RADIO}patch_generator.pos_embed": np.ones((1, 60, WIDTH), np.float32)},
                            "pos_embed"),
             "too large for f16": (media | {"mlp1.1.weight": np.full((64, 4 * WIDTH), 1e5, np.float32)}, "mlp.1")}
    for label, (tensors, said) in cases.items():
        source = save(folder / label.replace(" ", "-"), tensors)
        out = folder / "refused.gguf"
        run = convert(tern, source, out)
        report.add(f"{label}: refused", run.returncode != 0 and said in run.stderr and not out.exists(),
                   run.stderr.strip())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tern", required=True, help="the program")
    options = parser.parse_args()
    report = tern_cli.Report()
    rng = np.random.default_rng(5)
    text = tiny_model.make_config(hybrid_override_pattern="ME*E")
    weights = {f"language_model.{k}": v for k, v in tiny_model.make_tensors(text, seed=3).items()}
    outer = {"model_type": "NemotronH_Nano_Omni_Reasoning_V3", "llm_config": text, "force_image_size": IMAGE,
             "patch_size": PATCH, "downsample_ratio": 0.5, "norm_mean": MEAN, "norm_std": STD,
             "sound_config": {"num_attention_heads": 2, "num_mel_bins": 16, "subsampling_factor": 8,
                              "conv_kernel_size": 9}}
    left_out = {"vision_model.radio_model.input_conditioner.norm_mean": np.zeros((3, 1, 1), np.float32),
                f"{RADIO}patch_generator.video_embedder.weight": np.ones((WIDTH, 6 * PATCH * PATCH), np.float32),
                f"{PARAKEET}layers.0.conv.norm.num_batches_tracked": np.zeros((), np.int64)}

    def random(shapes: dict) -> dict[str, np.ndarray]:
        return {k: rng.standard_normal(shape).astype(np.float32) for k, shape in shapes.items()}

    def save(place: Path, media: dict[str, np.ndarray]) -> Path:
        return tiny_model.save(place, outer, weights | media)

    images, sound = random(vision_shapes()), random(sound_shapes())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = save(folder / "omni", images | sound | left_out)
        check_file(report, options.tern, source, images | sound, True)
        check_killed(report, options.tern, source, source.with_suffix(".gguf"), 7)
        halves = {k: v.astype(np.float16) for k, v in images.items()}
        check_file(report, options.tern, save(folder / "vision", halves), halves, False)
        check_refused(report, options.tern, folder, save, images)
        run = convert(options.tern, source, folder / "x.gguf", "--group-size", "64")
        report.add("options of other targets", run.returncode == 64 and "--group-size" in run.stderr, run.stderr.strip())
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main())
