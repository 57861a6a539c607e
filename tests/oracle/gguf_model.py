"""Writes a tiny Nemotron-H model as GGUF, at any type, with the metadata of llama.cpp's converter."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type
from gguf import quants

BLOCK_256 = {Type.Q2_K, Type.Q3_K, Type.Q4_K, Type.Q5_K, Type.Q6_K, Type.IQ4_XS}
# Offsets of the half-precision scales in a block of the types that the package cannot encode.
SCALE_OFFSETS = {
    Type.Q2_K: (80, 82),
    Type.Q3_K: (108,),
    Type.Q4_K: (0, 2),
    Type.Q5_K: (0, 2),
    Type.Q6_K: (208,),
    Type.IQ4_NL: (0,),
    Type.IQ4_XS: (0,),
}


def random_blocks(shape: tuple[int, ...], kind: Type, rng: np.random.Generator) -> np.ndarray:
    """Blocks of random codes with scales that keep weights near 1 / sqrt(row length)."""
    block, size = gguf.GGML_QUANT_SIZES[kind]
    rows, cols = int(np.prod(shape[:-1])), shape[-1]
    data = rng.integers(0, 256, (rows, cols // block, size), dtype=np.uint8)
    if kind == Type.MXFP4:
        data[:, :, 0] = rng.integers(121, 124, data.shape[:2])
    for offset in SCALE_OFFSETS.get(kind, ()):
        scale = rng.uniform(0.5, 1.5, data.shape[:2]).astype(np.float16)
        data[:, :, offset : offset + 2] = scale[..., None].view(np.uint8)
    if kind in SCALE_OFFSETS:
        values = quants.dequantize(data.reshape(rows, -1), kind)
        factor = (1.0 / np.sqrt(cols)) / values.std()
        for offset in SCALE_OFFSETS[kind]:
            scale = data[:, :, offset : offset + 2].copy().view(np.float16).astype(np.float32)
            data[:, :, offset : offset + 2] = (scale * factor).astype(np.float16).view(np.uint8)
    return data.reshape(*shape[:-1], -1)


def encode(weight: np.ndarray, kind: Type, rng: np.random.Generator) -> tuple[np.ndarray, Type]:
    """Blocks of `kind` for a weight (random ones where the package has no encoder); falls back to
    Q8_0 for rows that `kind` cannot hold."""
    if kind in BLOCK_256 and weight.shape[-1] % 256 != 0:
        kind = Type.Q8_0
    if kind in SCALE_OFFSETS or kind == Type.MXFP4:
        return random_blocks(weight.shape, kind, rng), kind
    return quants.quantize(weight, kind), kind


def open_writer(path: Path, config: dict) -> gguf.GGUFWriter:
    """A writer that has the metadata of the model."""
    pattern = config["hybrid_override_pattern"]
    moe = "E" in pattern
    writer = gguf.GGUFWriter(path, "nemotron_h_moe" if moe else "nemotron_h")
    p = writer.arch + "."
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    inner = config["mamba_num_heads"] * config["mamba_head_dim"]
    ffn = {"E": config["moe_intermediate_size"], "-": config["intermediate_size"]}
    writer.add_name("tiny")
    writer.add_tokenizer_model("no_vocab")  # token ids only; llama.cpp wants to be told
    writer.add_uint32(p + "block_count", len(pattern))
    writer.add_uint32(p + "context_length", config["max_position_embeddings"])
    writer.add_uint32(p + "embedding_length", config["hidden_size"])
    writer.add_array(p + "feed_forward_length", [ffn.get(k, 0) for k in pattern])
    writer.add_uint32(p + "attention.head_count", heads)
    writer.add_array(p + "attention.head_count_kv", [kv_heads if k == "*" else 0 for k in pattern])
    writer.add_uint32(p + "attention.key_length", config["head_dim"])
    writer.add_uint32(p + "attention.value_length", config["head_dim"])
    writer.add_float32(p + "attention.layer_norm_rms_epsilon", config["layer_norm_epsilon"])
    writer.add_float32(p + "attention.layer_norm_epsilon", config["layer_norm_epsilon"])
    writer.add_uint32(p + "rope.dimension_count", 84)
    writer.add_float32(p + "rope.freq_base", 10000.0)
    writer.add_uint32(p + "ssm.conv_kernel", config["conv_kernel"])
    writer.add_uint32(p + "ssm.state_size", config["ssm_state_size"])
    writer.add_uint32(p + "ssm.group_count", config["n_groups"])
    writer.add_uint32(p + "ssm.inner_size", inner)
    writer.add_uint32(p + "ssm.time_step_rank", config["mamba_num_heads"])
    writer.add_uint32(p + "vocab_size", config["vocab_size"])
    if moe:
        writer.add_uint32(p + "expert_count", config["n_routed_experts"])
        writer.add_uint32(p + "expert_used_count", config["num_experts_per_tok"])
        writer.add_uint32(p + "expert_shared_count", config["n_shared_experts"])
        writer.add_uint32(p + "expert_group_count", config["n_group"])
        writer.add_uint32(p + "expert_group_used_count", config["topk_group"])
        writer.add_uint32(p + "expert_feed_forward_length", config["moe_intermediate_size"])
        writer.add_uint32(
            p + "expert_shared_feed_forward_length", config["moe_shared_expert_intermediate_size"]
        )
        writer.add_bool(p + "expert_weights_norm", config["norm_topk_prob"])
        writer.add_float32(p + "expert_weights_scale", config["routed_scaling_factor"])
    return writer


def write(
    path: Path, config: dict, tensors: dict[str, np.ndarray], kind: Type, seed: int = 7
) -> dict[str, np.ndarray]:
    """Writes the model; returns the weights that the file holds, dequantized, in HF names."""
    rng = np.random.default_rng(seed)
    pattern = config["hybrid_override_pattern"]
    writer = open_writer(path, config)
    stored: dict[str, np.ndarray] = {}

    def add_matrix(name: str, weight: np.ndarray) -> np.ndarray:
        data, used = encode(np.ascontiguousarray(weight), kind, rng)
        if used in (Type.F32, Type.F16):
            writer.add_tensor(name, data)
        else:
            writer.add_tensor(name, data, raw_dtype=used)
        return quants.dequantize(data, used).astype(np.float32).reshape(weight.shape)

    def matrix(name: str, source: str) -> None:
        stored[source] = add_matrix(name, tensors[source])

    def plain(name: str, source: str, value: np.ndarray | None = None) -> None:
        stored[source] = tensors[source]
        value = tensors[source] if value is None else value
        writer.add_tensor(name, np.ascontiguousarray(value, dtype=np.float32))

    matrix("token_embd.weight", "backbone.embeddings.weight")
    plain("output_norm.weight", "backbone.norm_f.weight")
    matrix("output.weight", "lm_head.weight")
    for index, block in enumerate(pattern):
        b, s = f"blk.{index}", f"backbone.layers.{index}"
        m = f"{s}.mixer"
        plain(f"{b}.attn_norm.weight", f"{s}.norm.weight")
        if block == "M":
            matrix(f"{b}.ssm_in.weight", f"{m}.in_proj.weight")
            conv = tensors[f"{m}.conv1d.weight"]
            plain(f"{b}.ssm_conv1d.weight", f"{m}.conv1d.weight", conv[:, 0, :])
            plain(f"{b}.ssm_conv1d.bias", f"{m}.conv1d.bias")
            plain(f"{b}.ssm_dt.bias", f"{m}.dt_bias")
            a_log = tensors[f"{m}.A_log"].astype(np.float64)
            plain(f"{b}.ssm_a", f"{m}.A_log", -np.exp(a_log)[:, None])
            plain(f"{b}.ssm_d", f"{m}.D", tensors[f"{m}.D"][:, None])
            norm = tensors[f"{m}.norm.weight"].reshape(config["n_groups"], -1)
            plain(f"{b}.ssm_norm.weight", f"{m}.norm.weight", norm)
            matrix(f"{b}.ssm_out.weight", f"{m}.out_proj.weight")
        elif block == "*":
            for short, long in (("q", "q"), ("k", "k"), ("v", "v"), ("output", "o")):
                matrix(f"{b}.attn_{short}.weight", f"{m}.{long}_proj.weight")
        elif block == "E":
            plain(f"{b}.ffn_gate_inp.weight", f"{m}.gate.weight")
            plain(f"{b}.exp_probs_b.bias", f"{m}.gate.e_score_correction_bias")
            for side in ("up", "down"):
                names = [
                    f"{m}.experts.{e}.{side}_proj.weight"
                    for e in range(config["n_routed_experts"])
                ]
                stack = add_matrix(
                    f"{b}.ffn_{side}_exps.weight", np.stack([tensors[n] for n in names])
                )
                stored.update(zip(names, stack))
                if config["n_shared_experts"]:
                    matrix(
                        f"{b}.ffn_{side}_shexp.weight", f"{m}.shared_experts.{side}_proj.weight"
                    )
        elif block == "-":
            matrix(f"{b}.ffn_up.weight", f"{m}.up_proj.weight")
            matrix(f"{b}.ffn_down.weight", f"{m}.down_proj.weight")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return stored


# GGUF's name of a matrix or vector after "blk.N.", and Hugging Face's after "layers.N.".
LAYER_NAMES = {
    "M": {"ssm_in.weight": "in_proj.weight", "ssm_conv1d.weight": "conv1d.weight", "ssm_conv1d.bias": "conv1d.bias",
          "ssm_dt.bias": "dt_bias", "ssm_a": "A_log", "ssm_d": "D", "ssm_norm.weight": "norm.weight",
          "ssm_out.weight": "out_proj.weight"},
    "*": {"attn_q.weight": "q_proj.weight", "attn_k.weight": "k_proj.weight", "attn_v.weight": "v_proj.weight",
          "attn_output.weight": "o_proj.weight"},
    "E": {"ffn_gate_inp.weight": "gate.weight", "exp_probs_b.bias": "gate.e_score_correction_bias",
          "ffn_up_shexp.weight": "shared_experts.up_proj.weight",
          "ffn_down_shexp.weight": "shared_experts.down_proj.weight"},
}


def read(path: Path, config: dict) -> dict[str, np.ndarray]:
    """The weights of a file, dequantized by the package, in Hugging Face's names and shapes."""
    stored = {}
    for tensor in gguf.GGUFReader(path).tensors:
        value = quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        stored[tensor.name] = value.reshape([int(n) for n in tensor.shape[::-1]])
    found = {
        "backbone.embeddings.weight": stored["token_embd.weight"],
        "backbone.norm_f.weight": stored["output_norm.weight"],
        "lm_head.weight": stored["output.weight"],
    }
    for index, kind in enumerate(config["hybrid_override_pattern"]):
        block, mixer = f"blk.{index}.", f"backbone.layers.{index}.mixer."
        found[f"backbone.layers.{index}.norm.weight"] = stored[block + "attn_norm.weight"]
        for ours, theirs in LAYER_NAMES[kind].items():
            value = stored[block + ours]
            if ours == "ssm_conv1d.weight":
                value = value[:, None, :]
            elif ours == "ssm_a":
                value = np.log(-value.astype(np.float64)).astype(np.float32).reshape(-1)
            elif ours in ("ssm_d", "ssm_norm.weight"):
                value = value.reshape(-1)
            found[mixer + theirs] = np.ascontiguousarray(value)
        for side in ("up", "down") if kind == "E" else ():
            for expert, value in enumerate(stored[f"{block}ffn_{side}_exps.weight"]):
                found[f"{mixer}experts.{expert}.{side}_proj.weight"] = np.ascontiguousarray(value)
    return found
