#!/usr/bin/env python3
"""Write a synthetic GGUF v3 file with the shape of Nemotron-3-Nano-30B-A3B.

The file has the metadata, tensor names and tensor shapes of the GGUF
architecture ``nemotron_h_moe``; the weights are random. It serves timing, load
and memory tests: kernels run at the same speed on random blocks as on trained
ones, as long as the values stay finite and the router spreads tokens over the
experts. Both are taken care of here (see `sigma_for` and `router`). The text
such a model produces is noise.

What can be changed, because the full shape does not fit small machines:
  --pattern   the layer pattern, M = Mamba-2, * = attention, E = mixture of
              experts; default is the model's own 52 layers
  --experts   number of routed experts (128 in the model). The number used per
              token stays 6, so decode does the same work and reads the same
              bytes per token; only the file and its working set shrink. In
              prefill each expert then gets more rows per batch (ubatch*6/N),
              so use --experts 128 for prefill figures that must be faithful.
  --vocab     vocabulary size (131072 in the model)

Quantization presets (--preset), 'experts / other matrices / lm_head / embedding':
  q4km   what llama.cpp's Q4_K_M becomes for this model: rows of 2688, 1856 and
         3712 are no multiple of 256, so Q4_K falls back to Q5_0 and Q6_K to
         Q8_0; only the 4096-wide ssm_out and attn_output stay Q4_K
  q4_0   Q4_0 everywhere (lm_head too)                        4.5 bits a weight
  iq4nl  IQ4_NL everywhere, lm_head Q8_0                      4.5
  mxfp4  MXFP4 experts, Q8_0 for everything else              4.25 / 8.5
  q8_0   Q8_0 everywhere                                      8.5
  bf16   BF16 everywhere (reference, small patterns only)     16
--type NAME=TYPE overrides one class of tensors, NAME one of experts_up,
experts_down, shared, mamba_in, mamba_out, attn_qkv, attn_out, lm_head, embd.

Needs numpy only. Examples:
  make_synthetic_gguf.py --preset q4_0 --experts 32 q4_0-e32.gguf
  make_synthetic_gguf.py --preset q8_0 --experts 8 --pattern 'MEM*E' tiny.gguf
"""

import argparse
import struct
import sys
import time

import numpy as np

# The model.
PATTERN = "MEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEMEM*EMEMEMEME"
HIDDEN = 2688
SSM_HEADS, SSM_HEAD_DIM, SSM_STATE, SSM_GROUPS, SSM_CONV = 64, 64, 128, 8, 4
SSM_INNER = SSM_HEADS * SSM_HEAD_DIM
HEADS, KV_HEADS, HEAD_DIM = 32, 2, 128
EXPERTS_USED, EXPERT_FFN, SHARED_FFN = 6, 1856, 3712
ROUTED_SCALE, NORM_EPS = 2.5, 1e-5
CONTEXT = 1 << 20
SPECIAL_TOKENS = 1000  # the first ids are control tokens, as in the real vocabulary

# GGUF v3 constants.
ALIGN = 32
U32, I32, F32, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9
# name -> (ggml type id, weights in a block, bytes in a block)
TYPES = {
    "f32": (0, 1, 4), "f16": (1, 1, 2), "bf16": (30, 1, 2),
    "q4_0": (2, 32, 18), "q5_0": (6, 32, 22), "q8_0": (8, 32, 34),
    "q4_k": (12, 256, 144), "iq4_nl": (20, 32, 18), "mxfp4": (39, 32, 17),
}
FTYPE = {"q4km": 15, "q4_0": 2, "iq4nl": 25, "mxfp4": 38, "q8_0": 7, "bf16": 32}
CLASSES = ("experts_up", "experts_down", "shared", "mamba_in", "mamba_out",
           "attn_qkv", "attn_out", "lm_head", "embd")


