"""Makes a small random model of the Nemotron-H architecture, in Hugging Face names.

Every width is a multiple of 256 where K-quants ask for it, and a second set of widths is not, so
that both kinds of rows occur. Needs numpy and safetensors only.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

KINDS = {"M": "mamba", "*": "attention", "E": "moe", "-": "mlp"}


def make_config(**overrides) -> dict:
    config = {
        "architectures": ["NemotronHForCausalLM"],
        "model_type": "nemotron_h",
        "vocab_size": 320,
        "hidden_size": 256,
        "intermediate_size": 128,
        "hybrid_override_pattern": "ME*E-M",
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 64,
        "attention_bias": False,
        "mamba_num_heads": 8,
        "mamba_head_dim": 32,
        "mamba_proj_bias": False,
        "mamba_hidden_act": "silu",
        "ssm_state_size": 32,
        "conv_kernel": 4,
        "n_groups": 2,
        "use_conv_bias": True,
        "use_bias": False,
        "mlp_bias": False,
        "mlp_hidden_act": "relu2",
        "chunk_size": 32,
        "n_routed_experts": 5,
        "n_shared_experts": 1,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 128,
        "moe_shared_expert_intermediate_size": 256,
        "n_group": 1,
        "topk_group": 1,
        "norm_topk_prob": True,
        "routed_scaling_factor": 2.5,
        "layer_norm_epsilon": 1e-5,
        "norm_eps": 1e-5,
        "max_position_embeddings": 4096,
        "tie_word_embeddings": False,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
        "torch_dtype": "float32",
    }
    config.update(overrides)
    config["num_hidden_layers"] = len(config["hybrid_override_pattern"])
    return config


def make_tensors(config: dict, seed: int) -> dict[str, np.ndarray]:
    """Random float32 weights of sensible scale, exactly representable in bfloat16."""
    rng = np.random.default_rng(seed)
    hidden = config["hidden_size"]
    inner = config["mamba_num_heads"] * config["mamba_head_dim"]
    conv = inner + 2 * config["n_groups"] * config["ssm_state_size"]
    heads = config["mamba_num_heads"]
    queries = config["num_attention_heads"] * config["head_dim"]
    keys = config["num_key_value_heads"] * config["head_dim"]

    def bf16(array: np.ndarray) -> np.ndarray:
        bits = array.astype(np.float32).view(np.uint32)
        return ((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000).view(np.float32)

    def linear(rows: int, cols: int) -> np.ndarray:
        return bf16(rng.standard_normal((rows, cols)) / np.sqrt(cols))

    def vector(size: int, center: float = 0.0, spread: float = 0.2) -> np.ndarray:
        return bf16(center + spread * rng.standard_normal(size))

    tensors = {
        "backbone.embeddings.weight": bf16(rng.standard_normal((config["vocab_size"], hidden))),
        "backbone.norm_f.weight": vector(hidden, 1.0),
        "lm_head.weight": linear(config["vocab_size"], hidden),
    }
    for index, kind in enumerate(config["hybrid_override_pattern"]):
        layer = f"backbone.layers.{index}"
        mixer = f"{layer}.mixer"
        tensors[f"{layer}.norm.weight"] = vector(hidden, 1.0)
        if kind == "M":
            tensors[f"{mixer}.in_proj.weight"] = linear(inner + conv + heads, hidden)
            tensors[f"{mixer}.conv1d.weight"] = bf16(
                rng.standard_normal((conv, 1, config["conv_kernel"])) * 0.4
            )
            tensors[f"{mixer}.conv1d.bias"] = vector(conv)
            tensors[f"{mixer}.dt_bias"] = vector(heads, -2.0, 1.0)
            tensors[f"{mixer}.A_log"] = bf16(np.log(rng.uniform(1, 16, heads)))
            tensors[f"{mixer}.D"] = vector(heads, 1.0)
            tensors[f"{mixer}.norm.weight"] = vector(inner, 1.0)
            tensors[f"{mixer}.out_proj.weight"] = linear(hidden, inner)
        elif kind == "*":
            tensors[f"{mixer}.q_proj.weight"] = linear(queries, hidden)
            tensors[f"{mixer}.k_proj.weight"] = linear(keys, hidden)
            tensors[f"{mixer}.v_proj.weight"] = linear(keys, hidden)
            tensors[f"{mixer}.o_proj.weight"] = linear(hidden, queries)
        elif kind == "E":
            experts, width = config["n_routed_experts"], config["moe_intermediate_size"]
            shared = config["moe_shared_expert_intermediate_size"]
            tensors[f"{mixer}.gate.weight"] = linear(experts, hidden)
            tensors[f"{mixer}.gate.e_score_correction_bias"] = vector(experts)
            for expert in range(experts):
                tensors[f"{mixer}.experts.{expert}.up_proj.weight"] = linear(width, hidden)
                tensors[f"{mixer}.experts.{expert}.down_proj.weight"] = linear(hidden, width)
            if config["n_shared_experts"] is not None:  # 0 means one, too, to its readers
                tensors[f"{mixer}.shared_experts.up_proj.weight"] = linear(shared, hidden)
                tensors[f"{mixer}.shared_experts.down_proj.weight"] = linear(hidden, shared)
        elif kind == "-":
            width = config["intermediate_size"]
            tensors[f"{mixer}.up_proj.weight"] = linear(width, hidden)
            tensors[f"{mixer}.down_proj.weight"] = linear(hidden, width)
    return tensors


def save(folder: Path, config: dict, tensors: dict[str, np.ndarray]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config, indent=1))
    save_file(tensors, folder / "model.safetensors")
    return folder
