"""Generating text, in the shape of mlx_lm."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .arrays import as_tokens, log_softmax
from .cache import PromptCache, check_room, kv_of_bits, no_rotation, resolve
from .errors import Unsupported, UsageError
from .model import Model
from .sample_utils import ChainSampler, LogitsProcessor, Sampler, greedy_sampler
from .tokenizer import TokenizerWrapper

__all__ = ["GenerationResponse", "generate", "generate_step", "stream_generate"]

DEFAULT_QUANTIZED_KV_START = 5000


@dataclass
class GenerationResponse:
    """One step of :func:`stream_generate`.

    Attributes:
        text: The next piece of text; may be empty.
        token: The token.
        logprobs: Log-probabilities ``(vocabulary,)``, float32, after the logits processors. Computed
            when they are asked for.
        from_draft: False: there is no draft model.
        prompt_tokens: Tokens of the prompt.
        prompt_tps: Prompt tokens per second.
        generation_tokens: Tokens generated so far.
        generation_tps: Generated tokens per second.
        peak_memory: The most memory that the process had so far, in GB.
        finish_reason: ``"stop"``, ``"length"``, or None before the end.
    """

    text: str
    token: int
    logprobs: np.ndarray
    from_draft: bool
    prompt_tokens: int
    prompt_tps: float
    generation_tokens: int
    generation_tps: float
    peak_memory: float
    finish_reason: str | None = None


class _LogProbs:
    """Logits until somebody asks for more."""

    def __init__(self, logits: np.ndarray):
        self._logits: np.ndarray | None = logits
        self._values: np.ndarray | None = None

    def get(self) -> np.ndarray:
        if self._values is None:
            assert self._logits is not None
            self._values = log_softmax(self._logits)
            self._logits = None
        return self._values


def _get_logprobs(response: GenerationResponse) -> np.ndarray:
    held = response.__dict__["logprobs"]
    return held.get() if isinstance(held, _LogProbs) else held


def _set_logprobs(response: GenerationResponse, value: Any) -> None:
    response.__dict__["logprobs"] = value


# A field to dataclasses, computed when it is read.
GenerationResponse.logprobs = property(_get_logprobs, _set_logprobs)  # type: ignore[assignment]


def peak_memory() -> float:
    """The most memory that the process had so far, in GB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


class Choice:
    """From logits to the next token: processors, then the sampler."""

    def __init__(
        self,
        sampler: Sampler | None,
        processors: Sequence[LogitsProcessor] | None,
        prompt: np.ndarray,
        vocabulary: int,
    ):
        if sampler is not None and not callable(sampler):
            raise TypeError("sampler must be callable")
        self._sampler = sampler if sampler is not None else greedy_sampler
        self._processors = list(processors or [])
        for processor in self._processors:
            if not callable(processor):
                raise TypeError("logits_processors must be callables")
        self._tokens = list(map(int, prompt)) if self._processors else []
        self._vocabulary = vocabulary

    def __call__(self, logits: np.ndarray) -> tuple[int, _LogProbs]:
        if self._processors:
            tokens = np.array(self._tokens, dtype=np.int64)
            rows = logits[None]
            for processor in self._processors:
                rows = processor(tokens, rows)
            rows = np.ascontiguousarray(rows, dtype=np.float32)
            if rows.shape != (1, self._vocabulary):
                raise UsageError(f"a processor returned logits of shape {rows.shape}, expected "
                                 f"(1, {self._vocabulary})", "logits_processors")
            logits = rows[0]
        logprobs = _LogProbs(logits)
        if isinstance(self._sampler, ChainSampler):
            token = self._sampler.sample(logits)
        else:
            token = self._token_of(self._sampler(logprobs.get()[None]))
        if self._processors:
            self._tokens.append(token)
        return token, logprobs

    def _token_of(self, sampled: Any) -> int:
        array = np.asarray(sampled)
        if array.size != 1 or array.dtype.kind not in "iu":
            raise TypeError("a sampler must return one token id for log-probabilities of shape "
                            f"(1, vocabulary); this one returned shape {array.shape} of {array.dtype}")
        token = int(array.reshape(-1)[0])
        if not 0 <= token < self._vocabulary:
            raise UsageError(f"the sampler returned token {token}, the vocabulary has "
                             f"{self._vocabulary}", "sampler")
        return token