def preset_types(preset):
    """Class of tensor -> quantization type (or a function of the layer's rank)."""
    if preset == "q4km":
        t = dict.fromkeys(CLASSES, "q5_0")
        t.update(mamba_out="q4_k", attn_out="q4_k", lm_head="q8_0")
        return t
    if preset == "mxfp4":
        t = dict.fromkeys(CLASSES, "q8_0")
        t.update(experts_up="mxfp4", experts_down="mxfp4")
        return t
    if preset == "iq4nl":
        t = dict.fromkeys(CLASSES, "iq4_nl")
        t.update(lm_head="q8_0")
        return t
    return dict.fromkeys(CLASSES, preset)


# Random quantized data.
class Blocks:
    """Random but valid quantized blocks whose weights have a given std deviation.

    One pool of random blocks per type is made once; a tensor is a window of the
    pool at a random place, with the scale field set for the tensor's std.
    """
    POOL = 1 << 19  # blocks of 32 weights; a block of 256 counts as 8

    def __init__(self, rng):
        self.rng = rng
        self.pools = {}

    def _pool(self, qtype):
        if qtype not in self.pools:
            _, width, size = TYPES[qtype]
            count = self.POOL * 32 // width
            raw = self.rng.integers(0, 256, (count, size), dtype=np.uint8)
            if qtype == "q4_k":
                # 8 pairs of 6-bit (scale, min), packed in 12 bytes; scale = min,
                # so that with dmin = 7.5 d the weights are centred on zero
                sc = self.rng.integers(24, 41, (count, 8)).astype(np.uint8)
                low, high = sc[:, :4], sc[:, 4:]
                raw[:, 4:8] = low | ((high >> 4) << 6)
                raw[:, 8:12] = low | ((high >> 4) << 6)
                raw[:, 12:16] = (high & 15) | ((high & 15) << 4)
            self.pools[qtype] = raw
        return self.pools[qtype]

    def write(self, out, qtype, weights, sigma):
        if qtype in ("f32", "f16", "bf16"):
            left = weights
            while left:
                n = min(left, 1 << 24)
                x = self.rng.standard_normal(n, dtype=np.float32) * np.float32(sigma)
                if qtype == "bf16":
                    x = (x.view(np.uint32) >> 16).astype(np.uint16)
                out.write(x.astype(np.float16).tobytes() if qtype == "f16" else x.tobytes())
                left -= n
            return
        _, width, _ = TYPES[qtype]
        pool = self._pool(qtype).copy()
        if qtype == "mxfp4":  # one power-of-two exponent a block, e2m1 codes have std 2.93
            pool[:, 0] = 127 + int(round(np.log2(sigma / 2.93)))
        else:
            std = {"q4_0": 4.61, "q5_0": 9.23, "q8_0": 73.9, "iq4_nl": 70.0,
                   "q4_k": 4.61 * 32}[qtype]
            d = np.array([sigma / std], dtype=np.float16)
            pool[:, 0:2] = d.view(np.uint8)
            if qtype == "q4_k":
                pool[:, 2:4] = np.array([7.5 * sigma / std], dtype=np.float16).view(np.uint8)
        left = weights // width
        while left:
            at = int(self.rng.integers(0, len(pool) // 2))
            n = min(left, len(pool) - at)
            out.write(memoryview(pool[at:at + n]).cast("B"))
            left -= n


def sigma_for(fan_in, layers, residual):
    """He-like scale; what is added to the residual stream is damped by depth."""
    return fan_in ** -0.5 * ((2 * layers) ** -0.5 if residual else 1.0)


# Tensors.
class Tensor:
    def __init__(self, name, shape, qtype, sigma=None, values=None):
        self.name, self.shape, self.qtype = name, shape, qtype  # shape: ne[0] first
        self.sigma, self.values = sigma, values
        kind, width, size = TYPES[qtype]
        if shape[0] % width:
            raise SystemExit(f"{name}: rows of {shape[0]} do not divide into {qtype} blocks of {width}")
        self.weights = int(np.prod(shape))
        self.bytes = self.weights // width * size
        self.kind = kind


def tensors(args, types, rng):
    n = len(args.pattern)
    f32 = lambda name, shape, v: Tensor(name, shape, "f32", values=np.asarray(v, np.float32))
    ones = lambda count: 1 + 0.02 * rng.standard_normal(count)
    mat = lambda name, shape, cls, res=False: Tensor(
        name, shape, cls if cls in TYPES else types[cls], sigma_for(shape[0], n, res))
    conv = SSM_INNER + 2 * SSM_GROUPS * SSM_STATE
    moe_rank, moe_count = 0, args.pattern.count("E")

    yield Tensor("token_embd.weight", (HIDDEN, args.vocab), types["embd"], 0.02)
    for i, kind in enumerate(args.pattern):
        p = f"blk.{i}."
        yield f32(p + "attn_norm.weight", (HIDDEN,), ones(HIDDEN))
        if kind == "M":
            yield mat(p + "ssm_in.weight", (HIDDEN, 2 * SSM_INNER + 2 * SSM_GROUPS * SSM_STATE + SSM_HEADS), "mamba_in")
            yield f32(p + "ssm_conv1d.weight", (SSM_CONV, conv), rng.uniform(-0.5, 0.5, conv * SSM_CONV))
            yield f32(p + "ssm_conv1d.bias", (conv,), 0.1 * rng.standard_normal(conv))
            dt = np.exp(rng.uniform(np.log(1e-3), np.log(1e-1), SSM_HEADS))
            yield f32(p + "ssm_dt.bias", (SSM_HEADS,), dt + np.log(-np.expm1(-dt)))  # softplus^-1
            yield f32(p + "ssm_a", (1, SSM_HEADS), -rng.uniform(1, 16, SSM_HEADS))
            yield f32(p + "ssm_d", (1, SSM_HEADS), ones(SSM_HEADS))
            yield f32(p + "ssm_norm.weight", (SSM_INNER // SSM_GROUPS, SSM_GROUPS), ones(SSM_INNER))
            yield mat(p + "ssm_out.weight", (SSM_INNER, HIDDEN), "mamba_out", True)
        elif kind == "*":
            yield mat(p + "attn_q.weight", (HIDDEN, HEADS * HEAD_DIM), "attn_qkv")
            yield mat(p + "attn_k.weight", (HIDDEN, KV_HEADS * HEAD_DIM), "attn_qkv")
            v = "q8_0" if args.preset == "q4km" and "attn_qkv" not in args.overrides else "attn_qkv"
            yield mat(p + "attn_v.weight", (HIDDEN, KV_HEADS * HEAD_DIM), v)
            yield mat(p + "attn_output.weight", (HEADS * HEAD_DIM, HIDDEN), "attn_out", True)
        else:
            down = "experts_down"
            if args.preset == "q4km" and "experts_down" not in args.overrides:
                # Q4_K_M gives more bits to the down projections of the first and
                # last eighth of the layers and of every third one between
                r, c = moe_rank, moe_count
                if r < c // 8 or r >= 7 * c // 8 or (r - c // 8) % 3 == 2:
                    down = "q8_0"
            moe_rank += 1
            # router: logits of std 1 for a normalized input keep the experts' load even
            yield f32(p + "ffn_gate_inp.weight", (HIDDEN, args.experts),
                      rng.standard_normal(HIDDEN * args.experts) * HIDDEN ** -0.5)
            yield f32(p + "exp_probs_b.bias", (args.experts,), 0.01 * rng.standard_normal(args.experts))
            yield mat(p + "ffn_up_exps.weight", (HIDDEN, EXPERT_FFN, args.experts), "experts_up")
            yield mat(p + "ffn_down_exps.weight", (EXPERT_FFN, HIDDEN, args.experts), down, True)
            yield mat(p + "ffn_up_shexp.weight", (HIDDEN, SHARED_FFN), "shared")
            yield mat(p + "ffn_down_shexp.weight", (SHARED_FFN, HIDDEN),
                      "q8_0" if down == "q8_0" else "shared", True)
    yield f32("output_norm.weight", (HIDDEN,), ones(HIDDEN))
    yield mat("output.weight", (HIDDEN, args.vocab), "lm_head")


# Tokenizer.
def byte_alphabet():
    """The printable stand-ins of byte-level BPE for bytes 0..255."""
    keep = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    spare, table = 256, []
    for b in range(256):
        if b in keep:
            table.append(chr(b))
        else:
            table.append(chr(spare))
            spare += 1
    return table


def tokenizer(vocab):
    """A valid byte-level BPE vocabulary: control tokens, bytes, then merges in
    order: every pair of bytes, then pairs extended by one more byte."""
    alphabet = byte_alphabet()
    names = {0: "<unk>", 1: "<s>", 2: "</s>", 10: "<|im_start|>", 11: "<|im_end|>",
             12: "<think>", 13: "</think>"}
    special = min(SPECIAL_TOKENS, vocab // 4)
    toks = [names.get(i, f"<SPECIAL_{i}>") for i in range(special)]
    kinds = [3] * special  # CONTROL
    toks += alphabet
    merges = []
    pairs = [a + b for a in alphabet for b in alphabet]
    for left, right in ((a, b) for a in alphabet for b in alphabet):
        if len(toks) >= vocab:
            break
        merges.append(f"{left} {right}")
        toks.append(left + right)
    for pair, right in ((p, b) for p in pairs for b in alphabet):
        if len(toks) >= vocab:
            break
        merges.append(f"{pair} {right}")
        toks.append(pair + right)
    kinds += [1] * (len(toks) - len(kinds))  # NORMAL
    return toks, kinds, merges


# Writing.
def gguf_string(s):
    b = s.encode("utf-8")
    return struct.pack("<Q", len(b)) + b


def value(kind, v):
    if kind == STRING:
        return gguf_string(v)
    return struct.pack({U32: "<I", I32: "<i", F32: "<f", BOOL: "<?"}[kind], v)


def entry(key, kind, v, element=None):
    head = gguf_string(key) + struct.pack("<I", kind)
    if kind == ARRAY:
        return head + struct.pack("<IQ", element, len(v)) + b"".join(value(element, x) for x in v)
    return head + value(kind, v)


def metadata(args):
    a, p = "nemotron_h_moe.", args.pattern
    toks, kinds, merges = tokenizer(args.vocab)
    per_layer = lambda ch, v: [v if c == ch else 0 for c in p]
    return [
        entry("general.architecture", STRING, "nemotron_h_moe"),
        entry("general.name", STRING, f"synthetic {args.preset} {len(p)}L {args.experts}e"),
        entry("general.alignment", U32, ALIGN),
        entry("general.file_type", U32, FTYPE[args.preset]),
        entry("general.quantization_version", U32, 2),
        entry(a + "context_length", U32, CONTEXT),
        entry(a + "embedding_length", U32, HIDDEN),
        entry(a + "block_count", U32, len(p)),
        entry(a + "vocab_size", U32, args.vocab),
        entry(a + "feed_forward_length", ARRAY, per_layer("E", EXPERT_FFN), U32),
        entry(a + "attention.head_count", U32, HEADS),
        entry(a + "attention.head_count_kv", ARRAY, per_layer("*", KV_HEADS), U32),
        entry(a + "attention.key_length", U32, HEAD_DIM),
        entry(a + "attention.value_length", U32, HEAD_DIM),
        entry(a + "attention.layer_norm_rms_epsilon", F32, NORM_EPS),
        entry(a + "attention.layer_norm_epsilon", F32, NORM_EPS),
        entry(a + "rope.dimension_count", U32, HEAD_DIM),
        entry(a + "ssm.conv_kernel", U32, SSM_CONV),
        entry(a + "ssm.inner_size", U32, SSM_INNER),
        entry(a + "ssm.state_size", U32, SSM_STATE),
        entry(a + "ssm.time_step_rank", U32, SSM_HEADS),
        entry(a + "ssm.group_count", U32, SSM_GROUPS),
        entry(a + "expert_count", U32, args.experts),
        entry(a + "expert_used_count", U32, EXPERTS_USED),
        entry(a + "expert_feed_forward_length", U32, EXPERT_FFN),
        entry(a + "expert_shared_feed_forward_length", U32, SHARED_FFN),
        entry(a + "expert_shared_count", U32, 1),
        entry(a + "expert_group_count", U32, 1),
        entry(a + "expert_weights_norm", BOOL, True),
        entry(a + "expert_weights_scale", F32, ROUTED_SCALE),
        entry("tokenizer.ggml.model", STRING, "gpt2"),
        entry("tokenizer.ggml.pre", STRING, "gpt-2"),
        entry("tokenizer.ggml.tokens", ARRAY, toks, STRING),
        entry("tokenizer.ggml.token_type", ARRAY, kinds, I32),
        entry("tokenizer.ggml.merges", ARRAY, merges, STRING),
        entry("tokenizer.ggml.bos_token_id", U32, 1),
        entry("tokenizer.ggml.eos_token_id", U32, 11),
        entry("tokenizer.ggml.unknown_token_id", U32, 0),
        entry("tokenizer.ggml.padding_token_id", U32, 0),
        entry("tokenizer.ggml.add_bos_token", BOOL, False),
        entry("tokenizer.chat_template", STRING,
              "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
              "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"),
    ]


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("out")
    ap.add_argument("--preset", choices=sorted(FTYPE), default="q4_0")
    ap.add_argument("--experts", type=int, default=32)
    ap.add_argument("--pattern", default=PATTERN)
    ap.add_argument("--vocab", type=int, default=131072)
    ap.add_argument("--type", action="append", default=[], metavar="CLASS=TYPE")
    ap.add_argument("--seed", type=int, default=1)
    args = ap.parse_args()
    if set(args.pattern) - set("M*E") or args.experts < EXPERTS_USED or args.vocab < 2048:
        ap.error("a pattern of M, * and E; at least 6 experts; at least 2048 tokens")
    types = preset_types(args.preset)
    args.overrides = {}
    for t in args.type:
        cls, _, kind = t.partition("=")
        if cls not in CLASSES or kind not in TYPES:
            ap.error(f"--type {t}: unknown class or type")
        args.overrides[cls] = types[cls] = kind

    rng = np.random.default_rng(args.seed)
    meta, all_tensors = metadata(args), list(tensors(args, types, rng))
    infos, offset = [], 0
    for t in all_tensors:
        infos.append(gguf_string(t.name) + struct.pack("<I", len(t.shape))
                     + struct.pack(f"<{len(t.shape)}Q", *t.shape) + struct.pack("<IQ", t.kind, offset))
        offset += -(-t.bytes // ALIGN) * ALIGN
    started, blocks = time.time(), Blocks(rng)
    with open(args.out, "wb", buffering=1 << 22) as out:
        out.write(b"GGUF" + struct.pack("<IQQ", 3, len(all_tensors), len(meta)))
        out.write(b"".join(meta) + b"".join(infos))
        out.write(b"\0" * (-out.tell() % ALIGN))
        for t in all_tensors:
            if t.values is not None:
                out.write(t.values.astype(np.float32).tobytes())
            else:
                blocks.write(out, t.qtype, t.weights, t.sigma)
            out.write(b"\0" * (-out.tell() % ALIGN))
        size = out.tell()
    weights = sum(t.weights for t in all_tensors)
    print(f"{args.out}: {len(all_tensors)} tensors, {weights / 1e9:.2f} G weights, "
          f"{size / 1e9:.2f} GB, {8 * size / weights:.2f} bits a weight, {time.time() - started:.0f} s",
          file=sys.stderr)


if __name__ == "__main__":
    main()
