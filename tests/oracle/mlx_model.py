"""Converts a tiny Hugging Face model with mlx-lm's own code, at any width and mode."""

from __future__ import annotations

import json
from pathlib import Path

import mlx.core as mx
import numpy as np
from mlx_lm import utils


def convert(
    source: Path, target: Path, *, dtype: mx.Dtype = mx.bfloat16, predicate=None, **quantization
) -> dict:
    """Loads `source` as mlx-lm does, casts, quantizes and saves; returns the new config."""
    model, config = utils.load_model(source, lazy=False)
    keep = getattr(model, "cast_predicate", lambda _: True)

    def cast(key: str, value: mx.array) -> mx.array:
        return value.astype(dtype) if keep(key) and mx.issubdtype(value.dtype, mx.floating) else value

    weights = [(k, cast(k, v)) for k, v in utils.tree_flatten(model.parameters())]
    model.load_weights(weights)
    if quantization:
        model, config = utils.quantize_model(
            model,
            config,
            quantization.get("group_size"),
            quantization.get("bits"),
            mode=quantization.get("mode", "affine"),
            global_scale=quantization.get("global_scale", False),
            quant_predicate=predicate,
        )
    target.mkdir(parents=True, exist_ok=True)
    utils.save_model(target, model)
    utils.save_config(config, target / "config.json")
    return json.loads((target / "config.json").read_text())


def logits(folder: Path, tokens: list[int]) -> np.ndarray:
    """mlx-lm's logits [tokens, vocabulary] of a model folder, computed in float32 throughout."""
    model, _ = utils.load_model(folder, lazy=False)
    floats = [
        (k, v.astype(mx.float32))
        for k, v in utils.tree_flatten(model.parameters())
        if mx.issubdtype(v.dtype, mx.floating)
    ]
    model.load_weights(floats, strict=False)
    return np.array(model(mx.array([tokens]))[0].astype(mx.float32))


def dequantized(folder: Path, config: dict) -> dict[str, np.ndarray]:
    """Every weight of an MLX folder in float32 and in Hugging Face names, experts unstacked.

    Scales and biases are widened first, so that MLX computes scale * q + bias in float32.
    """
    tensors: dict[str, mx.array] = {}
    for shard in sorted(folder.glob("*.safetensors")):
        tensors.update(mx.load(str(shard)))
    defaults = config.get("quantization", {})
    plain: dict[str, mx.array] = {}
    for name, value in tensors.items():
        path = name.removesuffix(".weight")
        if f"{path}.scales" in tensors and name.endswith(".weight"):
            own = defaults.get(path)
            spec = {**defaults, **own} if isinstance(own, dict) else defaults
            mode = spec.get("mode", "affine")
            scales = tensors[f"{path}.scales"]
            biases = tensors.get(f"{path}.biases")
            if mode == "affine":
                scales, biases = scales.astype(mx.float32), biases.astype(mx.float32)
            plain[name] = mx.dequantize(
                value, scales, biases, spec["group_size"], spec["bits"], mode=mode, dtype=mx.float32
            )
        elif not name.endswith((".scales", ".biases")):
            plain[name] = value.astype(mx.float32)
    result: dict[str, np.ndarray] = {}
    for name, value in plain.items():
        array = np.array(value)
        if "switch_mlp" in name:
            side = "up_proj" if ".fc1." in name else "down_proj"
            prefix = name.split(".switch_mlp")[0]
            for expert, weight in enumerate(array):
                result[f"{prefix}.experts.{expert}.{side}.weight"] = weight
        elif name.endswith("conv1d.weight"):
            result[name] = np.ascontiguousarray(array.transpose(0, 2, 1))
        else:
            result[name] = array
    return result
