"""load, generate, stream_generate and batch_generate."""

import inspect
import os
import signal
import threading
import time

import numpy as np
import pytest

import tern
from conftest import DEMO, QUESTION
from tern import batch_generate, generate, generate_step, load, stream_generate
from tern.sample_utils import make_logits_processors, make_sampler


def tokens_of(model, tokenizer, prompt, **kwargs):
    return [r.token for r in stream_generate(model, tokenizer, prompt, **kwargs)]


class TestAgainstMlxLm:
    def test_greedy_text_is_the_same(self, model, tokenizer, prompt, mlx):
        import mlx_lm

        ours = generate(model, tokenizer, prompt=prompt, max_tokens=32)
        assert ours == mlx_lm.generate(*mlx, prompt=prompt, max_tokens=32)
        assert ours

    def test_tokens_and_logprobs_are_the_same(self, model, tokenizer, prompt, mlx):
        import mlx_lm

        ours = list(stream_generate(model, tokenizer, prompt, max_tokens=12))
        theirs = list(mlx_lm.stream_generate(*mlx, prompt, max_tokens=12))
        assert [r.token for r in ours] == [r.token for r in theirs]
        # mlx-lm holds a space back until the next token.
        assert "".join(r.text for r in ours) == "".join(r.text for r in theirs)
        for a, b in zip(ours, theirs):
            np.testing.assert_allclose(a.logprobs, np.array(b.logprobs), atol=2e-3)
            assert (a.finish_reason, a.generation_tokens, a.prompt_tokens, a.from_draft) == (
                b.finish_reason, b.generation_tokens, b.prompt_tokens, b.from_draft)

    def test_processors_give_the_same_tokens(self, model, tokenizer, prompt, mlx):
        import mlx_lm
        from mlx_lm.sample_utils import make_logits_processors as theirs

        arguments = dict(logit_bias={1049: -90.0, 5: 1.5}, repetition_penalty=1.3,
                         repetition_context_size=12, presence_penalty=0.4, frequency_penalty=0.3)
        a = tokens_of(model, tokenizer, prompt, max_tokens=16,
                      logits_processors=make_logits_processors(**arguments))
        b = [r.token for r in mlx_lm.stream_generate(*mlx, prompt, max_tokens=16,
                                                    logits_processors=theirs(**arguments))]
        assert a == b
        assert a != tokens_of(model, tokenizer, prompt, max_tokens=16)

    def test_progress_is_reported_alike(self, model, tokenizer, mlx):
        import mlx_lm

        for length, step in [(1, 4), (2, 4), (9, 4), (10, 3), (8, 100)]:
            ours, theirs = [], []
            tokens_of(model, tokenizer, list(range(100, 100 + length)), max_tokens=1,
                      prefill_step_size=step,
                      prompt_progress_callback=lambda *a: ours.append(a))
            for _ in mlx_lm.stream_generate(*mlx, list(range(100, 100 + length)), max_tokens=1,
                                            prefill_step_size=step,
                                            prompt_progress_callback=lambda *a: theirs.append(a)):
                pass
            assert ours == theirs, (length, step)

    def test_responses_have_the_same_fields(self, model, tokenizer, prompt):
        import dataclasses

        mlx_generate = pytest.importorskip("mlx_lm.generate")
        assert [f.name for f in dataclasses.fields(tern.GenerationResponse)] == [
            f.name for f in dataclasses.fields(mlx_generate.GenerationResponse)]
        stats = inspect.getmodule(mlx_generate.BatchStats).BatchStats
        assert [f.name for f in dataclasses.fields(tern.BatchStats)] == [
            "prompt_tokens", "prompt_time", "generation_tokens", "generation_steps", "decode_time",
            "wall_time", "peak_memory"]
        assert {f.name for f in dataclasses.fields(tern.BatchStats)} == {
            f.name for f in dataclasses.fields(stats)}
        assert [f.name for f in dataclasses.fields(tern.BatchResponse)] == [
            f.name for f in dataclasses.fields(mlx_generate.BatchResponse)]

    def test_functions_take_the_same_arguments(self):
        mlx_generate = pytest.importorskip("mlx_lm.generate")
        import mlx_lm
        from mlx_lm.models import cache as mlx_cache
        from mlx_lm import sample_utils as mlx_samplers
        from tern import cache, sample_utils
        from tern.generate import prepare

        pairs = [
            (load, mlx_lm.load),
            (generate, mlx_lm.generate),
            (stream_generate, mlx_lm.stream_generate),
            (prepare, mlx_generate.generate_step),
            (batch_generate, mlx_lm.batch_generate),
            (make_sampler, mlx_samplers.make_sampler),
            (make_logits_processors, mlx_samplers.make_logits_processors),
        ] + [(getattr(cache, name), getattr(mlx_cache, name))
             for name in ("make_prompt_cache", "save_prompt_cache", "load_prompt_cache",
                          "trim_prompt_cache", "can_trim_prompt_cache")
             ] + [(getattr(sample_utils, name), getattr(mlx_samplers, name))
                  for name in ("make_repetition_penalty", "make_presence_penalty",
                               "make_frequency_penalty")]
        for ours, theirs in pairs:
            mine = inspect.signature(ours).parameters
            for name, parameter in inspect.signature(theirs).parameters.items():
                if name == "stream":  # of MLX's own
                    continue
                assert name in mine, (ours.__name__, name)
                assert mine[name].default == parameter.default or name in ("prompt", "model"), (
                    ours.__name__, name)

    def test_batches_give_the_same_texts(self, model, tokenizer, prompt):
        prompts = [prompt, prompt[:-3], tokenizer.encode("Once upon a time")]
        batch = batch_generate(model, tokenizer, prompts, max_tokens=[8, 5, 1], return_token_ids=True,
                               return_logprobs=True, return_prompt_caches=True)
        for p, n, text, ids, logprobs, cache in zip(prompts, [8, 5, 1], batch.texts, batch.token_ids,
                                                    batch.logprobs, batch.caches):
            alone = list(stream_generate(model, tokenizer, p, max_tokens=n))
            kept = [r for r in alone if r.token not in tokenizer.eos_token_ids]
            assert ids == [r.token for r in kept]
            assert text == tokenizer.decode(ids)
            assert logprobs == [float(r.logprobs[r.token]) for r in kept]
            assert cache[0].offset == len(p) + len(alone)
        assert batch.stats.prompt_tokens == sum(map(len, prompts))
        assert batch.stats.generation_tokens >= sum(map(len, batch.token_ids))
        assert batch.stats.prompt_tps > 0 and batch.stats.generation_tps > 0

    def test_a_batch_size_limits_what_is_stepped_together(self, model, tokenizer, prompt):
        prompts = [prompt] * 5
        wide = batch_generate(model, tokenizer, prompts, max_tokens=4, return_token_ids=True)
        assert wide.stats.generation_steps == 4
        narrow = batch_generate(model, tokenizer, prompts, max_tokens=4, return_token_ids=True,
                                completion_batch_size=2, prefill_batch_size=1)
        assert narrow.stats.generation_steps == 12
        assert narrow.token_ids == wide.token_ids
        with pytest.raises(ValueError):
            batch_generate(model, tokenizer, prompts, completion_batch_size=0)
        with pytest.raises(TypeError):
            batch_generate(model, tokenizer, prompts, prefill_batch_size="8")


