"""NemotronH (Mamba-2 / attention / MoE) in plain PyTorch, written for fast CPU training.

Mamba-2 runs in the chunked SSD form, experts are computed grouped by expert.  The module
tree is flat on purpose: experts are stacked in one [E, out, in] tensor per projection and
q/k/v stay separate matrices.  `hf_state_dict` translates to and from the Hugging Face names.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kernels import MambaCore, RMSNormFn


@dataclass
class Config:
    vocab_size: int = 2048
    hidden: int = 192
    pattern: str = "MEM*EMEM*EME"
    mamba_heads: int = 4
    mamba_head_dim: int = 64
    state: int = 64
    groups: int = 2
    conv_kernel: int = 4
    heads: int = 4
    kv_heads: int = 2
    head_dim: int = 128
    experts: int = 16
    top_k: int = 2
    expert_width: int = 128
    shared_width: int = 128
    routed_scaling: float = 2.5
    eps: float = 1e-5
    chunk: int = 64

    @property
    def d_inner(self) -> int:
        return self.mamba_heads * self.mamba_head_dim

    @property
    def conv_dim(self) -> int:
        return self.d_inner + 2 * self.groups * self.state

    def to_hf(self) -> dict:
        """The config.json of a text-only nemotron_h checkpoint."""
        return {
            "architectures": ["NemotronHForCausalLM"],
            "model_type": "nemotron_h",
            "attention_bias": False,
            "attention_dropout": 0.0,
            "bos_token_id": 1,
            "chunk_size": self.chunk,
            "conv_kernel": self.conv_kernel,
            "eos_token_id": 11,
            "expand": 2,
            "head_dim": self.head_dim,
            "hidden_dropout": 0.0,
            "hidden_size": self.hidden,
            "hybrid_override_pattern": self.pattern,
            "initializer_range": 0.02,
            "intermediate_size": self.expert_width,
            "layer_norm_epsilon": self.eps,
            "mamba_head_dim": self.mamba_head_dim,
            "mamba_hidden_act": "silu",
            "mamba_num_heads": self.mamba_heads,
            "mamba_proj_bias": False,
            "mamba_ssm_cache_dtype": "float32",
            "max_position_embeddings": 8192,
            "mlp_bias": False,
            "mlp_hidden_act": "relu2",
            "moe_intermediate_size": self.expert_width,
            "moe_shared_expert_intermediate_size": self.shared_width,
            "n_group": 1,
            "n_groups": self.groups,
            "n_routed_experts": self.experts,
            "n_shared_experts": 1,
            "norm_eps": self.eps,
            "norm_topk_prob": True,
            "num_attention_heads": self.heads,
            "num_experts_per_tok": self.top_k,
            "num_hidden_layers": len(self.pattern),
            "num_key_value_heads": self.kv_heads,
            "num_logits_to_keep": 1,
            "pad_token_id": 0,
            "partial_rotary_factor": 1.0,
            "rescale_prenorm_residual": True,
            "residual_in_fp32": False,
            "rope_theta": 10000,
            "routed_scaling_factor": self.routed_scaling,
            "sliding_window": None,
            "ssm_state_size": self.state,
            "tie_word_embeddings": False,
            "time_step_floor": 0.0001,
            "time_step_max": 0.1,
            "time_step_min": 0.001,
            "time_step_limit": [0.0, 1e30],
            "topk_group": 1,
            "torch_dtype": "bfloat16",
            "use_bias": False,
            "use_cache": True,
            "use_conv_bias": True,
            "use_mamba_kernels": True,
            "vocab_size": self.vocab_size,
        }

    @classmethod
    def from_hf(cls, c: dict) -> "Config":
        return cls(
            vocab_size=c["vocab_size"],
            hidden=c["hidden_size"],
            pattern=c["hybrid_override_pattern"],
            mamba_heads=c["mamba_num_heads"],
            mamba_head_dim=c["mamba_head_dim"],
            state=c["ssm_state_size"],
            groups=c["n_groups"],
            conv_kernel=c["conv_kernel"],
            heads=c["num_attention_heads"],
            kv_heads=c["num_key_value_heads"],
            head_dim=c["head_dim"],
            experts=c["n_routed_experts"],
            top_k=c["num_experts_per_tok"],
            expert_width=c["moe_intermediate_size"],
            shared_width=c["moe_shared_expert_intermediate_size"],
            routed_scaling=c["routed_scaling_factor"],
            eps=c["norm_eps"],
            chunk=c["chunk_size"],
        )


def matrix(*shape: int, scale: float = 1.0) -> nn.Parameter:
    return nn.Parameter(torch.randn(*shape) * scale / math.sqrt(shape[-1]))


class RMSNorm(nn.Module):
    def __init__(self, dim: int, eps: float):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            return RMSNormFn.apply(x, self.weight, self.eps)
        x = x.float()
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.eps) * self.weight


def causal_conv(xbc: Tensor, weight: Tensor, bias: Tensor, past: Tensor | None) -> Tensor:
    """Depthwise causal convolution and SiLU on [batch, time, channel]."""
    k = weight.shape[1]
    xbc = F.pad(xbc, (0, 0, k - 1, 0)) if past is None else torch.cat([past, xbc], 1)
    n = xbc.shape[1] - k + 1
    out = bias + sum(xbc[:, j : j + n] * weight[:, j] for j in range(k))
    return F.silu(out)


def ssd(x: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor, chunk: int, state: Tensor | None):
    """Chunked selective scan.

    x [B,L,H,P], dt [B,L,H], a [H] (negative), b and c [B,L,G,N]; returns y and the last state
    [B,H,P,N].  L must be a multiple of chunk.
    """
    bs, length, h, p = x.shape
    g, n = b.shape[2:]
    nc, r = length // chunk, h // g
    x = (x * dt.unsqueeze(-1)).view(bs, nc, chunk, g, r, p).permute(0, 1, 3, 4, 2, 5)
    b = b.view(bs, nc, chunk, g, n).permute(0, 1, 3, 2, 4)
    c = c.view(bs, nc, chunk, g, n).permute(0, 1, 3, 2, 4)
    cum = (dt * a).view(bs, nc, chunk, g, r).permute(0, 1, 3, 4, 2).cumsum(-1)
    causal = torch.ones(chunk, chunk, dtype=torch.bool, device=x.device).tril()
    diff = (cum.unsqueeze(-1) - cum.unsqueeze(-2)).masked_fill(~causal, -1e9)
    mix = (c @ b.transpose(-1, -2)).unsqueeze(3) * diff.exp()
    y = mix @ x
    if nc > 1 or state is not None:
        last = cum[..., -1:]
        to_end = (last - cum).exp().unsqueeze(-1)
        add = (x * to_end).transpose(-1, -2) @ b.unsqueeze(3)  # [B,nc,G,R,P,N]
        keep = last.exp().unsqueeze(-1)
        s = torch.zeros_like(add[:, 0]) if state is None else state.view(bs, g, r, p, n)
        before = []
        for i in range(nc):
            before.append(s)
            s = s * keep[:, i] + add[:, i]
        prev = torch.stack(before, 1)
        y = y + (c.unsqueeze(3) @ prev.transpose(-1, -2)) * cum.exp().unsqueeze(-1)
        state = s.reshape(bs, h, p, n)
    y = y.permute(0, 1, 4, 2, 3, 5).reshape(bs, length, h, p)
    return y, state


class Mamba2(nn.Module):
    def __init__(self, cfg: Config, out_scale: float):
        super().__init__()
        self.cfg = cfg
        self.in_proj = matrix(cfg.d_inner + cfg.conv_dim + cfg.mamba_heads, cfg.hidden)
        self.conv_weight = nn.Parameter(
            torch.empty(cfg.conv_dim, cfg.conv_kernel).uniform_(-1, 1) / math.sqrt(cfg.conv_kernel)
        )
        self.conv_bias = nn.Parameter(torch.zeros(cfg.conv_dim))
        dt = torch.exp(
            torch.rand(cfg.mamba_heads) * (math.log(0.1) - math.log(0.001)) + math.log(0.001)
        )
        self.dt_bias = nn.Parameter(dt + torch.log(-torch.expm1(-dt)))
        self.A_log = nn.Parameter(torch.log(torch.linspace(1, 16, cfg.mamba_heads)))
        self.D = nn.Parameter(torch.ones(cfg.mamba_heads))
        self.norm_weight = nn.Parameter(torch.ones(cfg.d_inner))
        self.out_proj = matrix(cfg.hidden, cfg.d_inner, scale=out_scale)

    def core(self, zxbcdt: Tensor, cache: dict | None = None) -> Tensor:
        cfg = self.cfg
        zxbcdt = zxbcdt.float()
        z, xbc, dt = zxbcdt.split([cfg.d_inner, cfg.conv_dim, cfg.mamba_heads], -1)
        bs, length = z.shape[:2]
        past = cache.get("conv") if cache is not None else None
        u = causal_conv(xbc, self.conv_weight, self.conv_bias, past)
        dt = F.softplus(dt + self.dt_bias)
        x, b, c = u.split([cfg.d_inner, cfg.groups * cfg.state, cfg.groups * cfg.state], -1)
        chunks = -(-length // cfg.chunk)
        chunk = -(-length // chunks)
        pad = chunks * chunk - length
        full = x.view(bs, length, cfg.mamba_heads, cfg.mamba_head_dim)
        state = None
        if cache is not None:
            state = cache.get("ssm")
            if state is None:
                state = x.new_zeros(bs, cfg.mamba_heads, cfg.mamba_head_dim, cfg.state)
        grow = (lambda t: F.pad(t, (0, 0, 0, pad))) if pad else (lambda t: t)
        shape = (bs, length + pad, cfg.groups, cfg.state)
        y, state = ssd(
            grow(x).view(bs, length + pad, cfg.mamba_heads, cfg.mamba_head_dim),
            grow(dt),
            -self.A_log.exp(),
            grow(b).view(shape),
            grow(c).view(shape),
            chunk,
            state,
        )
        y = y[:, :length] + self.D[:, None] * full
        y = y.reshape(bs, length, cfg.d_inner) * F.silu(z)
        y = y.view(bs, length, cfg.groups, -1)
        y = y * torch.rsqrt(y.square().mean(-1, keepdim=True) + cfg.eps)
        if cache is not None:
            if past is None:
                past = xbc.new_zeros(bs, cfg.conv_kernel - 1, cfg.conv_dim)
            cache["conv"] = torch.cat([past, xbc], 1)[:, -(cfg.conv_kernel - 1) :]
            cache["ssm"] = state
        return y.reshape(bs, length, cfg.d_inner) * self.norm_weight

    def forward(self, x: Tensor, cache: dict | None = None) -> Tensor:
        zxbcdt = F.linear(x, self.in_proj)
        if self.training:
            y = MambaCore.apply(
                zxbcdt, self.conv_weight, self.conv_bias, self.dt_bias, self.A_log, self.D,
                self.norm_weight, self.cfg.groups, self.cfg.eps,
            )
        else:
            y = self.core(zxbcdt, cache)
        return F.linear(y, self.out_proj)


class Attention(nn.Module):
    def __init__(self, cfg: Config, out_scale: float):
        super().__init__()
        self.cfg = cfg
        self.q_proj = matrix(cfg.heads * cfg.head_dim, cfg.hidden)
        self.k_proj = matrix(cfg.kv_heads * cfg.head_dim, cfg.hidden)
        self.v_proj = matrix(cfg.kv_heads * cfg.head_dim, cfg.hidden)
        self.o_proj = matrix(cfg.hidden, cfg.heads * cfg.head_dim, scale=out_scale)

    def forward(self, x: Tensor, cache: dict | None = None) -> Tensor:
        cfg = self.cfg
        bs, length, _ = x.shape
        q = F.linear(x, self.q_proj).view(bs, length, cfg.heads, cfg.head_dim).transpose(1, 2)
        k = F.linear(x, self.k_proj).view(bs, length, cfg.kv_heads, cfg.head_dim).transpose(1, 2)
        v = F.linear(x, self.v_proj).view(bs, length, cfg.kv_heads, cfg.head_dim).transpose(1, 2)
        mask = None
        if cache is not None:
            if "k" in cache:
                k = torch.cat([cache["k"], k], 2)
                v = torch.cat([cache["v"], v], 2)
            cache["k"], cache["v"] = k, v
            mask = cache.get("mask")
        rep = cfg.heads // cfg.kv_heads
        k, v = k.repeat_interleave(rep, 1), v.repeat_interleave(rep, 1)
        if cache is None and length <= 256:
            past = torch.ones(length, length, dtype=torch.bool).tril()
            score = (q @ k.transpose(-1, -2)).float() * cfg.head_dim**-0.5
            y = score.masked_fill(~past, -1e30).softmax(-1).to(v.dtype) @ v
        elif mask is not None:
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        else:
            y = F.scaled_dot_product_attention(q, k, v, is_causal=length > 1)
        return F.linear(y.transpose(1, 2).reshape(bs, length, -1), self.o_proj)


class GroupedExperts(torch.autograd.Function):
    """Sum over the chosen experts of w · down(relu²(up x)), with tokens sorted by expert.

    Every expert's share is padded with zero rows to a multiple of ROWS, so that few distinct
    matrix shapes occur and the compiled matrix kernels are found in their cache.
    """

    ROWS = 32

    @staticmethod
    def forward(ctx, x: Tensor, w: Tensor, idx: Tensor, up: Tensor, down: Tensor):
        tokens, k = idx.shape
        rows_per = GroupedExperts.ROWS
        flat = idx.reshape(-1)
        order = flat.argsort(stable=True)
        counts = torch.bincount(flat, minlength=up.shape[0])
        padded = (counts + rows_per - 1) // rows_per * rows_per
        shift = (padded.cumsum(0) - padded) - (counts.cumsum(0) - counts)
        place = torch.arange(tokens * k) + shift[flat[order]]  # row of the i-th sorted choice
        where = torch.empty_like(order)
        where[order] = place  # row of choice (token, slot)
        dtype = torch.bfloat16 if torch.is_autocast_enabled("cpu") else x.dtype
        total = int(padded.sum())
        xs = torch.zeros(total, x.shape[1], dtype=dtype)
        xs[place] = x.to(dtype)[order // k]
        up_c, down_c = up.to(dtype), down.to(dtype)
        pre = xs.new_empty(total, up.shape[1])
        ys = xs.new_empty(total, down.shape[1])
        parts, start = [], 0
        for e, n in enumerate(padded.tolist()):
            if n:
                parts.append((e, slice(start, start + n)))
            start += n
        for e, part in parts:
            torch.mm(xs[part], up_c[e].t(), out=pre[part])
        pre.relu_()
        act = pre.square()
        for e, part in parts:
            torch.mm(act[part], down_c[e].t(), out=ys[part])
        out = (ys[where].view(tokens, k, -1).float() * w.unsqueeze(-1)).sum(1)
        ctx.save_for_backward(xs, pre, act, ys, w, where, up_c, down_c)
        ctx.parts = parts
        return out

    @staticmethod
    def backward(ctx, grad: Tensor):
        xs, pre, act, ys, w, where, up, down = ctx.saved_tensors
        tokens, k = w.shape
        gw = (ys[where].view(tokens, k, -1).float() @ grad.unsqueeze(-1)).squeeze(-1)
        gy = torch.zeros_like(ys)
        gy[where] = (grad.unsqueeze(1) * w.unsqueeze(-1)).to(ys.dtype).view(tokens * k, -1)
        gact = torch.empty_like(act)
        gx = torch.empty_like(xs)
        gup, gdown = torch.zeros_like(up), torch.zeros_like(down)
        for e, part in ctx.parts:
            torch.mm(gy[part], down[e], out=gact[part])
            torch.mm(gy[part].t(), act[part], out=gdown[e])
        gpre = gact.mul_(pre).mul_(2)
        for e, part in ctx.parts:
            torch.mm(gpre[part], up[e], out=gx[part])
            torch.mm(gpre[part].t(), xs[part], out=gup[e])
        gx = gx[where].view(tokens, k, -1).float().sum(1)
        return gx, gw, None, gup.float(), gdown.float()


class MoE(nn.Module):
    def __init__(self, cfg: Config, out_scale: float):
        super().__init__()
        self.cfg = cfg
        self.gate = matrix(cfg.experts, cfg.hidden)
        self.register_buffer("score_bias", torch.zeros(cfg.experts))
        self.register_buffer("load", torch.zeros(cfg.experts), persistent=False)
        self.up = matrix(cfg.experts, cfg.expert_width, cfg.hidden)
        self.down = matrix(cfg.experts, cfg.hidden, cfg.expert_width, scale=out_scale / 2)
        self.shared_up = matrix(cfg.shared_width, cfg.hidden)
        self.shared_down = matrix(cfg.hidden, cfg.shared_width, scale=out_scale)

    def forward(self, x: Tensor, cache: dict | None = None) -> Tensor:
        cfg = self.cfg
        flat = x.reshape(-1, cfg.hidden)
        with torch.autocast("cpu", enabled=False):
            score = torch.sigmoid(F.linear(flat.float(), self.gate))
        idx = (score.detach() + self.score_bias).topk(cfg.top_k, -1).indices
        w = score.gather(1, idx)
        w = cfg.routed_scaling * w / (w.sum(-1, keepdim=True) + 1e-20)
        if self.training:
            self.load += torch.bincount(idx.reshape(-1), minlength=cfg.experts)
        y = GroupedExperts.apply(flat, w, idx, self.up, self.down).view_as(x)
        act = F.linear(x, self.shared_up).relu().square()
        return y + F.linear(act, self.shared_down)


class NemotronH(nn.Module):
    def __init__(self, cfg: Config):
        super().__init__()
        self.cfg = cfg
        kinds = {"M": Mamba2, "*": Attention, "E": MoE}
        scale = 1 / math.sqrt(len(cfg.pattern))
        self.embeddings = nn.Parameter(torch.randn(cfg.vocab_size, cfg.hidden) * 0.3)
        self.norms = nn.ModuleList(RMSNorm(cfg.hidden, cfg.eps) for _ in cfg.pattern)
        self.mixers = nn.ModuleList(kinds[k](cfg, scale) for k in cfg.pattern)
        self.norm_f = RMSNorm(cfg.hidden, cfg.eps)
        self.lm_head = matrix(cfg.vocab_size, cfg.hidden, scale=0.3)

    def hidden(self, ids: Tensor, caches: list[dict] | None = None) -> Tensor:
        h = F.embedding(ids, self.embeddings)
        for i, (norm, mixer) in enumerate(zip(self.norms, self.mixers)):
            h = h + mixer(norm(h), caches[i] if caches is not None else None)
        return self.norm_f(h)

    def forward(self, ids: Tensor, caches: list[dict] | None = None) -> Tensor:
        return F.linear(self.hidden(ids, caches), self.lm_head)

    def loss(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Per-token losses and the logits' argmax on the positions that `mask` marks as targets."""
        rows = mask[:, 1:].reshape(-1).nonzero().squeeze(1)
        labels = ids[:, 1:].reshape(-1)[rows]
        count = rows.numel()
        rows = F.pad(rows, (0, -count % 64))  # few distinct matrix shapes
        h = self.hidden(ids[:, :-1]).reshape(-1, self.cfg.hidden)[rows]
        logits = F.linear(h, self.lm_head)[:count].float()
        return F.cross_entropy(logits, labels, reduction="none"), logits.argmax(-1) == labels


