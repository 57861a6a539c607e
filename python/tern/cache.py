"""Prompt caches: a conversation's tokens and state, to go on with, copy, trim, save and load.

A prompt cache is a list with one :class:`PromptCache` (mlx_lm has one for each layer). ``generate``
appends its prompt, and what it generates, to the cache that it is given.
"""

from __future__ import annotations

import json
import os
import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _tern
from .errors import Corrupt, Mismatch, TooLarge, Unsupported, UsageError

if TYPE_CHECKING:
    from .model import Model

__all__ = [
    "PromptCache", "can_trim_prompt_cache", "load_prompt_cache", "make_prompt_cache",
    "save_prompt_cache", "trim_prompt_cache",
]


class PromptCache:
    """One conversation. Made by :func:`make_prompt_cache` or :func:`load_prompt_cache`.

    Belongs to one thread at a time: a second one gets :class:`tern.errors.Busy`. ``copy.deepcopy``
    copies it.
    """

    def __init__(self, model: Model, session: _tern.Session, kv: tuple[str | None, int]):
        self._model: Model | None = model
        self._session: _tern.Session | None = session
        self._kv = kv
        # Generated, but not read yet: nobody has asked for what follows.
        self._pending: list[int] = []
        self._path: str | None = None
        self._saved_tokens = 0
        self._binding = threading.Lock()

    @classmethod
    def _of_file(cls, path: str, tokens: int) -> PromptCache:
        """Read when the model is known."""
        cache = cls(None, None, (None, 0))  # type: ignore[arg-type]
        cache._path = path
        cache._saved_tokens = tokens
        return cache

    def _bind(self, model: Model) -> _tern.Session:
        with self._binding:
            if self._session is None:
                assert self._path is not None
                self._session = model._native.load_session(self._path)
                self._model = model
        if self._model is not model and self._model._native is not model._native:
            raise Mismatch("the prompt cache belongs to another model", "prompt_cache")
        return self._session

    def _bound(self) -> _tern.Session:
        if self._session is None:
            raise UsageError("the prompt cache was loaded without a model", "prompt_cache",
                             "load_prompt_cache(file, model=model), or generate with it first")
        return self._session

    @property
    def offset(self) -> int:
        """Tokens held."""
        if self._session is None:
            return self._saved_tokens
        return self._session.position + len(self._pending)

    def size(self) -> int:
        """Tokens held."""
        return self.offset

    def __len__(self) -> int:
        return self.offset

    def __bool__(self) -> bool:
        return True

    def empty(self) -> bool:
        """Whether it holds nothing."""
        return self.offset == 0

    @property
    def tokens(self) -> list[int]:
        """Ids of the tokens held."""
        return self._bound().tokens() + self._pending

    @property
    def nbytes(self) -> int:
        """Bytes of keys, values and recurrent state, windows and points to go back to apart."""
        self._bound()
        assert self._model is not None
        info = self._model._info
        return info["state_bytes"] + info["kv_bytes_per_token"] * self.offset

    def is_trimmable(self) -> bool:
        """True."""
        return True

    def trim(self, n: int) -> int:
        """Forgets the last ``n`` tokens; see :func:`trim_prompt_cache`."""
        n = min(int(n), self.offset)
        if n <= 0:
            return 0
        session = self._bound()
        dropped = min(n, len(self._pending))
        if dropped < n:
            session.truncate(session.position - (n - dropped))
        del self._pending[len(self._pending) - dropped:]
        return n

    def mark(self) -> None:
        """Makes the present point one to go back to without reading again."""
        self._flush()
        self._bound().mark()

    def all_logits(self, tokens: np.ndarray) -> np.ndarray:
        """Logits ``(tokens, vocabulary)`` of tokens, which are appended."""
        self._flush()
        return self._bound().all_logits(tokens)

    def _flush(self) -> None:
        """Reads what was generated last."""
        if self._pending:
            self._bound().read(np.array(self._pending, dtype=np.uint32))
            self._pending = []

    def save(self, file_name: str | os.PathLike[str], metadata: dict[str, str] | None = None) -> None:
        """See :func:`save_prompt_cache`."""
        self._flush()
        self._bound().save(os.fspath(file_name), json.dumps(_texts(metadata), ensure_ascii=False))

    def __deepcopy__(self, memo: dict[int, Any]) -> PromptCache:
        if self._session is None:
            return PromptCache._of_file(str(self._path), self._saved_tokens)
        copy = PromptCache(self._model, self._session.fork(), self._kv)  # type: ignore[arg-type]
        copy._pending = list(self._pending)
        return copy

    def __repr__(self) -> str:
        return f"<tern.PromptCache: {self.offset} tokens>"


