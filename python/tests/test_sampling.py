"""Filters, samplers and processors, beside mlx-lm's."""

import numpy as np
import pytest

from tern import sample_utils as ours

mx = pytest.importorskip("mlx.core")
theirs = pytest.importorskip("mlx_lm.sample_utils")


def random_logprobs(seed, rows=1, size=500, scale=3.0):
    x = np.random.default_rng(seed).normal(0, scale, (rows, size)).astype(np.float32)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def kept(x):
    return np.isfinite(np.array(x))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("name, arguments", [
    ("apply_top_p", (0.9,)), ("apply_top_p", (0.3,)), ("apply_top_p", (0.999,)),
    ("apply_min_p", (0.05,)), ("apply_min_p", (0.5, 20)), ("apply_min_p", (1.0, 3)),
    ("apply_top_k", (1,)), ("apply_top_k", (40,)), ("apply_top_k", (499,)),
    ("apply_xtc", (1.0, 0.01, [])), ("apply_xtc", (1.0, 0.02, [3, 5])), ("apply_xtc", (0.0, 0.1, [])),
])
def test_filters_keep_the_same_tokens(seed, name, arguments):
    x = random_logprobs(seed, rows=2 if name != "apply_xtc" else 1)
    a = getattr(ours, name)(x, *arguments)
    b = np.array(getattr(theirs, name)(mx.array(x), *arguments))
    assert np.array_equal(kept(a), kept(b))
    assert np.array_equal(a[kept(a)], x[kept(a)])


@pytest.mark.parametrize("options", [
    {}, {"top_p": 0.8}, {"min_p": 0.1}, {"top_k": 5}, {"top_p": 0.9, "min_p": 0.02, "top_k": 8},
    {"xtc_probability": 1.0, "xtc_threshold": 0.05}, {"min_p": 0.9, "min_tokens_to_keep": 4},
])
def test_draws_have_the_probabilities_of_mlx_lms_chain(options):
    x = random_logprobs(1, size=40, scale=2.0)
    temp, draws = 0.7, 4000
    filtered = mx.array(x)
    if options.get("top_p"):
        filtered = theirs.apply_top_p(filtered, options["top_p"])
    if options.get("min_p"):
        filtered = theirs.apply_min_p(filtered, options["min_p"], options.get("min_tokens_to_keep", 1))
    if options.get("xtc_probability"):
        filtered = theirs.apply_xtc(filtered, 1.0, options["xtc_threshold"], [])
    if options.get("top_k"):
        filtered = theirs.apply_top_k(filtered, options["top_k"])
    wanted = np.array(mx.softmax(filtered / temp, axis=-1))[0]
    sampler = ours.make_sampler(temp=temp, seed=5, **options)
    counts = np.bincount([int(sampler(x)[0]) for _ in range(draws)], minlength=40)
    assert not counts[wanted == 0].any()
    deviation = np.abs(counts - draws * wanted) / np.sqrt(draws * wanted * (1 - wanted) + 1)
    assert deviation.max() < 5


def test_temperature_zero_is_greedy_whatever_else():
    x = random_logprobs(3, rows=4)
    sampler = ours.make_sampler(0.0, top_p=0.1, xtc_probability=1.0)
    assert np.array_equal(sampler(x), x.argmax(-1))
    assert np.array_equal(ours.greedy_sampler(x), x.argmax(-1))


@pytest.mark.parametrize("length", [0, 1, 5, 60])
@pytest.mark.parametrize("options", [
    {"logit_bias": {3: 2.5, 7: -100.0}},
    {"repetition_penalty": 1.4}, {"repetition_penalty": 0.7, "repetition_context_size": 3},
    {"presence_penalty": 0.5}, {"presence_penalty": -0.5, "presence_context_size": 0},
    {"frequency_penalty": 0.3}, {"frequency_penalty": 0.3, "frequency_context_size": 50},
    {"logit_bias": {1: 1.0}, "repetition_penalty": 1.2, "presence_penalty": 0.1,
     "frequency_penalty": 0.2},
])
def test_processors_give_the_same_logits(length, options):
    random = np.random.default_rng(length)
    tokens = random.integers(0, 12, length)
    logits = random.normal(0, 4, (1, 30)).astype(np.float32)
    before = logits.copy()
    a, b = logits, mx.array(logits)
    for mine, other in zip(ours.make_logits_processors(**options),
                           theirs.make_logits_processors(**options), strict=True):
        a = mine(tokens, a)
        if length > 0 or "bias" in getattr(other, "__name__", ""):
            b = other(mx.array(tokens.astype(np.int32)), b)
    np.testing.assert_allclose(a, np.array(b), rtol=2e-6)
    assert np.array_equal(logits, before)


def test_bad_options_are_refused():
    for options in ({"temp": -1.0}, {"min_p": 1.5}, {"min_tokens_to_keep": 0}, {"top_k": -1},
                    {"xtc_probability": 2.0}, {"xtc_threshold": 0.7}, {"temp": float("nan")}):
        with pytest.raises(ValueError):
            ours.make_sampler(**options)
    for options in ({"temp": "hot"}, {"top_k": 1.5}):
        with pytest.raises(TypeError):
            ours.make_sampler(**options)
    with pytest.raises(TypeError):
        ours.make_sampler(temperature=1.0)
    with pytest.raises(ValueError):
        ours.make_logits_processors(repetition_penalty=-1.0)
    with pytest.raises(ValueError):
        ours.apply_top_k(random_logprobs(1), 500)
