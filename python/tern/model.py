"""Loading models."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _tern
from .arrays import as_tokens
from .errors import Unsupported, UsageError
from .tokenizer import TokenizerWrapper

if TYPE_CHECKING:
    from .cache import PromptCache

__all__ = ["Model", "load"]


class Model:
    """A loaded model. May be shared between threads, which then take turns, token by token.

    ``model(tokens, cache=cache)`` gives the logits of every token, as mlx_lm's models do.
    """

    def __init__(self, native: _tern.Model):
        self._native = native
        self._info = native.info()

    @property
    def info(self) -> dict[str, Any]:
        """What the model is and needs: sizes in bytes, ``context`` and ``trained_context`` in tokens."""
        return self._native.info()

    @property
    def name(self) -> str:
        """As it was given to :func:`load`."""
        return self._info["name"]

    @property
    def model_type(self) -> str:
        """For example ``"nemotron_h"``."""
        return self._info["architecture"]

    @property
    def context(self) -> int:
        """Most tokens that a conversation may hold."""
        return self._info["context"]

    @property
    def vocab_size(self) -> int:
        """Logits of one token."""
        return self._info["vocabulary"]

    @property
    def config(self) -> dict[str, Any]:
        """config.json, with the end tokens of generation_config.json, as mlx_lm has it; for GGUF files,
        which have none, what the file says of itself."""
        text = self._native.side_file("config.json")
        if text is None:
            return {"model_type": self.model_type, "vocab_size": self.vocab_size,
                    "num_hidden_layers": self._info["layers"]}
        config = json.loads(text)
        generation = self._native.side_file("generation_config.json")
        if generation is not None:
            ends = json.loads(generation).get("eos_token_id")
            if ends:
                config["eos_token_id"] = ends
        return config

    def make_cache(self) -> list[PromptCache]:
        """A new prompt cache; see :func:`tern.cache.make_prompt_cache`."""
        from .cache import make_prompt_cache

        return make_prompt_cache(self)

    def __call__(self, inputs: Any, cache: list[PromptCache] | None = None) -> np.ndarray:
        """Logits ``(1, tokens, vocabulary)`` of ``inputs`` ``(1, tokens)``, which are appended to
        ``cache`` (or to a conversation of their own)."""
        rows = np.asarray(inputs)
        if rows.ndim != 2 or rows.shape[0] != 1:
            raise UsageError(f"inputs have the shape {rows.shape}, expected (1, tokens)", "inputs")
        from .cache import resolve

        held = resolve(self, cache if cache is not None else self.make_cache())
        return held.all_logits(as_tokens(rows[0], self.vocab_size, "inputs"))[None]

    def __repr__(self) -> str:
        return f"<tern.Model {self.name!r}: {self.model_type}, {self._info['parameters']:,} parameters>"


def load(
    path_or_hf_repo: str | os.PathLike[str],
    tokenizer_config: dict[str, Any] | None = None,
    model_config: dict[str, Any] | None = None,
    adapter_path: str | None = None,
    lazy: bool = False,
    return_config: bool = False,
    revision: str | None = None,
    trust_remote_code: bool = False,
    *,
    kv: str | None = None,
    ctx: int | None = None,
    threads: int | None = None,
    pull: bool = True,
    progress: Callable[[str, int, int], Any] | None = None,
) -> tuple[Model, TokenizerWrapper] | tuple[Model, TokenizerWrapper, dict[str, Any]]:
    """Loads a model and its tokenizer.

    Args:
        path_or_hf_repo: A folder, a ``.gguf`` file, a model's name such as
            ``"majentik/Nemotron-3-Nano-Omni-30B-A3B-Reasoning-TurboQuant-MLX-4bit-TQ-KV"``, or
            ``"demo"``, the model inside the library.
        tokenizer_config: ``chat_template`` (a text) and ``eos_token`` (one more token that ends an
            answer) are understood; ``trust_remote_code`` is accepted.
        model_config: Must be empty: the configuration beside the weights decides.
        adapter_path: Not supported.
        lazy: Accepted. Weights stay in their mapped files and are read when they are first used.
        return_config: Whether to return the configuration too.
        revision: A branch, a tag or a commit of a name on the Hub.
        trust_remote_code: Accepted. Code of model folders is never run, and none is needed.
        kv: Type of the attention cache, such as ``"turbo4"`` or ``"keys:values"``; None: what the
            model's name promises, else f16. docs/kv-cache.md lists them.
        ctx: Most tokens of a conversation; None: the model's limit, or what memory allows.
        threads: None: every CPU that the process may use.
        pull: Whether a model that is named, and is not in the cache of Hugging Face's tools, is
            downloaded; as with mlx_lm, it is. HF_HUB_OFFLINE is respected.
        progress: Called with what is done ("downloading": in bytes), how much, and of how much. An
            exception ends the loading.

    Returns:
        ``(model, tokenizer)``, or ``(model, tokenizer, config)``.
    """
    del lazy, trust_remote_code
    if model_config:
        raise Unsupported("a configuration cannot be overridden", "model_config",
                          "edit config.json beside the weights")
    if adapter_path is not None:
        raise Unsupported("adapters are not supported", "adapter_path", "fuse it into the weights")
    native = _tern.Model.load(
        model=os.fspath(path_or_hf_repo),
        threads=_count(threads, "threads"),
        context=_count(ctx, "ctx"),
        kv=kv or "",
        revision=revision or "",
        pull=pull,
        progress=progress,
    )
    model = Model(native)
    tokenizer = TokenizerWrapper(native, **_tokenizer_options(tokenizer_config))
    if return_config:
        return model, tokenizer, model.config
    return model, tokenizer


def _count(value: int | None, name: str) -> int:
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an int, not {type(value).__name__}")
    if value <= 0:
        raise UsageError(f"{name} is {value}, must be above 0", name)
    return value


def _tokenizer_options(config: dict[str, Any] | None) -> dict[str, Any]:
    options = dict(config or {})
    options.pop("trust_remote_code", None)
    unknown = set(options) - {"chat_template", "eos_token"}
    if unknown:
        raise Unsupported(f"unknown options: {', '.join(sorted(unknown))}", "tokenizer_config",
                          "chat_template and eos_token are understood")
    return options
