"""The tokenizer, beside mlx-lm's wrapper around transformers."""

import numpy as np
import pytest

from conftest import DEMO, QUESTION
from tern import load

TEXTS = [
    "", "Hello", " leading", "trailing ", "  two", "line\nline\n\n", "17 * 23 = 391", "caf\u00e9 \u2713 \U0001f600",
    "<think>x</think>", "<|im_start|>user\nHi<|im_end|>\n", "\u4f60\u597d\uff0c\u4e16\u754c", "a\x00b", "tab\tx", "'s 're DON'T",
]
TOOLS = [{"type": "function", "function": {
    "name": "add", "description": "Adds.", "parameters": {
        "type": "object", "properties": {"a": {"type": "number"}}, "required": ["a"]}}}]
CONVERSATIONS = [
    QUESTION,
    [{"role": "system", "content": "Be brief."}] + QUESTION,
    QUESTION + [{"role": "assistant", "content": "<think>a</think>391"},
                {"role": "user", "content": "And 2?"}],
]


@pytest.mark.parametrize("text", TEXTS)
def test_ids_and_texts_are_the_same(tokenizer, mlx, text):
    ids = tokenizer.encode(text)
    assert ids == mlx[1].encode(text, add_special_tokens=False)
    assert tokenizer.encode(text, add_special_tokens=False) == ids
    assert tokenizer.decode(ids) == mlx[1].decode(ids) == text
    assert tokenizer.decode(ids, skip_special_tokens=True) == mlx[1].decode(
        ids, skip_special_tokens=True)


@pytest.mark.parametrize("conversation", CONVERSATIONS)
@pytest.mark.parametrize("options", [
    {}, {"add_generation_prompt": True}, {"add_generation_prompt": True, "enable_thinking": False},
    {"tools": TOOLS, "add_generation_prompt": True}, {"tokenize": False},
    {"tokenize": False, "truncate_history_thinking": False},
])
def test_prompts_are_the_same(tokenizer, mlx, conversation, options):
    assert tokenizer.apply_chat_template(conversation, **options) == mlx[1].apply_chat_template(
        conversation, **options)


def test_a_message_can_be_continued(tokenizer, mlx):
    conversation = QUESTION + [{"role": "assistant", "content": "The answer is "}]
    for options in ({"tokenize": False}, {}):
        assert tokenizer.apply_chat_template(
            conversation, continue_final_message=True, **options
        ) == mlx[1].apply_chat_template(conversation, continue_final_message=True, **options)
    with pytest.raises(ValueError):
        tokenizer.apply_chat_template(conversation, continue_final_message=True,
                                      add_generation_prompt=True)


def test_several_conversations_and_other_templates(tokenizer):
    both = tokenizer.apply_chat_template(CONVERSATIONS[:2], tokenize=False)
    assert both == [tokenizer.apply_chat_template(c, tokenize=False) for c in CONVERSATIONS[:2]]
    assert tokenizer.apply_chat_template(
        QUESTION, chat_template="{{ messages[0].content }}{{ suffix }}", suffix="!",
        tokenize=False) == "Solve: 17 * 23!"
    _, own = load(DEMO, tokenizer_config={"chat_template": "{{ bos_token }}x"})
    assert own.apply_chat_template(QUESTION, tokenize=False) == f"{own.bos_token}x"
    with pytest.raises(ValueError):
        tokenizer.apply_chat_template(QUESTION, chat_template="{% if %}")
    with pytest.raises(ValueError):
        tokenizer.apply_chat_template([])
    with pytest.raises(TypeError):
        tokenizer.apply_chat_template([{"role": "user", "content": object()}])
    for name in ("return_dict", "return_tensors", "padding"):
        with pytest.raises(NotImplementedError):
            tokenizer.apply_chat_template(QUESTION, **{name: True})


def test_special_tokens_are_the_same(mlx):
    _, tokenizer = load(DEMO)  # the embedded model has no tokenizer_config.json
    theirs = mlx[1]
    assert tokenizer.eos_token_ids == theirs.eos_token_ids
    for name in ("bos_token", "eos_token", "pad_token", "unk_token", "bos_token_id", "eos_token_id",
                 "pad_token_id", "unk_token_id", "has_thinking", "think_start", "think_end",
                 "think_start_id", "think_end_id", "think_start_tokens", "think_end_tokens",
                 "has_chat_template", "chat_template", "has_tool_calling", "tool_call_start",
                 "tool_call_end", "tool_call_start_tokens", "tool_call_end_tokens"):
        assert getattr(tokenizer, name) == getattr(theirs, name), name
    assert len(tokenizer) == len(theirs)
    assert tokenizer.convert_tokens_to_ids("<think>") == theirs.convert_tokens_to_ids("<think>")


def test_thoughts_are_found_alike(tokenizer, mlx):
    start, end = tokenizer.think_start_id, tokenizer.think_end_id
    for tokens in ([], [5], [start, 7, end], [1, start, start, 2, end, end, 3]):
        for limits in ({}, {"start": 2}, {"end": 3}, {"start": 1, "end": 5}):
            if limits.get("end", 0) > len(tokens):
                continue  # mlx-lm reads past the end
            for name in ("find_think_start", "rfind_think_start", "find_think_end", "rfind_think_end"):
                assert getattr(tokenizer, name)(tokens, **limits) == getattr(mlx[1], name)(
                    tokens, **limits), (name, tokens, limits)


def test_further_end_tokens(tokenizer):
    _, other = load("demo", tokenizer_config={"eos_token": "</think>"})
    assert other.eos_token_ids == tokenizer.eos_token_ids | {other.think_end_id}
    other.add_eos_token("77")
    other.add_eos_token("<think>")
    assert {77, other.think_start_id} < other.eos_token_ids
    for bad in ("no such token", "99999"):
        with pytest.raises(ValueError):
            other.add_eos_token(bad)


def test_texts_come_in_whole_characters(tokenizer):
    text = "caf\u00e9 \U0001f600\u4f60 end <|im_end|>"
    ids = tokenizer.encode(text)
    detokenizer = tokenizer.detokenizer
    shown = ""
    for token in ids:
        detokenizer.add_token(token)
        shown += detokenizer.last_segment
        assert "\ufffd" not in shown
    detokenizer.finalize()
    assert shown + detokenizer.last_segment == detokenizer.text == text
    assert detokenizer.tokens == ids
    # A character that never ends.
    detokenizer.reset()
    pieces = tokenizer.encode("\U0001f600")
    if len(pieces) > 1:
        detokenizer.add_token(pieces[0])
        assert detokenizer.last_segment == ""
        detokenizer.finalize()
        assert detokenizer.text == "\ufffd"


def test_decode_takes_what_users_have(tokenizer):
    ids = tokenizer.encode("Hello there")
    assert tokenizer.decode(np.array(ids)) == tokenizer.decode(iter(ids)) == "Hello there"
    assert tokenizer.decode(ids[0]) == tokenizer.decode([ids[0]])
    assert tokenizer.batch_decode([ids, []]) == ["Hello there", ""]
    with pytest.raises(TypeError):
        tokenizer.decode(["a"])
    with pytest.raises(TypeError):
        tokenizer.encode(b"bytes")
    assert DEMO.exists()
