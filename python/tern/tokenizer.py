"""The tokenizer, in the shape of mlx_lm's wrapper around a Hugging Face one."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from . import _tern
from .errors import Unsupported, UsageError

__all__ = ["StreamingDetokenizer", "TokenizerWrapper"]

Conversation = Sequence[dict[str, Any]]


class StreamingDetokenizer:
    """Text of tokens as they come, never part of a character.

        for token in tokens:
            detokenizer.add_token(token)
            print(detokenizer.last_segment, end="")
        detokenizer.finalize()
        print(detokenizer.last_segment)

    ``text`` is then what ``tokenizer.decode(detokenizer.tokens)`` gives.
    """

    def __init__(self, native: _tern.Model):
        self._native = native
        self.reset()

    def reset(self) -> None:
        """Drops what was added."""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.text: str = ""
        self.tokens: list[int] = []
        self.offset: int = 0

    def add_token(self, token: int) -> None:
        """Takes in one token."""
        token = int(token)
        piece = self._native.detokenize(np.array([token], dtype=np.uint32), False)
        self.tokens.append(token)
        self.text += self._decoder.decode(piece)

    def finalize(self) -> None:
        """Shows what was held back: U+FFFD for an unfinished character."""
        self.text += self._decoder.decode(b"", True)

    @property
    def last_segment(self) -> str:
        """What is new since the last time that this was read."""
        segment = self.text[self.offset:]
        self.offset = len(self.text)
        return segment


class TokenizerWrapper:
    """What :func:`tern.load` returns beside the model. Made by it, not by hand."""

    def __init__(
        self,
        native: _tern.Model,
        chat_template: str | None = None,
        eos_token: str | int | None = None,
    ):
        self._native = native
        self._info = native.tokenizer_info()
        self._eos_token_ids: set[int] = set(self._info["end_tokens"])
        self.chat_template: str | None = chat_template or self._info["chat_template"] or None
        if eos_token is not None:
            self.add_eos_token(eos_token)

    # Text and ids

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        """Ids of a text. Texts of special tokens become those tokens. Tokenizers of the family add none
        of their own, so ``add_special_tokens`` makes no difference."""
        del add_special_tokens
        if not isinstance(text, str):
            raise TypeError(f"text must be a str, not {type(text).__name__}")
        return self._native.tokenize(text, True)

    def decode(
        self,
        token_ids: int | Iterable[int],
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
    ) -> str:
        """Text of ids; bytes that are no character become U+FFFD."""
        if clean_up_tokenization_spaces:
            raise Unsupported("spaces are not cleaned up", "clean_up_tokenization_spaces")
        ids = [token_ids] if isinstance(token_ids, (int, np.integer)) else token_ids
        array = np.asarray(ids if isinstance(ids, np.ndarray) else list(ids))
        if array.size == 0:
            return ""
        if array.dtype.kind not in "iu" or array.ndim != 1:
            raise TypeError("token_ids must be ints")
        if int(array.min()) < 0 or int(array.max()) >= 2**32:
            raise OverflowError("a token id below 0 or above 2^32")
        tokens = np.ascontiguousarray(array, dtype=np.uint32)
        return self._native.detokenize(tokens, skip_special_tokens).decode("utf-8", "replace")

    def batch_decode(self, sequences: Iterable[Iterable[int]], **kwargs: Any) -> list[str]:
        """:meth:`decode` of each."""
        return [self.decode(ids, **kwargs) for ids in sequences]

    def convert_tokens_to_ids(self, tokens: str | list[str]) -> int | None | list[int | None]:
        """The id of a text that is one token; None for one that is none or several."""
        if not isinstance(tokens, str):
            return [self._id(token) for token in tokens]
        return self._id(tokens)

    def _id(self, token: str) -> int | None:
        ids = self.encode(token)
        return ids[0] if len(ids) == 1 else None

    @property
    def detokenizer(self) -> StreamingDetokenizer:
        """A new one each time."""
        return StreamingDetokenizer(self._native)

    @property
    def vocab_size(self) -> int:
        """Ids that have a text."""
        return self._info["size"]

    def __len__(self) -> int:
        return self.vocab_size

    # Special tokens

    @property
    def eos_token_ids(self) -> set[int]:
        """Any of them ends an answer."""
        return self._eos_token_ids

    @eos_token_ids.setter
    def eos_token_ids(self, value: Iterable[int] | None) -> None:
        self._eos_token_ids = set(value) if value is not None else set()

    def add_eos_token(self, token: str | int) -> None:
        """Makes a token, by its id or its text, end answers too."""
        try:
            token_id: int | None = int(token)
        except ValueError:
            token_id = self._id(str(token))
        if token_id is None or not 0 <= token_id < self.vocab_size:
            raise UsageError(f"{token!r} is not a token of this tokenizer", "eos_token")
        self._eos_token_ids.add(token_id)

    def _special(self, name: str) -> str | None:
        return self._info["special_tokens"].get(name)

    def _special_id(self, name: str) -> int | None:
        text = self._special(name)
        return None if text is None else self._id(text)

    @property
    def special_tokens_map(self) -> dict[str, str]:
        """``bos_token`` and the like, by name."""
        return dict(self._info["special_tokens"])

    @property
    def bos_token(self) -> str | None:
        return self._special("bos_token")

    @property
    def bos_token_id(self) -> int | None:
        return self._special_id("bos_token")

    @property
    def eos_token(self) -> str | None:
        return self._special("eos_token")

    @property
    def eos_token_id(self) -> int | None:
        return self._special_id("eos_token")

    @property
    def unk_token(self) -> str | None:
        return self._special("unk_token")

    @property
    def unk_token_id(self) -> int | None:
        return self._special_id("unk_token")

    @property
    def pad_token(self) -> str | None:
        return self._special("pad_token")

    @property
    def pad_token_id(self) -> int | None:
        return self._special_id("pad_token")

    # Thinking

    @property
    def has_thinking(self) -> bool:
        """Whether the model knows ``<think>``."""
        return self._info["think"] is not None and self._info["end_think"] is not None

    @property
    def think_start(self) -> str | None:
        return "<think>" if self.has_thinking else None

    @property
    def think_end(self) -> str | None:
        return "</think>" if self.has_thinking else None

    @property
    def think_start_id(self) -> int | None:
        return self._info["think"] if self.has_thinking else None

    @property
    def think_end_id(self) -> int | None:
        return self._info["end_think"] if self.has_thinking else None

    @property
    def think_start_tokens(self) -> tuple[int, ...] | None:
        return (self._info["think"],) if self.has_thinking else None

    @property
    def think_end_tokens(self) -> tuple[int, ...] | None:
        return (self._info["end_think"],) if self.has_thinking else None

    @staticmethod
    def _find(
        tokens: Sequence[int], wanted: int | None, start: int | None, end: int | None, last: bool
    ) -> int:
        places = range(max(start or 0, 0), min(end or len(tokens), len(tokens)))
        found = (at for at in (reversed(places) if last else places) if tokens[at] == wanted)
        return next(found, -1)

    def find_think_start(
        self, tokens: Sequence[int], start: int | None = None, end: int | None = None
    ) -> int:
        """Where the first ``<think>`` in ``tokens[start:end]`` is; -1: nowhere."""
        return self._find(tokens, self.think_start_id, start, end, last=False)

    def rfind_think_start(
        self, tokens: Sequence[int], start: int | None = None, end: int | None = None
    ) -> int:
        """Where the last one is."""
        return self._find(tokens, self.think_start_id, start, end, last=True)

    def find_think_end(
        self, tokens: Sequence[int], start: int | None = None, end: int | None = None
    ) -> int:
        """Where the first ``</think>`` in ``tokens[start:end]`` is; -1: nowhere."""
        return self._find(tokens, self.think_end_id, start, end, last=False)

    def rfind_think_end(
        self, tokens: Sequence[int], start: int | None = None, end: int | None = None
    ) -> int:
        """Where the last one is."""
        return self._find(tokens, self.think_end_id, start, end, last=True)

    # Tool calls

    @property
    def has_tool_calling(self) -> bool:
        """Whether the template describes tools in the form of the family: ``<tool_call>``,
        ``<function=NAME>``, ``<parameter=NAME>``."""
        template = self.chat_template or ""
        return "<tool_call>" in template and "<function=" in template

    @property
    def tool_call_start(self) -> str | None:
        return "<tool_call>" if self.has_tool_calling else None

    @property
    def tool_call_end(self) -> str | None:
        return "</tool_call>" if self.has_tool_calling else None

    @property
    def tool_call_start_tokens(self) -> tuple[int, ...] | None:
        return tuple(self.encode("<tool_call>")) if self.has_tool_calling else None

    @property
    def tool_call_end_tokens(self) -> tuple[int, ...] | None:
        return tuple(self.encode("</tool_call>")) if self.has_tool_calling else None

    # Conversations

    @property
    def has_chat_template(self) -> bool:
        return self.chat_template is not None

    def apply_chat_template(
        self,
        conversation: Conversation | Sequence[Conversation],
        tools: list[dict[str, Any]] | None = None,
        documents: list[dict[str, str]] | None = None,
        chat_template: str | None = None,
        add_generation_prompt: bool = False,
        continue_final_message: bool = False,
        tokenize: bool = True,
        return_dict: bool = False,
        *,
        enable_thinking: bool = True,
        **kwargs: Any,
    ) -> Any:
        """The prompt for a conversation, as the model's template renders it.

        Args:
            conversation: ``[{"role": "user", "content": "..."}, ...]``, in OpenAI's shape; or a list
                of such.
            tools: OpenAI-shaped descriptions of tools.
            documents: For templates that know them.
            chat_template: A template to use instead of the model's.
            add_generation_prompt: Whether the prompt ends where the answer begins.
            continue_final_message: Whether it ends inside the last message, for the model to go on.
            tokenize: Whether to return ids instead of text.
            return_dict: Not supported.
            enable_thinking: Whether the model is to think before it answers.
            **kwargs: Further variables of the template.

        Returns:
            Ids, or a text; a list of those for a list of conversations.
        """
        if return_dict:
            raise Unsupported("ids come as a list", "return_dict")
        for name in ("padding", "truncation", "max_length", "return_tensors",
                     "return_assistant_tokens_mask", "tokenizer_kwargs"):
            if kwargs.pop(name, None):
                raise Unsupported("is not supported", name)
        if continue_final_message and add_generation_prompt:
            raise UsageError("contradicts add_generation_prompt", "continue_final_message")
        if documents is not None:
            kwargs["documents"] = documents
        conversations = list(conversation)
        several = bool(conversations) and not isinstance(conversations[0], dict)
        if not several:
            conversations = [conversations]
        results = []
        for one in conversations:
            text = self._native.apply_chat_template(
                messages=_json(list(one), "conversation"),
                tools=_json(tools, "tools") if tools else "",
                variables=_json(kwargs, "template variables") if kwargs else "",
                chat_template=chat_template or self._own_template(),
                add_generation_prompt=bool(add_generation_prompt),
                enable_thinking=bool(enable_thinking),
            )
            if continue_final_message:
                text = _up_to_the_end_of(one[-1], text)
            results.append(self.encode(text) if tokenize else text)
        return results if several else results[0]

    def _own_template(self) -> str:
        changed = self.chat_template != (self._info["chat_template"] or None)
        return (self.chat_template or "") if changed else ""


def _json(value: Any, what: str) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except TypeError as error:
        raise TypeError(f"{what}: {error}") from None


def _up_to_the_end_of(message: dict[str, Any], rendered: str) -> str:
    content = message.get("content")
    if not isinstance(content, str) or not content.strip():
        raise UsageError("the last message has no text to go on with", "continue_final_message")
    at = rendered.rfind(content.strip())
    if at < 0:
        raise UsageError("the template does not show the last message's text", "continue_final_message")
    # As the message had it: what was stripped at its end is not.
    end = at + len(content.strip())
    kept = content[len(content.rstrip()):]
    return rendered[:end] + (kept if rendered.startswith(kept, end) else "")