@dataclass
class _Step:
    """Arguments of generate_step once they are checked."""

    prompt: np.ndarray
    model: Model
    cache: PromptCache
    choice: Choice
    max_tokens: int
    prefill_step_size: int
    progress: Callable[[int, int], Any]
    keeps_cache: bool  # the caller does: points to go back to are worth their memory

    def read_prompt(self) -> None:
        """As mlx_lm reports it: pieces of all tokens but the last one, then the last one."""
        total, done = len(self.prompt), 0
        self.progress(0, total)
        session = self.cache._bound()
        self.cache._flush()
        if self.keeps_cache:
            session.mark()
        while done < total:
            end = min(done + self.prefill_step_size, total - 1)
            # The last piece takes the last token along.
            session.read(self.prompt[done:total if end >= total - 1 else end])
            if done < end:
                self.progress(end, total)
            done = total if end >= total - 1 else end
        if self.keeps_cache:
            session.mark()
        self.progress(total, total)

    def run(self) -> Generator[tuple[int, _LogProbs], None, None]:
        self.read_prompt()
        session = self.cache._bound()
        count = 0
        while True:
            token, logprobs = self.choice(session.logits())
            self.cache._pending.append(token)
            held = self.cache.offset
            yield token, logprobs
            count += 1
            if count == self.max_tokens or held >= self.model.context:
                return
            if self.cache.offset != held:
                raise UsageError("the prompt cache was changed while a generation used it",
                                 "prompt_cache", "copy.deepcopy gives one that is independent")
            self.cache._flush()


def prepare(
    prompt: Any,
    model: Model,
    *,
    max_tokens: int = 256,
    sampler: Sampler | None = None,
    logits_processors: Sequence[LogitsProcessor] | None = None,
    max_kv_size: int | None = None,
    prompt_cache: Any = None,
    prefill_step_size: int = 2048,
    kv_bits: float | None = None,
    kv_group_size: int = 64,
    quantized_kv_start: int = DEFAULT_QUANTIZED_KV_START,
    prompt_progress_callback: Callable[[int, int], Any] | None = None,
    input_embeddings: Any = None,
    **unknown: Any,
) -> _Step:
    """Checks what generate_step is given."""
    for name in unknown:
        raise unexpected("generate_step", name)
    if not isinstance(model, Model):
        raise TypeError(f"model must be what load returned, not {type(model).__name__}")
    if input_embeddings is not None:
        raise Unsupported("embeddings are not taken, tokens are", "input_embeddings")
    if max_kv_size is not None:
        raise no_rotation()
    if isinstance(max_tokens, bool) or not isinstance(max_tokens, (int, np.integer)):
        raise TypeError(f"max_tokens must be an int, not {type(max_tokens).__name__}")
    if max_tokens < -1 or max_tokens == 0:
        raise UsageError(f"is {max_tokens}, must be above 0, or -1 for no limit", "max_tokens")
    if isinstance(prefill_step_size, bool) or not isinstance(prefill_step_size, int):
        raise TypeError("prefill_step_size must be an int")
    if prefill_step_size <= 0:
        raise UsageError(f"is {prefill_step_size}, must be above 0", "prefill_step_size")
    tokens = as_tokens(prompt, model.vocab_size, "prompt")
    if tokens.size == 0:
        raise UsageError("the prompt is empty", "prompt")
    choice = Choice(sampler, logits_processors, tokens, model.vocab_size)
    cache = resolve(model, prompt_cache, kv_of_bits(kv_bits, kv_group_size, quantized_kv_start))
    check_room(model, cache, tokens.size)
    return _Step(tokens, model, cache, choice, int(max_tokens), prefill_step_size,
                 prompt_progress_callback or (lambda done, total: None), prompt_cache is not None)


#: What belongs to a sampler, and to a processor.
_OF_SAMPLERS = {"temp", "temperature", "top_p", "min_p", "top_k", "xtc_probability", "seed"}
_OF_PROCESSORS = {"repetition_penalty", "repetition_context_size", "presence_penalty",
                  "frequency_penalty", "logit_bias"}


def unexpected(function: str, name: str) -> TypeError:
    """The error for an argument that does not exist, which says where it would be right."""
    hint = ""
    if name in _OF_SAMPLERS:
        hint = " (sample_utils.make_sampler takes it; its result is the argument sampler)"
    elif name in _OF_PROCESSORS:
        hint = (" (sample_utils.make_logits_processors takes it; its result is the argument "
                "logits_processors)")
    return TypeError(f"{function}() got an unexpected keyword argument {name!r}{hint}")


