"""Writes the golden data of the text model: tiny random checkpoints and the logits that
transformers computes from them in float32 on the CPU.

    python3 tests/golden/model/make.py

Each folder is one shape of the family: config.json and model.safetensors, or model.gguf; and
golden.safetensors with `tokens` [T] (int32) and `logits` [T, vocab] (float32) of one pass over all
of them. Quantized cases are written by mlx-lm and by the gguf package; their logits are those of
the dequantized weights.

Where transformers departs from the published model, the oracle is set right:
 - its Mamba-2 clamps dt from below to `time_step_min`, which is meant for initialisation only; the
   model does not, so `time_step_limit` of every mixer is widened to [0, inf] after construction;
 - weights are random, but not trivial: norms, biases, A_log, D, dt_bias and the router's
   correction bias all differ from their initial values and from each other.
"""

import datetime
import importlib.metadata
import json
import platform
import tempfile
from pathlib import Path

import gguf
import numpy as np
import torch
from safetensors.torch import save_file
from transformers import NemotronHConfig, NemotronHForCausalLM

HERE = Path(__file__).parent
SEED = 20260
KINDS = {"M": "linear_attention", "*": "full_attention", "E": "moe", "-": "mlp"}

BASE = dict(
    vocab_size=64, hidden_size=48, num_attention_heads=4, num_key_value_heads=2, head_dim=12,
    mamba_num_heads=4, mamba_head_dim=12, n_groups=2, ssm_state_size=12, conv_kernel=4,
    chunk_size=64, n_routed_experts=5, num_experts_per_tok=2, moe_intermediate_size=20,
    moe_shared_expert_intermediate_size=28, n_shared_experts=1, intermediate_size=40,
    routed_scaling_factor=2.5, n_group=1, topk_group=1, norm_topk_prob=True,
    layer_norm_epsilon=1e-5, tie_word_embeddings=False, use_conv_bias=True, use_bias=False,
    mlp_bias=False,
)

# Sizes that every quantized format can hold.
ROUND = dict(
    vocab_size=64, hidden_size=64, head_dim=16, mamba_head_dim=16, ssm_state_size=16,
    moe_intermediate_size=32, moe_shared_expert_intermediate_size=64, intermediate_size=64,
    n_routed_experts=3,
)

# name: (pattern, tokens, names, stored dtype, changes to BASE)
#   names: how the tensors are called in the file
CASES = {
    "all-kinds": ("M*E-ME", 140, "backbone", torch.bfloat16, {}),
    "long": ("ME*", 300, "backbone", torch.float32,
             dict(vocab_size=48, hidden_size=32, mamba_num_heads=2, chunk_size=128)),
    "one-group": ("MEM", 70, "backbone", torch.bfloat16,
                  dict(n_groups=1, mamba_num_heads=3, mamba_head_dim=20, ssm_state_size=24)),
    "eight-groups": ("M*E", 70, "omni", torch.bfloat16,
                     dict(n_groups=8, mamba_num_heads=16, mamba_head_dim=6, ssm_state_size=16)),
    "grouped-routing": ("EME", 60, "backbone", torch.bfloat16,
                        dict(n_routed_experts=8, n_group=2, topk_group=1, num_experts_per_tok=3,
                             norm_topk_prob=False)),
    "latent": ("E*E", 60, "backbone", torch.bfloat16,
               dict(moe_latent_size=28, n_routed_experts=6, num_experts_per_tok=3)),
    "no-shared": ("EM", 40, "backbone", torch.bfloat16, dict(n_shared_experts=0)),
    "biases": ("M-E", 40, "backbone", torch.bfloat16,
               dict(use_conv_bias=False, use_bias=True, mlp_bias=True)),
    "attention-only": ("**", 100, "fused", torch.bfloat16,
                       dict(num_attention_heads=6, num_key_value_heads=1, head_dim=20)),
    "mamba-only": ("MM", 80, "fused", torch.bfloat16, dict(conv_kernel=2, ssm_state_size=8)),
    "tied": ("M*-", 40, "backbone", torch.bfloat16, dict(tie_word_embeddings=True)),
    "fused-experts": ("ME", 40, "fused", torch.bfloat16, dict(n_routed_experts=7)),
}

# name: (pattern, how it is quantized, changes to BASE)
#   MLX: mode, bits, group size, and overrides by the end of a module's path
MLX_CASES = {
    "mlx-affine": ("M*E", dict(mode="affine", bits=4, group_size=32,
                               overrides={"lm_head": dict(bits=6, group_size=64),
                                          "q_proj": dict(bits=3, group_size=32),
                                          "out_proj": False}), ROUND),
    "mlx-mxfp4": ("ME*-", dict(mode="mxfp4", bits=4, group_size=32,
                               overrides={"embeddings": dict(mode="affine", bits=8,
                                                             group_size=64)}), ROUND),
}
#   GGUF: types by the end of a tensor's name, "" for the rest
GGUF_CASES = {
    "gguf-q8_0": ("M*E", {"": "Q8_0"}, ROUND),
    "gguf-mixed": ("ME*-E", {"": "Q5_0", "exps.weight": "Q4_0", "attn_v.weight": "Q5_1",
                             "token_embd.weight": "F16", "output.weight": "Q8_0",
                             "ssm_out.weight": "BF16"},
                   {**ROUND, "moe_latent_size": 32}),
}