class TestArguments:
    def test_a_text_and_its_ids_are_the_same_prompt(self, model, tokenizer):
        text = "<|im_start|>user\nHello<|im_end|>\n"
        ids = tokenizer.encode(text)
        expected = tokens_of(model, tokenizer, ids, max_tokens=6)
        assert tokens_of(model, tokenizer, text, max_tokens=6) == expected
        assert tokens_of(model, tokenizer, np.array(ids), max_tokens=6) == expected
        assert tokens_of(model, tokenizer, tuple(ids), max_tokens=6) == expected

    def test_any_callable_is_a_sampler(self, model, tokenizer, prompt):
        expected = tokens_of(model, tokenizer, prompt, max_tokens=6)
        seen = []

        def note(x):
            seen.append((x.shape, x.dtype, float(np.exp(x).sum())))
            return int(x[0].argmax())

        assert tokens_of(model, tokenizer, prompt, max_tokens=6,
                         sampler=lambda x: x.argmax(axis=-1)) == expected
        assert tokens_of(model, tokenizer, prompt, max_tokens=6, sampler=note) == expected
        assert seen[0][0] == (1, model.vocab_size) and seen[0][1] == np.float32
        assert seen[0][2] == pytest.approx(1.0, abs=1e-4)
        worst = tokens_of(model, tokenizer, prompt, max_tokens=3, sampler=lambda x: x.argmin(-1))
        assert worst[0] != expected[0]

    def test_a_seed_means_the_same_tokens(self, model, tokenizer, prompt):
        def run(seed):
            sampler = make_sampler(temp=30.0, seed=seed)
            return tokens_of(model, tokenizer, prompt, max_tokens=12, sampler=sampler)

        assert run(3) == run(3)
        assert len({tuple(run(seed)) for seed in range(4)}) > 1

    def test_processors_see_prompt_and_answer(self, model, tokenizer, prompt):
        seen = []

        def note(tokens, logits):
            seen.append(list(tokens))
            assert logits.shape == (1, model.vocab_size)
            return logits

        tokens = tokens_of(model, tokenizer, prompt, max_tokens=4, logits_processors=[note])
        assert seen == [prompt + tokens[:n] for n in range(len(tokens))]

    def test_unknown_arguments_are_type_errors(self, model, tokenizer, prompt):
        for arguments in ({"temperature": 0.5}, {"max_token": 3}, {"top_p": 0.9}):
            with pytest.raises(TypeError, match=next(iter(arguments))):
                generate(model, tokenizer, prompt=prompt, **arguments)
            with pytest.raises(TypeError, match=next(iter(arguments))):
                batch_generate(model, tokenizer, [prompt], **arguments)
        with pytest.raises(TypeError, match="make_sampler"):
            generate(model, tokenizer, prompt=prompt, temp=0.7)
        with pytest.raises(TypeError):
            load("demo", context=3)
        with pytest.raises(TypeError, match="prompt_cache"):
            batch_generate(model, tokenizer, [prompt], prompt_cache=[])

    @pytest.mark.parametrize("arguments", [
        {"max_tokens": 0}, {"max_tokens": -2}, {"prefill_step_size": 0}, {"kv_bits": 5},
        {"quantized_kv_start": -1, "kv_bits": 4},
    ])
    def test_values_out_of_range_are_value_errors(self, model, tokenizer, prompt, arguments):
        with pytest.raises(ValueError) as caught:
            generate(model, tokenizer, prompt=prompt, **arguments)
        assert caught.value.code == "usage"

    @pytest.mark.parametrize("arguments", [
        {"max_kv_size": 100}, {"draft_model": object()}, {"num_draft_tokens": 2},
        {"input_embeddings": np.zeros((1, 2))}, {"kv_bits": 4, "kv_group_size": 32},
    ])
    def test_what_is_not_supported_says_so(self, model, tokenizer, prompt, arguments):
        with pytest.raises(NotImplementedError) as caught:
            generate(model, tokenizer, prompt=prompt, **arguments)
        assert caught.value.code == "unsupported"

    def test_bad_prompts_and_samplers(self, model, tokenizer, prompt):
        cases = [([], ValueError), ([model.vocab_size], ValueError), ([-1], ValueError),
                 ([1.5], TypeError), ([[1, 2]], TypeError), ([7] * 2048, ValueError)]
        for bad, error in cases:
            with pytest.raises(error):
                generate(model, tokenizer, prompt=bad)
        for sampler in (lambda x: x, lambda x: 0.5, lambda x: model.vocab_size, 3):
            with pytest.raises((TypeError, ValueError)):
                generate(model, tokenizer, prompt=prompt, sampler=sampler)
        with pytest.raises(TypeError):
            generate(model, "tokenizer", prompt=prompt)
        with pytest.raises(ArithmeticError):
            generate(model, tokenizer, prompt=prompt,
                     logits_processors=[lambda t, x: np.full_like(x, -np.inf)])

    def test_the_answer_ends_with_the_context(self):
        model, tokenizer = load("demo", ctx=32)
        prompt = tokenizer.encode("one two three")
        tokenizer.eos_token_ids = []
        responses = list(stream_generate(model, tokenizer, prompt, max_tokens=-1))
        assert len(prompt) + len(responses) == 32
        assert responses[-1].finish_reason == "length"

    def test_kv_bits_change_the_cache(self, model, tokenizer, prompt):
        long = (prompt * 20)[:600]
        plain = [r.logprobs for r in stream_generate(model, tokenizer, long, max_tokens=3)]
        for arguments in ({"kv_bits": 4, "quantized_kv_start": 0},
                          {"kv_bits": 3.5, "quantized_kv_start": 0}):
            coded = [r.logprobs for r in stream_generate(model, tokenizer, long, max_tokens=3,
                                                         **arguments)]
            assert not np.array_equal(coded[0], plain[0])
            np.testing.assert_allclose(np.exp(coded[0]), np.exp(plain[0]), atol=0.2)
        late = [r.logprobs for r in stream_generate(model, tokenizer, long, max_tokens=3, kv_bits=4)]
        assert np.array_equal(late[0], plain[0])  # from token 5000 on, as in mlx_lm

    def test_verbose_prints_what_mlx_lm_prints(self, model, tokenizer, prompt, capsys):
        text = generate(model, tokenizer, prompt=prompt, max_tokens=5, verbose=True)
        lines = capsys.readouterr().out.split("\n")
        assert lines[0] == "=" * 10 and "\n".join(lines).startswith("=" * 10 + "\n" + text + "\n")
        assert lines[-4].startswith(f"Prompt: {len(prompt)} tokens, ")
        assert lines[-3].startswith("Generation: 5 tokens, ") and "tokens-per-sec" in lines[-3]
        assert lines[-2].startswith("Peak memory: ") and lines[-2].endswith(" GB")


