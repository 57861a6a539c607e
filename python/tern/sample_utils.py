"""Samplers and logits processors, with mlx_lm's names, order and edge cases, over NumPy arrays."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

import numpy as np

from . import _tern
from .errors import UsageError

__all__ = [
    "ChainSampler", "LogitsProcessor", "Sampler", "apply_min_p", "apply_top_k", "apply_top_p",
    "apply_xtc", "greedy_sampler", "make_frequency_penalty", "make_logits_processors",
    "make_presence_penalty", "make_repetition_penalty", "make_sampler",
]

#: Log-probabilities ``(1, vocabulary)`` to a token.
Sampler = Callable[[np.ndarray], Any]
#: Tokens so far ``(n,)`` and logits ``(1, vocabulary)`` to logits.
LogitsProcessor = Callable[[np.ndarray, np.ndarray], np.ndarray]


class ChainSampler:
    """What :func:`make_sampler` makes. :func:`tern.generate` runs it on the logits themselves, without
    a log-softmax; called like any sampler, it takes log-probabilities ``(..., vocabulary)``."""

    def __init__(self, native: _tern.ChainSampler, description: str):
        self._native = native
        self._description = description

    def sample(self, logits: np.ndarray) -> int:
        """One token for logits ``(vocabulary,)``, float32."""
        return self._native.sample(logits)

    def __call__(self, logprobs: np.ndarray) -> np.ndarray:
        rows = np.ascontiguousarray(logprobs, dtype=np.float32)
        flat = rows.reshape(-1, rows.shape[-1])
        tokens = np.array([self._native.sample(row) for row in flat], dtype=np.uint32)
        return tokens.reshape(rows.shape[:-1])

    def __repr__(self) -> str:
        return self._description


def make_sampler(
    temp: float = 0.0,
    top_p: float = 0.0,
    min_p: float = 0.0,
    min_tokens_to_keep: int = 1,
    top_k: int = 0,
    xtc_probability: float = 0.0,
    xtc_threshold: float = 0.1,
    xtc_special_tokens: list[int] | None = None,
    *,
    seed: int | None = None,
) -> ChainSampler:
    """Makes a sampler: top-p, min-p, XTC and top-k, in this order, on the probabilities at temperature
    1, and then one draw at ``temp``.

    Args:
        temp: 0: the likeliest token, whatever the rest says.
        top_p: Nucleus sampling; 0, and 1 and above: off.
        min_p: Least probability, relative to the likeliest token's; 0: off.
        min_tokens_to_keep: Tokens that min-p leaves in any case.
        top_k: 0: off.
        xtc_probability: How often the likeliest tokens are excluded.
        xtc_threshold: Probability above which a token counts as such, at most 0.5.
        xtc_special_tokens: Ids that are never excluded.
        seed: The same gives the same tokens; None: random. (mlx_lm has one seed for the process.)
    """
    _check_range("temp", temp, 0.0, float("inf"))
    _check_range("min_p", min_p, 0.0, 1.0)
    _check_count("min_tokens_to_keep", min_tokens_to_keep, 1)
    _check_count("top_k", top_k, 0)
    _check_range("xtc_probability", xtc_probability, 0.0, 1.0)
    _check_range("xtc_threshold", xtc_threshold, 0.0, 0.5)
    native = _tern.ChainSampler(
        temp=temp, top_p=top_p, min_p=min_p, min_tokens_to_keep=min_tokens_to_keep, top_k=top_k,
        xtc_probability=xtc_probability, xtc_threshold=xtc_threshold,
        xtc_special_tokens=list(xtc_special_tokens or []),
        seed=secrets.randbits(63) if seed is None else seed,
    )
    return ChainSampler(native, f"make_sampler(temp={temp}, top_p={top_p}, min_p={min_p}, "
                                f"top_k={top_k}, xtc_probability={xtc_probability})")


def make_logits_processors(
    logit_bias: dict[int, float] | None = None,
    repetition_penalty: float | None = None,
    repetition_context_size: int | None = 20,
    presence_penalty: float | None = None,
    presence_context_size: int | None = 20,
    frequency_penalty: float | None = None,
    frequency_context_size: int | None = 20,
) -> list[LogitsProcessor]:
    """Makes logits processors, to be applied in this order: bias, repetition, presence, frequency.

    Args:
        logit_bias: Id to what is added to its logit.
        repetition_penalty: Positive logits of recent tokens are divided by it, negative ones
            multiplied.
        presence_penalty: What is subtracted from the logits of recent tokens.
        frequency_penalty: What is subtracted for each time that a token is among the recent ones.
        *_context_size: How many tokens are recent; prompt tokens count.
    """
    processors: list[LogitsProcessor] = []
    if logit_bias:
        ids = np.array(list(logit_bias.keys()), dtype=np.int64)
        values = np.array(list(logit_bias.values()), dtype=np.float32)

        def add_bias(_: np.ndarray, logits: np.ndarray) -> np.ndarray:
            logits = logits.copy()
            logits[:, ids] += values
            return logits

        processors.append(add_bias)
    for make, penalty, size in (
        (make_repetition_penalty, repetition_penalty, repetition_context_size),
        (make_presence_penalty, presence_penalty, presence_context_size),
        (make_frequency_penalty, frequency_penalty, frequency_context_size),
    ):
        if penalty is not None and penalty != 0:
            processors.append(make(penalty, size))
    return processors


def make_repetition_penalty(penalty: float, context_size: int | None = 20) -> LogitsProcessor:
    """Divides positive logits of recent tokens by ``penalty`` and multiplies negative ones."""
    _check_range("penalty", penalty, 0.0, float("inf"))
    size = _context_size(context_size)

    def process(tokens: np.ndarray, logits: np.ndarray) -> np.ndarray:
        recent = _last(tokens, size)
        logits = logits.copy()
        chosen = logits[:, recent]
        factor = np.float32(penalty)
        logits[:, recent] = np.where(chosen < 0, chosen * factor, chosen / factor)
        return logits

    return process


def make_presence_penalty(penalty: float, context_size: int | None = 20) -> LogitsProcessor:
    """Subtracts ``penalty`` from the logit of each recent token, once."""
    size = _context_size(context_size)

    def process(tokens: np.ndarray, logits: np.ndarray) -> np.ndarray:
        logits = logits.copy()
        logits[:, _last(tokens, size)] -= np.float32(penalty)
        return logits

    return process


def make_frequency_penalty(penalty: float, context_size: int | None = 20) -> LogitsProcessor:
    """Subtracts ``penalty`` from the logit of each recent token, as often as it is there."""
    size = _context_size(context_size)

    def process(tokens: np.ndarray, logits: np.ndarray) -> np.ndarray:
        logits = logits.copy()
        np.subtract.at(logits, (slice(None), _last(tokens, size)), np.float32(penalty))
        return logits

    return process


def apply_top_p(logprobs: np.ndarray, top_p: float) -> np.ndarray:
    """Log-probabilities without the tail: a token goes (-inf) when those above it have ``top_p`` of the
    mass."""
    return _rows(logprobs, lambda row: _tern.apply_top_p(row, top_p))


def apply_min_p(logprobs: np.ndarray, min_p: float, min_tokens_to_keep: int = 1) -> np.ndarray:
    """Log-probabilities without the tokens below ``min_p`` times the likeliest one."""
    _check_range("min_p", min_p, 0.0, 1.0)
    _check_count("min_tokens_to_keep", min_tokens_to_keep, 1)
    if min_p == 0:
        return np.array(logprobs, dtype=np.float32)
    return _rows(logprobs, lambda row: _tern.apply_min_p(row, min_p, min_tokens_to_keep))


def apply_top_k(logprobs: np.ndarray, top_k: int) -> np.ndarray:
    """Log-probabilities of the ``top_k`` likeliest tokens."""
    size = np.shape(logprobs)[-1]
    if isinstance(top_k, bool) or not isinstance(top_k, int) or not 0 < top_k < size:
        raise ValueError(f"top_k must be an integer between 0 and {size}, but is {top_k}")
    return _rows(logprobs, lambda row: _tern.apply_top_k(row, top_k))


def apply_xtc(
    logits: np.ndarray,
    xtc_probability: float,
    xtc_threshold: float,
    xtc_special_tokens: list[int],
) -> np.ndarray:
    """Logits without the tokens above ``xtc_threshold`` but the least likely of them, in
    ``xtc_probability`` of the calls."""
    _check_range("xtc_probability", xtc_probability, 0.0, 1.0)
    _check_range("xtc_threshold", xtc_threshold, 0.0, 0.5)
    if np.random.uniform() > xtc_probability:
        return np.array(logits, dtype=np.float32)
    special = [int(token) for token in xtc_special_tokens]
    return _rows(logits, lambda row: _tern.apply_xtc(row, xtc_threshold, special))


def _rows(x: np.ndarray, apply: Callable[[np.ndarray], None]) -> np.ndarray:
    copy = np.array(x, dtype=np.float32, order="C")
    for row in copy.reshape(-1, copy.shape[-1]):
        apply(row)
    return copy


def _last(tokens: np.ndarray, size: int) -> np.ndarray:
    return np.asarray(tokens, dtype=np.int64)[-size:]


def _context_size(size: int | None) -> int:
    # As with mlx_lm's slices, 0 means everything.
    if isinstance(size, bool) or not isinstance(size, int) or size < 0:
        raise TypeError(f"a context size must be an int from 0 on, but is {size!r}")
    return size


def _check_range(name: str, value: float, low: float, high: float) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float, np.floating)):
        raise TypeError(f"{name} must be a number, not {type(value).__name__}")
    if not low <= value <= high or value == float("inf"):
        raise UsageError(f"{name} is {value}, must be from {low:g} to {high:g}", name)


def _check_count(name: str, value: int, low: int) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} must be an int, not {type(value).__name__}")
    if value < low:
        raise UsageError(f"{name} is {value}, must be at least {low}", name)


#: The likeliest token.
greedy_sampler = make_sampler()