def randomize(model, generator):
    """Weights of a size that keeps activations near 1, and nothing at its initial value."""

    def normal(p, scale, offset=0.0):
        p.copy_(torch.randn(p.shape, generator=generator) * scale + offset)

    with torch.no_grad():
        for name, p in list(model.named_parameters()) + list(model.named_buffers()):
            if name.endswith("e_score_correction_bias"):
                normal(p, 0.2, 0.3)
            elif name.endswith("A_log"):
                p.copy_(torch.rand(p.shape, generator=generator) * 2.5 - 0.5)
            elif name.endswith("dt_bias"):
                p.copy_(torch.rand(p.shape, generator=generator) * 4.0 - 4.0)
            elif name.endswith((".D", "norm.weight", "norm_f.weight")):
                normal(p, 0.3, 1.0)
            elif name.endswith("conv1d.weight"):
                normal(p, 0.5)
            elif name.endswith("bias"):
                normal(p, 0.3)
            elif name.endswith("embeddings.weight"):
                normal(p, 1.0)
            elif p.dim() >= 2:
                normal(p, 1.5 / p.shape[-1] ** 0.5)
            else:
                raise SystemExit(f"no rule for {name}")


def keep_fp32(name):
    return name.endswith(("e_score_correction_bias", "A_log", "dt_bias", ".D"))


def stored_tensors(model, names, dtype, shared):
    """The state as a file of the family holds it."""
    out = {}
    for name, t in model.state_dict().items():
        if not shared and ".shared_experts." in name:
            continue
        if name == "lm_head.weight" and model.config.tie_word_embeddings:
            continue
        t = t.detach().to(torch.float32 if keep_fp32(name) else dtype).contiguous()
        if names == "fused":  # as current transformers has it in memory
            out[name] = t
            continue
        if name.startswith("model."):
            name = "backbone." + name.removeprefix("model.")
        if names == "omni":
            name = "language_model." + name
        if ".experts." in name:  # as published: one tensor for each expert
            for e in range(t.shape[0]):
                part = name.replace(".experts.", f".experts.{e}.") + ".weight"
                out[part] = t[e].clone()
        else:
            out[name] = t.clone()
    return out


def make_model(name, pattern, changes, rounding):
    """A random model, its weights passed through `rounding(name, tensor)`."""
    fields = {**BASE, **changes, "layers_block_type": [KINDS[c] for c in pattern]}
    config = NemotronHConfig(**fields)
    config._attn_implementation = "eager"
    model = NemotronHForCausalLM(config).eval().float()
    generator = torch.Generator().manual_seed(SEED + sum(map(ord, name)))
    randomize(model, generator)
    with torch.no_grad():
        for p_name, p in list(model.named_parameters()) + list(model.named_buffers()):
            p.copy_(rounding(p_name, p))
            if not fields["n_shared_experts"] and ".shared_experts." in p_name:
                p.zero_()
        if config.tie_word_embeddings:
            model.lm_head.weight = model.model.embeddings.weight
        for module in model.modules():
            if hasattr(module, "time_step_limit"):
                module.time_step_limit = (0.0, float("inf"))
    return model, fields, generator


def write_golden(folder, model, tokens, generator):
    ids = torch.randint(0, model.config.vocab_size, (tokens,), generator=generator)
    with torch.no_grad():
        logits = model(ids[None], use_cache=False).logits[0].float().contiguous()
    save_file({"tokens": ids.to(torch.int32), "logits": logits}, folder / "golden.safetensors")
    return {"tokens": tokens, "logit_rms": round(float(logits.square().mean().sqrt()), 4)}


def hf_config(pattern, fields, dtype):
    written = {k: v for k, v in fields.items() if k != "layers_block_type"}
    return written | {
        "model_type": "nemotron_h", "architectures": ["NemotronHForCausalLM"],
        "num_hidden_layers": len(pattern), "hybrid_override_pattern": pattern,
        "time_step_min": 0.001, "time_step_max": 0.1, "time_step_limit": [0.0, 1e30],
        "eos_token_id": 11, "bos_token_id": 1, "max_position_embeddings": 4096,
        "attention_bias": False, "mamba_proj_bias": False,
        "torch_dtype": str(dtype).removeprefix("torch.")}