MIXER_NAMES = {
    "M": {
        "in_proj": "in_proj.weight",
        "conv_weight": "conv1d.weight",
        "conv_bias": "conv1d.bias",
        "dt_bias": "dt_bias",
        "A_log": "A_log",
        "D": "D",
        "norm_weight": "norm.weight",
        "out_proj": "out_proj.weight",
    },
    "*": {n: f"{n}.weight" for n in ("q_proj", "k_proj", "v_proj", "o_proj")},
    "E": {
        "gate": "gate.weight",
        "score_bias": "gate.e_score_correction_bias",
        "up": "experts.{}.up_proj.weight",
        "down": "experts.{}.down_proj.weight",
        "shared_up": "shared_experts.up_proj.weight",
        "shared_down": "shared_experts.down_proj.weight",
    },
}
KEEP_FP32 = ("score_bias", "dt_bias", "A_log", "D")


def to_hf_tensors(model: NemotronH) -> dict[str, Tensor]:
    """BF16 tensors under their Hugging Face names (FP32 where the family keeps FP32)."""
    state = model.state_dict()
    out: dict[str, Tensor] = {
        "backbone.embeddings.weight": state["embeddings"].bfloat16(),
        "backbone.norm_f.weight": state["norm_f.weight"].bfloat16(),
        "lm_head.weight": state["lm_head"].bfloat16(),
    }
    for i, kind in enumerate(model.cfg.pattern):
        base = f"backbone.layers.{i}"
        out[f"{base}.norm.weight"] = state[f"norms.{i}.weight"].bfloat16()
        for ours, theirs in MIXER_NAMES[kind].items():
            t = state[f"mixers.{i}.{ours}"]
            t = t.float() if ours in KEEP_FP32 else t.bfloat16()
            if ours == "conv_weight":
                t = t.unsqueeze(1)
            if "{}" in theirs:
                for e in range(t.shape[0]):
                    out[f"{base}.mixer.{theirs.format(e)}"] = t[e].clone()
            else:
                out[f"{base}.mixer.{theirs}"] = t.clone()
    return out


