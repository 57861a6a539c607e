"""Teacher-forced exact match on held-out chats, by category, for watching a training run.

A chat counts when every trained token of its last answer is the argmax, which is the same as
greedy decoding producing exactly the reference.
"""

from __future__ import annotations

import random

import torch
from tokenizers import Tokenizer

from data import Chat, arithmetic_turn, sized_recall

PROBES = ("product", "sum2", "sum3", "difference2", "difference3", "sum_thinking", "recall256", "recall2048")


def probe(rng: random.Random, name: str) -> Chat:
    if name.startswith("recall"):
        chat = sized_recall(rng, int(name.removeprefix("recall")), False)
        return Chat(chat.turns, chat.thinking, chat.system)
    if name == "product":
        return Chat([arithmetic_turn(rng, "*", True, test=True, digits=(2, 2), story=0)], True)
    if name == "sum_thinking":
        return Chat([arithmetic_turn(rng, "+", True, test=True, digits=(3, 3), story=0)], True)
    op = "+" if name.startswith("sum") else "-"
    digits = int(name[-1])
    return Chat([arithmetic_turn(rng, op, False, test=True, digits=(digits, digits), story=0)], False)


@torch.no_grad()
def exact_match(model, tok: Tokenizer, count: int) -> dict[str, float]:
    model.eval()
    out = {}
    for name in PROBES:
        rng = random.Random(name)
        good = total = 0
        for _ in range(count if name != "recall2048" else max(2, count // 8)):
            ids, spans = [], []
            for text, trained in probe(rng, name).render():
                piece = tok.encode(text, add_special_tokens=False).ids
                if trained:
                    spans.append((len(ids), len(ids) + len(piece)))
                ids += piece
            x = torch.tensor([ids])
            with torch.autocast("cpu", torch.bfloat16):
                guess = model(x)[0].argmax(-1)
            for a, b in spans:
                total += 1
                good += bool((guess[a - 1 : b - 1] == x[0, a:b]).all())
        out[name] = round(good / total, 3)
    return out