def build(name, pattern, tokens, names, dtype, changes):
    rounding = lambda n, p: p if keep_fp32(n) else p.to(dtype).float()  # what the file will hold
    model, fields, generator = make_model(name, pattern, changes, rounding)
    folder = HERE / name
    folder.mkdir(exist_ok=True)
    config = hf_config(pattern, fields, dtype)
    if names == "fused":
        del config["hybrid_override_pattern"]
        config["layers_block_type"] = [KINDS[c] for c in pattern]
        config["time_step_limit"] = [0.0, {"__float__": "Infinity"}]
    if names == "omni":
        config = {"model_type": "NemotronH_Nano_Omni_Reasoning_V3", "llm_config": config}
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    tensors = stored_tensors(model, names, dtype, fields["n_shared_experts"] > 0)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return {"pattern": pattern, "names": names} | write_golden(folder, model, tokens, generator)


def build_mlx(name, pattern, quantization, changes):
    """Converted by mlx-lm; the golden logits are those of the weights that MLX dequantizes."""
    import mlx.core as mx
    from mlx_lm.utils import load_model, quantize_model, save_config, save_model

    mx.set_default_device(mx.cpu)
    model, fields, generator = make_model(name, pattern, changes, lambda n, p: p.bfloat16().float())
    folder = HERE / name
    folder.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as source:
        config = hf_config(pattern, fields, torch.bfloat16)
        (Path(source) / "config.json").write_text(json.dumps(config))
        save_file(stored_tensors(model, "backbone", torch.bfloat16, True),
                  Path(source) / "model.safetensors", metadata={"format": "pt"})
        mlx_model, mlx_config = load_model(Path(source))

    def choose(path, module):
        if not hasattr(module, "to_quantized"):
            return False
        for end, override in quantization["overrides"].items():
            if path.endswith(end):
                return override
        return True

    mlx_model, mlx_config = quantize_model(
        mlx_model, mlx_config, quantization["group_size"], quantization["bits"],
        mode=quantization["mode"], quant_predicate=choose)
    save_model(folder, mlx_model)
    (folder / "model.safetensors.index.json").unlink(missing_ok=True)
    save_config(mlx_config, folder / "config.json")

    weights = mx.load(str(folder / "model.safetensors"))
    table = mlx_config["quantization"]
    with torch.no_grad():
        state = model.state_dict()
        for key, value in weights.items():
            if key.endswith((".scales", ".biases")):
                continue
            path = key.removesuffix(".weight")
            if path + ".scales" in weights:
                entry = table[path] if isinstance(table.get(path), dict) else table
                scales, biases = weights[path + ".scales"], weights.get(path + ".biases")
                if entry.get("mode", "affine") == "affine":
                    scales, biases = scales.astype(mx.float32), biases.astype(mx.float32)
                value = mx.dequantize(value, scales, biases, entry["group_size"], entry["bits"],
                                      mode=entry.get("mode", "affine"))
            if key.endswith("conv1d.weight"):
                value = value.swapaxes(1, 2)
            hf = key.replace("backbone.", "model.")
            hf = hf.replace("switch_mlp.fc1.weight", "experts.up_proj")
            hf = hf.replace("switch_mlp.fc2.weight", "experts.down_proj")
            state[hf].copy_(torch.from_numpy(np.array(value.astype(mx.float32))))
    return {"pattern": pattern, "quantization": table} | write_golden(folder, model, 40, generator)


GGUF_NAMES = {
    "mixer.in_proj": "ssm_in", "mixer.conv1d": "ssm_conv1d", "mixer.dt_bias": "ssm_dt.bias",
    "mixer.A_log": "ssm_a", "mixer.D": "ssm_d", "mixer.norm": "ssm_norm",
    "mixer.out_proj": "ssm_out", "mixer.q_proj": "attn_q", "mixer.k_proj": "attn_k",
    "mixer.v_proj": "attn_v", "mixer.o_proj": "attn_output", "mixer.gate": "ffn_gate_inp",
    "mixer.gate.e_score_correction_bias": "exp_probs_b.bias",
    "mixer.experts.up_proj": "ffn_up_exps.weight",
    "mixer.experts.down_proj": "ffn_down_exps.weight",
    "mixer.shared_experts.up_proj": "ffn_up_shexp",
    "mixer.shared_experts.down_proj": "ffn_down_shexp", "mixer.fc1_latent_proj": "ffn_latent_down",
    "mixer.fc2_latent_proj": "ffn_latent_up", "mixer.up_proj": "ffn_up",
    "mixer.down_proj": "ffn_down", "norm": "attn_norm",
}