def from_hf_tensors(model: NemotronH, tensors: dict[str, Tensor]) -> None:
    """Load Hugging Face tensors into `model`."""
    state: dict[str, Tensor] = {
        "embeddings": tensors["backbone.embeddings.weight"],
        "norm_f.weight": tensors["backbone.norm_f.weight"],
        "lm_head": tensors["lm_head.weight"],
    }
    for i, kind in enumerate(model.cfg.pattern):
        base = f"backbone.layers.{i}"
        state[f"norms.{i}.weight"] = tensors[f"{base}.norm.weight"]
        for ours, theirs in MIXER_NAMES[kind].items():
            if "{}" in theirs:
                t = torch.stack(
                    [tensors[f"{base}.mixer.{theirs.format(e)}"] for e in range(model.cfg.experts)]
                )
            else:
                t = tensors[f"{base}.mixer.{theirs}"]
            state[f"mixers.{i}.{ours}"] = t.squeeze(1) if ours == "conv_weight" else t
    model.load_state_dict({k: v.float() for k, v in state.items()})


def load_pretrained(folder: Path) -> NemotronH:
    from safetensors.torch import load_file

    cfg = Config.from_hf(json.loads((folder / "config.json").read_text()))
    model = NemotronH(cfg)
    from_hf_tensors(model, load_file(folder / "model.safetensors"))
    return model.eval()


def save_pretrained(model: NemotronH, folder: Path) -> None:
    """Write config.json and model.safetensors; the latter appears in one step."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(model.cfg.to_hf(), indent=2) + "\n")
    part = folder / "model.safetensors.partial"
    save_file(to_hf_tensors(model), part, metadata={"format": "pt"})
    part.chmod(0o644)
    part.rename(folder / "model.safetensors")