def generate_step(
    prompt: Any, model: Model, **kwargs: Any
) -> Generator[tuple[int, np.ndarray], None, None]:
    """Tokens and log-probabilities ``(vocabulary,)``, one after the other, past every end token.

    Args:
        prompt: Token ids.
        model: What :func:`tern.load` returned.
        max_tokens: -1: until the context is full.
        sampler: Log-probabilities ``(1, vocabulary)``, a NumPy array, to a token; None: the likeliest.
            Samplers of :func:`tern.sample_utils.make_sampler` run natively.
        logits_processors: Tokens so far and logits ``(1, vocabulary)`` to logits, one after the other.
        max_kv_size: Not supported.
        prompt_cache: What is held already; the prompt is appended to it.
        prefill_step_size: Tokens between calls of prompt_progress_callback.
        kv_bits, kv_group_size, quantized_kv_start: Type of the attention cache: 4 or 8 bits from the
            given token on; see :func:`tern.cache.make_prompt_cache`.
        prompt_progress_callback: Called with the prompt tokens read so far, and all of them.
        input_embeddings: Not supported.
    """
    step = prepare(prompt, model, **kwargs)
    return ((token, logprobs.get()) for token, logprobs in step.run())


def stream_generate(
    model: Model,
    tokenizer: TokenizerWrapper,
    prompt: str | Sequence[int] | np.ndarray,
    max_tokens: int = 256,
    draft_model: Any = None,
    **kwargs: Any,
) -> Generator[GenerationResponse, None, None]:
    """Generates text piece by piece.

    Args:
        model, tokenizer: What :func:`tern.load` returned.
        prompt: A text, whose special tokens are recognized, or token ids.
        max_tokens: -1: until the context is full.
        draft_model: Not supported.
        **kwargs: As :func:`generate_step`; others are a TypeError.

    Yields:
        A :class:`GenerationResponse` for each token; the last one says why it is the last.
    """
    if draft_model is not None or kwargs.pop("num_draft_tokens", None) is not None:
        raise Unsupported("draft models are not supported", "draft_model")
    if not isinstance(tokenizer, TokenizerWrapper):
        raise TypeError(f"tokenizer must be what load returned, not {type(tokenizer).__name__}")
    if isinstance(prompt, str):
        prompt = tokenizer.encode(prompt)
    step = prepare(prompt, model, max_tokens=max_tokens, **kwargs)
    return _responses(step, tokenizer)


def _responses(
    step: _Step, tokenizer: TokenizerWrapper
) -> Generator[GenerationResponse, None, None]:
    detokenizer = tokenizer.detokenizer
    start = time.perf_counter()
    prompt_tps = 0.0
    count = 0

    def response(token: int, logprobs: _LogProbs, finish_reason: str | None) -> GenerationResponse:
        return GenerationResponse(
            text=detokenizer.last_segment,
            token=token,
            logprobs=logprobs,  # type: ignore[arg-type]
            from_draft=False,
            prompt_tokens=len(step.prompt),
            prompt_tps=prompt_tps,
            generation_tokens=count,
            generation_tps=count / max(time.perf_counter() - start, 1e-9),
            peak_memory=peak_memory(),
            finish_reason=finish_reason,
        )

    for token, logprobs in step.run():
        if count == 0:
            now = time.perf_counter()
            prompt_tps = len(step.prompt) / max(now - start, 1e-9)
            start = now
        count += 1
        stop = token in tokenizer.eos_token_ids
        if not stop:
            detokenizer.add_token(token)
        if stop or count == step.max_tokens or step.cache.offset >= step.model.context:
            detokenizer.finalize()
            yield response(token, logprobs, "stop" if stop else "length")
            return
        yield response(token, logprobs, None)


def generate(
    model: Model,
    tokenizer: TokenizerWrapper,
    prompt: str | Sequence[int] | np.ndarray,
    verbose: bool = False,
    **kwargs: Any,
) -> str:
    """Generates an answer.

    Args:
        model, tokenizer: What :func:`tern.load` returned.
        prompt: A text, whose special tokens are recognized, or token ids.
        verbose: Whether to print the text as it comes, and then speeds and memory.
        **kwargs: As :func:`stream_generate`.
    """
    if verbose:
        print("=" * 10)
    text = ""
    response = None
    for response in stream_generate(model, tokenizer, prompt, **kwargs):
        if verbose:
            print(response.text, end="", flush=True)
        text += response.text
    if verbose:
        print()
        print("=" * 10)
        if not text:
            print("No text generated for this prompt")
            return text
        assert response is not None
        print(f"Prompt: {response.prompt_tokens} tokens, {response.prompt_tps:.3f} tokens-per-sec")
        print(f"Generation: {response.generation_tokens} tokens, "
              f"{response.generation_tps:.3f} tokens-per-sec")
        print(f"Peak memory: {response.peak_memory:.3f} GB")
    return text