def gguf_name(hf):
    for theirs, ours in (("model.embeddings", "token_embd"), ("model.norm_f", "output_norm"),
                         ("lm_head", "output")):
        if hf == theirs + ".weight":
            return ours + ".weight"
    layer, rest = hf.removeprefix("model.layers.").split(".", 1)
    for end in ("", ".weight", ".bias"):
        if rest.endswith(end) and rest.removesuffix(end) in GGUF_NAMES and (end or rest in GGUF_NAMES):
            return f"blk.{layer}.{GGUF_NAMES[rest.removesuffix(end)]}{end}"
    raise SystemExit(f"no GGUF name for {hf}")


def build_gguf(name, pattern, types, changes):
    """Written with the gguf package as llama.cpp's converter would; the golden logits are those of
    the weights that the package dequantizes."""
    model, fields, generator = make_model(name, pattern, changes, lambda n, p: p)
    folder = HERE / name
    folder.mkdir(exist_ok=True)
    arch = "nemotron_h_moe"
    writer = gguf.GGUFWriter(folder / "model.gguf", arch)
    at = lambda kind, value: [value if c == kind else 0 for c in pattern]
    width = [fields["moe_intermediate_size"] if c == "E" else
             fields["intermediate_size"] if c == "-" else 0 for c in pattern]
    uints = {
        "block_count": len(pattern), "context_length": 1048576,
        "embedding_length": fields["hidden_size"], "vocab_size": fields["vocab_size"],
        "attention.head_count": fields["num_attention_heads"],
        "attention.key_length": fields["head_dim"], "attention.value_length": fields["head_dim"],
        "rope.dimension_count": 84, "ssm.conv_kernel": fields["conv_kernel"],
        "ssm.state_size": fields["ssm_state_size"], "ssm.group_count": fields["n_groups"],
        "ssm.inner_size": fields["mamba_num_heads"] * fields["mamba_head_dim"],
        "ssm.time_step_rank": fields["mamba_num_heads"],
        "expert_count": fields["n_routed_experts"],
        "expert_used_count": fields["num_experts_per_tok"],
        "expert_shared_count": fields["n_shared_experts"], "expert_group_count": 1,
        "expert_group_used_count": 1,
        "expert_feed_forward_length": fields["moe_intermediate_size"],
        "expert_shared_feed_forward_length": fields["moe_shared_expert_intermediate_size"],
    }
    if fields.get("moe_latent_size"):
        uints["moe_latent_size"] = fields["moe_latent_size"]
    for key, value in uints.items():
        writer.add_uint32(f"{arch}.{key}", value)
    writer.add_array(f"{arch}.feed_forward_length", width)
    writer.add_array(f"{arch}.attention.head_count_kv", at("*", fields["num_key_value_heads"]))
    writer.add_float32(f"{arch}.attention.layer_norm_rms_epsilon", fields["layer_norm_epsilon"])
    writer.add_float32(f"{arch}.rope.freq_base", 10000.0)
    writer.add_float32(f"{arch}.expert_weights_scale", fields["routed_scaling_factor"])
    writer.add_bool(f"{arch}.expert_weights_norm", fields["norm_topk_prob"])
    with torch.no_grad():
        for hf, t in model.state_dict().items():
            ours, array = gguf_name(hf), t.numpy().copy()
            if ours.endswith(("ssm_a", "ssm_d")):
                array = (-np.exp(array) if ours.endswith("ssm_a") else array)[:, None]
            if ours.endswith("ssm_conv1d.weight"):
                array = array[:, 0, :]
            if ours.endswith("ssm_norm.weight"):
                array = array.reshape(fields["n_groups"], -1)
            plain = array.ndim == 1 or "ssm_conv1d" in ours or ours.endswith(
                ("ssm_a", "ssm_d", "norm.weight", "ffn_gate_inp.weight"))
            if plain:
                writer.add_tensor(ours, array)
                continue
            kind = next(types[end] for end in sorted(types, key=len, reverse=True)
                        if ours.endswith(end))
            kind = gguf.GGMLQuantizationType[kind]
            packed = gguf.quants.quantize(array, kind)
            writer.add_tensor(ours, packed, raw_dtype=kind)
            t.copy_(torch.from_numpy(gguf.quants.dequantize(packed, kind)).reshape(t.shape))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return {"pattern": pattern, "types": types} | write_golden(folder, model, 40, generator)


def main():
    torch.set_num_threads(1)
    cases = {name: build(name, *case) for name, case in CASES.items()}
    cases |= {name: build_mlx(name, *case) for name, case in MLX_CASES.items()}
    cases |= {name: build_gguf(name, *case) for name, case in GGUF_CASES.items()}
    packages = ("torch", "transformers", "safetensors", "mlx", "mlx-lm", "gguf")
    manifest = {
        "command": "python3 tests/golden/model/make.py",
        "date": datetime.date.today().isoformat(),
        "seed": SEED,
        "versions": {"python": platform.python_version()}
                    | {p: importlib.metadata.version(p) for p in packages},
        "cases": cases,
    }
    (HERE / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")


if __name__ == "__main__":
    main()
