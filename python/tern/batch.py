"""Several prompts at once, in the shape of mlx_lm."""

from __future__ import annotations

import copy
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .cache import PromptCache, step_together
from .errors import UsageError
from .generate import peak_memory, prepare, unexpected
from .model import Model
from .tokenizer import TokenizerWrapper

__all__ = ["BatchResponse", "BatchStats", "batch_generate"]


@dataclass(kw_only=True)
class BatchStats:
    """What a batch cost.

    Attributes:
        prompt_tokens: Of all prompts.
        prompt_time: Seconds that reading them took.
        generation_tokens: Of all answers, end tokens included.
        generation_steps: Steps, each of one token for every answer that goes on.
        decode_time: Seconds that the steps took.
        wall_time: Seconds in all.
        peak_memory: The most memory that the process had so far, in GB.
    """

    prompt_tokens: int = 0
    prompt_time: float = 0.0
    generation_tokens: int = 0
    generation_steps: int = 0
    decode_time: float = 0.0
    wall_time: float = 0.0
    peak_memory: float = 0.0

    @property
    def prompt_tps(self) -> float:
        """Prompt tokens per second."""
        return self.prompt_tokens / self.prompt_time if self.prompt_time > 0 else 0.0

    @property
    def decode_tps(self) -> float:
        """Generated tokens per second of the steps alone."""
        return self.generation_tokens / self.decode_time if self.decode_time > 0 else 0.0

    @property
    def generation_time(self) -> float:
        """Seconds spent on answers."""
        return max(0.0, self.wall_time - self.prompt_time)

    @property
    def generation_tps(self) -> float:
        """Generated tokens per second."""
        return self.generation_tokens / self.generation_time if self.generation_time > 0 else 0.0


@dataclass
class BatchResponse:
    """What :func:`batch_generate` returns, in the order of the prompts.

    Attributes:
        texts: The answers.
        stats: What they cost.
        caches: Prompt caches after each answer, when asked for.
        token_ids: Tokens of the answers, when asked for; end tokens are not among them.
        logprobs: Log-probability of each of these tokens, when asked for.
    """

    texts: list[str]
    stats: BatchStats
    caches: list[list[PromptCache]] | None
    token_ids: list[list[int]] | None = None
    logprobs: list[list[float]] | None = None


class _Answer:
    """One of the batch."""

    def __init__(self, step: Any):
        self.step = step
        self.tokens: list[int] = []
        self.logprobs: list[float] = []
        self.count = 0

    def choose(self, ends: set[int], with_logprobs: bool) -> bool:
        """Takes the next token in. Returns whether the answer goes on."""
        token, logprobs = self.step.choice(self.step.cache._bound().logits())
        self.step.cache._pending.append(token)
        self.count += 1
        if token in ends:
            return False
        self.tokens.append(token)
        if with_logprobs:
            self.logprobs.append(float(logprobs.get()[token]))
        return (self.count != self.step.max_tokens
                and self.step.cache.offset < self.step.model.context)


def batch_generate(
    model: Model,
    tokenizer: TokenizerWrapper,
    prompts: Sequence[Sequence[int] | str],
    prompt_caches: Sequence[list[PromptCache]] | None = None,
    max_tokens: int | Sequence[int] = 128,
    verbose: bool = False,
    return_prompt_caches: bool = False,
    return_token_ids: bool = False,
    return_logprobs: bool = False,
    **kwargs: Any,
) -> BatchResponse:
    """Answers several prompts.

    Args:
        model, tokenizer: What :func:`tern.load` returned.
        prompts: Token ids of each, or texts.
        prompt_caches: What is held before each; copied, not changed.
        max_tokens: For all, or one for each.
        verbose: Whether to print progress, speeds and memory.
        return_prompt_caches, return_token_ids, return_logprobs: What to return besides.
        **kwargs: sampler, logits_processors, prefill_step_size, kv_bits and the like, as
            :func:`tern.generate_step`. Up to completion_batch_size answers (32; at least
            prefill_batch_size, 8) are stepped together, which reads the weights once for all of them;
            prompts are read one after the other when there is room.
    """
    together = max(_count("completion_batch_size", kwargs.pop("completion_batch_size", 32)),
                   _count("prefill_batch_size", kwargs.pop("prefill_batch_size", 8)))
    for name in ("prompt_cache", "prompt_progress_callback"):
        if name in kwargs:
            raise unexpected("batch_generate", name)
    prompts = [tokenizer.encode(p) if isinstance(p, str) else p for p in prompts]
    limits = list(max_tokens) if isinstance(max_tokens, Sequence) else [max_tokens] * len(prompts)
    caches = list(prompt_caches) if prompt_caches is not None else [None] * len(prompts)
    if len(limits) != len(prompts) or len(caches) != len(prompts):
        raise ValueError(f"{len(prompts)} prompts with {len(limits)} max_tokens and "
                         f"{len(caches)} prompt_caches")
    answers = [
        _Answer(prepare(prompt, model, max_tokens=limit, prompt_cache=copy.deepcopy(cache), **kwargs))
        for prompt, limit, cache in zip(prompts, limits, caches)
    ]
    stats = _run(answers, together, tokenizer, return_logprobs, verbose)
    if verbose:
        print(f"[batch_generate] Prompt: {stats.prompt_tokens} tokens, "
              f"{stats.prompt_tps:.3f} tokens-per-sec")
        print(f"[batch_generate] Generation: {stats.generation_tokens} tokens, "
              f"{stats.generation_tps:.3f} tokens-per-sec")
        print(f"[batch_generate] Peak memory: {stats.peak_memory:.3f} GB")
    return BatchResponse(
        texts=[tokenizer.decode(answer.tokens) for answer in answers],
        stats=stats,
        caches=[[answer.step.cache] for answer in answers] if return_prompt_caches else None,
        token_ids=[answer.tokens for answer in answers] if return_token_ids else None,
        logprobs=[answer.logprobs for answer in answers] if return_logprobs else None,
    )


def _run(
    answers: list[_Answer], together: int, tokenizer: TokenizerWrapper, with_logprobs: bool,
    verbose: bool,
) -> BatchStats:
    stats = BatchStats()
    begin = time.perf_counter()
    _report(verbose, 0, len(answers), "\r")
    stats.prompt_tokens = sum(len(answer.step.prompt) for answer in answers)
    waiting, going = deque(answers), []
    while waiting or going:
        start = time.perf_counter()
        while waiting and len(going) < together:
            going.append(waiting.popleft())
            going[-1].step.read_prompt()
        stats.prompt_time += time.perf_counter() - start
        stats.generation_tokens += len(going)
        stats.generation_steps += 1
        going = [a for a in going if a.choose(tokenizer.eos_token_ids, with_logprobs)]
        _report(verbose, len(answers) - len(going) - len(waiting), len(answers), "\r")
        start = time.perf_counter()
        step_together([answer.step.cache for answer in going])
        stats.decode_time += time.perf_counter() - start
    _report(verbose, len(answers), len(answers), "\n")
    stats.wall_time = time.perf_counter() - begin
    stats.peak_memory = peak_memory()
    return stats


def _count(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an int, not {type(value).__name__}")
    if value <= 0:
        raise UsageError(f"is {value}, must be above 0", name)
    return value


def _report(verbose: bool, done: int, total: int, end: str) -> None:
    if verbose:
        shown = f"{done}/{total}" + (" ..." if end == "\r" else "")
        print(f"[batch_generate] Finished processing {shown}", end=end)