def make_prompt_cache(
    model: Model,
    max_kv_size: int | None = None,
    *,
    kv: str | None = None,
    kv_bits: float | None = None,
    kv_group_size: int = 64,
    quantized_kv_start: int = 0,
) -> list[PromptCache]:
    """A new, empty prompt cache.

    Args:
        model: What :func:`tern.load` returned.
        max_kv_size: Not supported: nothing is overwritten. ``load(..., ctx=)`` limits a conversation.
        kv: A type of its own, such as ``"turbo4"``; None: the model's.
        kv_bits, kv_group_size, quantized_kv_start: The same in mlx_lm's words.
    """
    if max_kv_size is not None:
        raise no_rotation()
    if kv is not None and kv_bits is not None:
        raise UsageError("kv and kv_bits say the same thing twice", "kv_bits")
    if kv is None:
        choice = kv_of_bits(kv_bits, kv_group_size, quantized_kv_start)
    else:
        choice = (kv, quantized_kv_start)
    return [_new(model, choice)]


def no_rotation() -> Unsupported:
    """The error for max_kv_size."""
    return Unsupported(
        "old entries of the cache cannot be overwritten: recurrent state has seen them",
        "max_kv_size", "load(..., ctx=) limits a conversation; kv_bits makes the cache smaller")


def kv_of_bits(
    bits: float | None, group_size: int = 64, start: int = 0
) -> tuple[str | None, int]:
    """The engine's name for mlx_lm's options, and from which token on.

    8 and 4 bits are MLX's affine format. mlx-vlm's 3.5 is 3-bit keys and 4-bit values, 2 and 3 bits
    are TurboQuant too.
    """
    if isinstance(start, bool) or not isinstance(start, int) or start < 0:
        raise UsageError(f"is {start!r}, must be an int from 0 on", "quantized_kv_start")
    if bits is None:
        return None, 0
    if bits in (4, 8):
        if group_size != 64:
            raise Unsupported(f"groups of {group_size}; there are groups of 64", "kv_group_size")
        return f"affine{int(bits)}", start
    if bits in (2, 2.5, 3, 3.5):
        return f"{bits:g}", start
    raise UsageError(f"{bits!r} bits; there are 2, 2.5, 3, 3.5, 4 and 8", "kv_bits",
                     "docs/kv-cache.md lists all types, which load(kv=) takes")


def _new(model: Model, kv: tuple[str | None, int]) -> PromptCache:
    return PromptCache(model, model._native.new_session(kv=kv[0], quantized_start=kv[1]), kv)


def resolve(
    model: Model, prompt_cache: Any, kv: tuple[str | None, int] = (None, 0)
) -> PromptCache:
    """The one cache of what a caller gave for a prompt cache, ready for ``model``."""
    if prompt_cache is None:
        return _new(model, kv)
    if isinstance(prompt_cache, PromptCache):
        prompt_cache = [prompt_cache]
    if not isinstance(prompt_cache, (list, tuple)) or len(prompt_cache) != 1 or not isinstance(
            prompt_cache[0], PromptCache):
        raise TypeError("prompt_cache must be what make_prompt_cache or load_prompt_cache returned")
    cache = prompt_cache[0]
    cache._bind(model)
    if kv[0] is not None and kv != cache._kv:
        if not cache.empty():
            raise UsageError("the prompt cache was made with another type and holds tokens", "kv_bits",
                             "make_prompt_cache takes kv_bits")
        cache._session = _new(model, kv)._session
        cache._kv = kv
    return cache