class TestLoad:
    def test_errors_are_pythons_own_too(self):
        with pytest.raises(FileNotFoundError) as caught:
            load("/no/such/model")
        error = caught.value
        assert isinstance(error, tern.TernError) and error.code == "not_found"
        assert "/no/such/model" in str(error)
        with pytest.raises(ValueError) as caught:
            load("demo", kv="turbo99")
        assert caught.value.hint
        for arguments in ({"adapter_path": "x"}, {"model_config": {"a": 1}},
                          {"tokenizer_config": {"bos_token": "x"}}):
            with pytest.raises(NotImplementedError):
                load("demo", **arguments)
        with pytest.raises(TypeError):
            load("demo", ctx="8192")

    def test_the_configuration_comes_along(self, tmp_path):
        model, _, config = load(DEMO, return_config=True, lazy=True, trust_remote_code=True)
        assert config["model_type"] == "nemotron_h" and config["eos_token_id"]
        assert model.info["container"] == "safetensors"
        assert model.model_type == "nemotron_h" and model.vocab_size == 2048

    def test_options_reach_the_engine(self):
        model, _ = load("demo", kv="turbo4:turbo3", ctx=333, threads=1)
        assert (model.info["kv_keys"], model.info["kv_values"]) == ("turbo4", "turbo3")
        assert model.context == model.info["context"] == 333
        assert model.info["trained_context"] == 8192  # max_position_embeddings

    def test_a_model_is_called_as_in_mlx_lm(self, model, tokenizer, mlx):
        import mlx.core as mx

        ids = tokenizer.encode("Once upon a time there was")
        logits = model(np.array([ids]))
        assert logits.shape == (1, len(ids), model.vocab_size)
        np.testing.assert_allclose(logits, np.array(mlx[0](mx.array([ids]))), atol=3e-3)
        cache = model.make_cache()
        first = model([ids[:3]], cache=cache)
        second = model([ids[3:]], cache=cache)
        assert np.array_equal(np.concatenate([first, second], axis=1), logits)


