"""Autograd wrappers around kernels.cpp, which is compiled on first use."""

from __future__ import annotations

import ctypes
import os
import subprocess
import tempfile
from pathlib import Path

import torch
from torch import Tensor

LANE = 64  # the kernels' fixed head_dim and state size
PTR = ctypes.POINTER(ctypes.c_float)


class Shape(ctypes.Structure):
    _fields_ = [(n, ctypes.c_long) for n in ("batch", "length", "heads", "groups", "taps")] + [("eps", ctypes.c_float)]


class Params(ctypes.Structure):
    _fields_ = [(n, PTR) for n in ("conv_w", "conv_b", "dt_bias", "a_log", "d", "norm_w")]


def build() -> ctypes.CDLL:
    source = Path(__file__).with_name("kernels.cpp")
    library = Path(tempfile.gettempdir()) / f"demo_kernels_{os.getuid()}_{int(source.stat().st_mtime)}.so"
    if not library.exists():
        part = library.with_suffix(f".{os.getpid()}")
        flags = "-O3 -march=native -mprefer-vector-width=512 -ffast-math -fopenmp -shared -fPIC -std=c++17"
        subprocess.run(["g++", *flags.split(), str(source), "-o", str(part)], check=True)
        part.rename(library)
    return ctypes.CDLL(str(library))


LIB = build()


def ptr(t: Tensor) -> PTR:
    assert t.dtype == torch.float32 and t.is_contiguous()
    return ctypes.cast(t.data_ptr(), PTR)


class MambaCore(torch.autograd.Function):
    """Convolution, scan and gated norm: [B, L, in_proj rows] -> [B, L, d_inner]."""

    @staticmethod
    def forward(ctx, zxbcdt, conv_w, conv_b, dt_bias, a_log, d, norm_w, groups, eps):
        x = zxbcdt.float().contiguous()
        taps = conv_w.t().contiguous()
        shape = Shape(x.shape[0], x.shape[1], dt_bias.numel(), groups, conv_w.shape[1], eps)
        u = x.new_empty(*x.shape[:2], conv_b.numel())
        y = x.new_empty(*x.shape[:2], norm_w.numel())
        out = torch.empty_like(y)
        params = Params(*map(ptr, (taps, conv_b, dt_bias, a_log, d, norm_w)))
        LIB.mamba_forward(ctypes.byref(shape), ctypes.byref(params), ptr(x), ptr(u), ptr(y), ptr(out))
        ctx.save_for_backward(x, u, y, taps, conv_b, dt_bias, a_log, d, norm_w)
        ctx.shape, ctx.dtype = shape, zxbcdt.dtype
        return out

    @staticmethod
    def backward(ctx, grad):
        x, u, y, *tensors = ctx.saved_tensors
        grads = [torch.zeros_like(t) for t in tensors]
        gin = torch.empty_like(x)
        params, gparams = Params(*map(ptr, tensors)), Params(*map(ptr, grads))
        LIB.mamba_backward(
            ctypes.byref(ctx.shape), ctypes.byref(params), ctypes.byref(gparams),
            ptr(x), ptr(u), ptr(y), ptr(grad.float().contiguous()), ptr(gin),
        )
        return gin.to(ctx.dtype), grads[0].t(), *grads[1:], None, None


class RMSNormFn(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, eps):
        x = x.float().contiguous()
        out, scale = torch.empty_like(x), x.new_empty(x.shape[:-1])
        dim = x.shape[-1]
        LIB.rmsnorm_forward(
            ctypes.c_long(x.numel() // dim), ctypes.c_long(dim), ctypes.c_float(eps),
            ptr(x), ptr(weight), ptr(out), ptr(scale),
        )
        ctx.save_for_backward(x, weight, scale)
        return out

    @staticmethod
    def backward(ctx, grad):
        x, weight, scale = ctx.saved_tensors
        gx, gw = torch.empty_like(x), torch.zeros_like(weight)
        dim = x.shape[-1]
        LIB.rmsnorm_backward(
            ctypes.c_long(x.numel() // dim), ctypes.c_long(dim), ptr(x), ptr(weight), ptr(scale),
            ptr(grad.float().contiguous()), ptr(gx), ptr(gw),
        )
        return gx, gw, None
