"""Prompt caches: going on, copying, trimming, saving and loading."""

import copy
import threading

import numpy as np
import pytest

from tern import errors, load, stream_generate
from tern.models.cache import (
    can_trim_prompt_cache,
    load_prompt_cache,
    make_prompt_cache,
    save_prompt_cache,
    trim_prompt_cache,
)

KINDS = [None, "turbo4"]


def run(model, tokenizer, prompt, n=6, **kwargs):
    responses = list(stream_generate(model, tokenizer, prompt, max_tokens=n, **kwargs))
    return [r.token for r in responses], np.stack([r.logprobs for r in responses])


def same(a, b):
    return a[0] == b[0] and np.array_equal(a[1], b[1])


@pytest.fixture
def endless(tokenizer):
    """The tokenizer without end tokens, so that lengths are known."""
    ends = tokenizer.eos_token_ids
    tokenizer.eos_token_ids = []
    yield tokenizer
    tokenizer.eos_token_ids = ends


@pytest.mark.parametrize("kv", KINDS)
def test_a_cache_goes_on_as_if_all_had_been_read_at_once(model, endless, prompt, kv):
    more = endless.encode(" and then")
    cache = make_prompt_cache(model, kv=kv)
    first, _ = run(model, endless, prompt * 6, prompt_cache=cache)
    assert cache[0].offset == len(prompt) * 6 + 6
    assert cache[0].tokens == prompt * 6 + first
    second = run(model, endless, more, prompt_cache=cache)
    whole = make_prompt_cache(model, kv=kv)
    assert same(second, run(model, endless, prompt * 6 + first + more, prompt_cache=whole))


@pytest.mark.parametrize("kv", KINDS)
def test_trimming_takes_tokens_back(model, endless, prompt, kv):
    prompt = prompt * 8  # past the window of 16-bit values
    cache = make_prompt_cache(model, kv=kv)
    assert can_trim_prompt_cache(cache)
    run(model, endless, prompt, n=20, prompt_cache=cache)
    for keep in (len(prompt) + 19, len(prompt) + 7, len(prompt), len(prompt) - 3, 40, 0):
        count = cache[0].offset - keep
        trimmed = copy.deepcopy(cache)
        assert trim_prompt_cache(trimmed, count) == count
        assert trimmed[0].offset == keep and cache[0].offset == len(prompt) + 20
        fresh = make_prompt_cache(model, kv=kv)
        again = run(model, endless, trimmed[0].tokens + [50, 60], prompt_cache=fresh)
        assert same(run(model, endless, [50, 60], prompt_cache=trimmed), again), keep
    assert trim_prompt_cache(cache, 10**6) == len(prompt) + 20
    assert cache[0].empty() and trim_prompt_cache(cache, 5) == 0
    assert trim_prompt_cache([], 5) == 0


@pytest.mark.parametrize("kv", KINDS)
def test_a_saved_cache_goes_on_with_the_same_bits(model, endless, prompt, kv, tmp_path):
    cache = make_prompt_cache(model, kv=kv)
    run(model, endless, prompt * 8, prompt_cache=cache)
    path = tmp_path / "cache.session"
    save_prompt_cache(path, cache, {"model": "demo", "note": "caf\u00e9"})
    lazily, metadata = load_prompt_cache(str(path), return_metadata=True)
    at_once = load_prompt_cache(path, model=model)
    assert metadata == {"model": "demo", "note": "caf\u00e9"}
    assert lazily[0].offset == at_once[0].offset == cache[0].offset
    wanted = run(model, endless, [70, 80], prompt_cache=cache)
    assert same(run(model, endless, [70, 80], prompt_cache=at_once), wanted)
    assert same(run(model, endless, [70, 80], prompt_cache=copy.deepcopy(lazily)), wanted)
    assert same(run(model, endless, [70, 80], prompt_cache=lazily), wanted)
    # A second model of the same weights may read it.
    other, _ = load("demo", ctx=2048)
    assert same(run(other, endless, [70, 80], prompt_cache=load_prompt_cache(path)), wanted)


def test_files_that_do_not_fit_are_refused(model, endless, prompt, tmp_path):
    cache = make_prompt_cache(model)
    run(model, endless, prompt, prompt_cache=cache)
    path = tmp_path / "cache.session"
    save_prompt_cache(path, cache)
    with pytest.raises(FileNotFoundError):
        load_prompt_cache(tmp_path / "none")
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    (tmp_path / "damaged").write_bytes(damaged)
    with pytest.raises(errors.Corrupt, match="checksum"):
        load_prompt_cache(tmp_path / "damaged")
    with pytest.raises(ValueError, match="context"):
        load_prompt_cache(path, model=load("demo", ctx=16)[0])
    with pytest.raises(TypeError):
        save_prompt_cache(path, cache, {"n": 1})
    with pytest.raises(OSError):
        save_prompt_cache(tmp_path / "no" / "folder", cache)
    loaded = load_prompt_cache(path)
    with pytest.raises(errors.UsageError, match="without a model"):
        trim_prompt_cache(loaded, 1)


def test_caches_of_a_type_of_their_own(model, endless, prompt):
    cache = make_prompt_cache(model, kv_bits=4)
    run(model, endless, prompt, prompt_cache=cache, kv_bits=4, quantized_kv_start=0)
    with pytest.raises(errors.UsageError, match="another type"):
        run(model, endless, prompt, prompt_cache=cache, kv_bits=8)
    empty = make_prompt_cache(model)
    run(model, endless, prompt, prompt_cache=empty, kv_bits=8)
    with pytest.raises(NotImplementedError):
        make_prompt_cache(model, max_kv_size=512)
    with pytest.raises(ValueError):
        make_prompt_cache(model, kv="turbo4", kv_bits=4)
    with pytest.raises(ValueError):
        make_prompt_cache(model, kv="turbo99")
    for bad in ([], [None], "cache", 3, cache * 2):
        with pytest.raises(TypeError):
            run(model, endless, prompt, prompt_cache=bad)


def test_a_cache_belongs_to_its_model(endless, model, prompt):
    other, _ = load("demo", ctx=256)
    cache = make_prompt_cache(other)
    with pytest.raises(errors.Mismatch):
        run(model, endless, prompt, prompt_cache=cache)


def test_a_cache_that_is_changed_meanwhile_is_noticed(model, endless, prompt):
    cache = make_prompt_cache(model)
    stream = stream_generate(model, endless, prompt, max_tokens=9, prompt_cache=cache)
    next(stream)
    trim_prompt_cache(cache, 3)
    with pytest.raises(errors.UsageError, match="changed"):
        next(stream)


def test_two_threads_at_once_are_told(model):
    session = model._native.new_session(kv=None, quantized_start=0)
    started, caught = threading.Event(), []

    def read():
        started.set()
        for _ in range(50):
            session.read(np.arange(100, 1100, dtype=np.uint32))
            session.reset()
            if caught:
                return

    def look():
        started.wait()
        while thread.is_alive():
            try:
                session.position  # noqa: B018
            except errors.Busy as error:
                caught.append(error)
                return

    thread = threading.Thread(target=read)
    looker = threading.Thread(target=look)
    thread.start()
    looker.start()
    looker.join()
    try:
        thread.join()
    finally:
        assert caught and caught[0].code == "busy"