class TestThreads:
    def test_other_threads_go_on_while_the_model_runs(self, model, tokenizer):
        ticks, stop = [], threading.Event()

        def count():
            while not stop.is_set():
                ticks.append(time.perf_counter())
                time.sleep(0.001)

        thread = threading.Thread(target=count)
        thread.start()
        try:
            session = model._native.new_session(kv=None, quantized_start=0)
            begin = time.perf_counter()
            session.read(np.tile(np.arange(100, 600, dtype=np.uint32), 4)[:2000])
            end = time.perf_counter()
        finally:
            stop.set()
            thread.join()
        # One call into the library: a held lock would leave at most one tick inside it.
        inside = [t for t in ticks if begin < t < end]
        assert len(inside) >= 5, (len(inside), end - begin)

    def test_threads_share_a_model(self, model, tokenizer, prompt):
        expected = tokens_of(model, tokenizer, prompt, max_tokens=8)
        results = {}

        def run(n):
            results[n] = tokens_of(model, tokenizer, prompt, max_tokens=8)

        threads = [threading.Thread(target=run, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert list(results.values()) == [expected] * 4

    def test_two_models_in_two_threads(self, prompt):
        results = {}

        def run(kv):
            model, tokenizer = load("demo", kv=kv, ctx=512, threads=2)
            results[kv] = [tokens_of(model, tokenizer, prompt, max_tokens=20) for _ in range(2)]

        threads = [threading.Thread(target=run, args=(kv,)) for kv in ("f16", "turbo4")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        together = dict(results)
        for kv in ("f16", "turbo4"):
            run(kv)
        assert results == together and set(together) == {"f16", "turbo4"}

    def test_ctrl_c_ends_a_generation_at_once(self, model, tokenizer, prompt):
        tokenizer.eos_token_ids, ends = [], tokenizer.eos_token_ids
        seen = []
        try:
            with pytest.raises(KeyboardInterrupt):
                for response in stream_generate(model, tokenizer, prompt, max_tokens=-1):
                    seen.append(response.token)
                    if len(seen) == 5:
                        os.kill(os.getpid(), signal.SIGINT)
        finally:
            tokenizer.eos_token_ids = ends
        assert len(seen) <= 6
        assert tokens_of(model, tokenizer, prompt, max_tokens=3)  # and all goes on

    def test_ctrl_c_ends_the_reading_of_a_prompt(self, model):
        session = model._native.new_session(kv=None, quantized_start=0)
        timer = threading.Timer(0.02, os.kill, (os.getpid(), signal.SIGINT))
        tokens = np.tile(np.arange(100, 1100, dtype=np.uint32), 2)
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            while True:  # until the signal comes
                session.reset()
                session.read(tokens)
        session.reset()
        session.read(tokens[:5])  # and all goes on
        assert session.position == 5

    def test_steps_need_no_tokenizer(self, model, tokenizer, prompt):
        pairs = list(generate_step(prompt, model, max_tokens=3))
        assert [t for t, _ in pairs] == tokens_of(model, tokenizer, prompt, max_tokens=3)
        assert pairs[0][1].shape == (model.vocab_size,)


def test_the_quickstart_of_the_model_card(model, tokenizer):
    prompt = tokenizer.apply_chat_template(
        QUESTION, add_generation_prompt=True, enable_thinking=False)
    text = generate(model, tokenizer, prompt=prompt, max_tokens=512,
                    sampler=lambda x: x.argmax(axis=-1))
    assert text == generate(model, tokenizer, prompt=prompt, max_tokens=512)
