"""Between Python's numbers and the engine's."""

from __future__ import annotations

from typing import Any

import numpy as np

from .errors import Mismatch

__all__ = ["as_tokens", "log_softmax"]


def as_tokens(tokens: Any, vocabulary: int, where: str) -> np.ndarray:
    """One-dimensional ids as the engine takes them.

    Raises:
        TypeError: not integers. Mismatch: an id outside the vocabulary.
    """
    array = np.asarray(tokens)
    if array.ndim != 1:
        raise TypeError(f"{where} must be a text or a list of token ids, "
                        f"not an array of shape {array.shape}")
    if array.size == 0:
        return np.empty(0, dtype=np.uint32)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{where} must be a text or a list of token ids, not of {array.dtype}")
    low, high = int(array.min()), int(array.max())
    if low < 0 or high >= vocabulary:
        raise Mismatch(f"token {low if low < 0 else high} lies outside the vocabulary of {vocabulary}",
                       where, "the ids come from another tokenizer")
    return np.ascontiguousarray(array, dtype=np.uint32)


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Log-probabilities over the last axis, float32."""
    largest = logits.max(axis=-1, keepdims=True)
    shifted = logits - np.where(np.isfinite(largest), largest, np.float32(0))
    total = np.exp(shifted).sum(axis=-1, keepdims=True, dtype=np.float64)
    return shifted - np.log(total).astype(np.float32)