def save_prompt_cache(
    file_name: str | os.PathLike[str],
    cache: list[PromptCache],
    metadata: dict[str, str] | None = None,
) -> None:
    """Writes a prompt cache to a file, atomically: the file is what it was, or complete.

    The file is a session of the engine's own (docs/state.md): versioned, with a checksum, and bound to
    the model's weights. What is loaded goes on with the same bits.

    Args:
        file_name: Written as it is given.
        cache: What :func:`make_prompt_cache` returned.
        metadata: Texts to keep beside it.
    """
    _only(cache).save(file_name, metadata)


def load_prompt_cache(
    file_name: str | os.PathLike[str],
    return_metadata: bool = False,
    *,
    model: Model | None = None,
) -> list[PromptCache] | tuple[list[PromptCache], dict[str, str]]:
    """Reads what :func:`save_prompt_cache` wrote.

    Args:
        file_name: The file. Its checksum is verified.
        return_metadata: Whether to return the metadata too.
        model: The model that it belongs to. Without one, the state is read when the cache is first
            given to :func:`tern.generate`, and another model is refused then.
    """
    path = os.fspath(file_name)
    _, tokens, metadata = _tern.inspect_session(path)
    cache = PromptCache._of_file(path, tokens)
    if model is not None:
        cache._bind(model)
    if not return_metadata:
        return [cache]
    try:
        texts = json.loads(metadata) if metadata else {}
    except ValueError:
        raise Corrupt("the metadata is no JSON", path, "saved by another program") from None
    return [cache], texts


def can_trim_prompt_cache(cache: list[PromptCache]) -> bool:
    """True: every cache can be trimmed, recurrent layers or not."""
    return all(one.is_trimmable() for one in cache)


def trim_prompt_cache(cache: list[PromptCache], num_tokens: int) -> int:
    """Forgets the last ``num_tokens`` tokens, in place.

    Recurrent state cannot be taken back token by token. ``generate`` keeps a copy of it before and
    after each prompt: to there the way back is free. To elsewhere, tokens from the last such point
    before are read again. The cache is then, bit for bit, as if the rest had never been read.

    Returns:
        Tokens that were forgotten.
    """
    return _only(cache).trim(num_tokens) if cache else 0


def _only(cache: Any) -> PromptCache:
    if isinstance(cache, PromptCache):
        return cache
    if not isinstance(cache, (list, tuple)) or len(cache) != 1 or not isinstance(cache[0], PromptCache):
        raise TypeError("cache must be what make_prompt_cache or load_prompt_cache returned")
    return cache[0]


def _texts(metadata: dict[str, str] | None) -> dict[str, str]:
    for key, value in (metadata or {}).items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise TypeError("metadata must map str to str")
    return dict(metadata or {})


def step_together(caches: list[PromptCache]) -> None:
    """Reads what each of several caches of one model has generated last, in one step."""
    if caches:
        _tern.Session.step([cache._bound() for cache in caches],
                           np.array([cache._pending[0] for cache in caches], dtype=np.uint32))
        for cache in caches:
            del cache._pending[:1]


def check_room(model: Model, cache: PromptCache, tokens: int) -> None:
    """Raises TooLarge when a prompt leaves no room for an answer."""
    if cache.offset + tokens >= model.context:
        raise TooLarge(
            f"a prompt of {tokens} tokens after {cache.offset} leaves no room in the context of "
            f"{model.context}", "prompt", "shorten it, or load the model with a larger ctx")
