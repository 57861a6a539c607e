"""Write the held-out question files, one JSONL file per category.

The operands of every arithmetic question lie in the held-out share, which training never shows.
The long recall questions are large and therefore made on the fly by `long_recall`.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Callable
from pathlib import Path

from tokenizers import Tokenizer

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "train"))

from data import (  # noqa: E402
    Chat,
    Fact,
    Turn,
    arithmetic_turn,
    courtesy_turn,
    distinct_facts,
    filler_sentence,
    pick_system,
)

QUESTIONS = Path(__file__).with_name("questions")


def arithmetic(op: str, digits: tuple[int, int] | None, thinking: bool, story: float = 0.0) -> Callable:
    def make(rng: random.Random) -> tuple[Chat, str]:
        turn = arithmetic_turn(rng, op, thinking, test=True, digits=digits, story=story)
        return Chat([turn], thinking, pick_system(rng)), turn.answer.split("= ")[-1]

    return make


def mixed(rng: random.Random) -> tuple[Chat, str]:
    """A sum or difference of numbers of different lengths, one to three digits."""
    op = rng.choice("+-")
    digits = rng.choice(((2, 1), (3, 1), (3, 2)))
    if op == "+" and rng.random() < 0.5:
        digits = digits[::-1]
    return arithmetic(op, digits, False)(rng)


def story(rng: random.Random) -> tuple[Chat, str]:
    op = rng.choice("+-*")
    digits = (2, 2) if op == "*" else None
    thinking = op == "*" or rng.random() < 0.5
    return arithmetic(op, digits, thinking, 1.0)(rng)


def follow_up(rng: random.Random) -> tuple[Chat, str]:
    op = rng.choice("+-*")
    thinking = op == "*" or rng.random() < 0.5
    chat, expected = arithmetic(op, (2, 2), thinking)(rng)
    first = courtesy_turn(rng) if rng.random() < 0.2 else arithmetic_turn(rng, rng.choice("+-*"), rng.random() < 0.5, test=True)
    chat.turns.insert(0, first)
    return chat, expected


def recall_question(rng: random.Random, facts: int, filler: int, thinking: bool) -> tuple[Chat, str]:
    known = distinct_facts(rng, facts)
    asked: Fact = rng.choice(known)
    lines = [filler_sentence(rng) for _ in range(filler)]
    lines += [f.text if f.text.endswith(".") else f.text + "." for f in known]
    rng.shuffle(lines)
    user = " ".join(lines) + "\n\n" + rng.choice(asked.questions)
    return Chat([Turn(user, asked.answer, "")], thinking, pick_system(rng)), asked.value


def short_recall(rng: random.Random) -> tuple[Chat, str]:
    return recall_question(rng, rng.randint(2, 8), rng.randint(0, 20), rng.random() < 0.3)


def long_recall(tokens: int, count: int, tok: Tokenizer) -> list[dict]:
    """Questions whose prompt is as close below `tokens` tokens as whole sentences allow."""
    out = []
    rng = random.Random(f"recall-{tokens}")
    for i in range(count):
        seed, thinking = rng.random(), i % 3 == 0
        facts = rng.randint(3, max(4, tokens // 60))
        filler = (tokens - 14 * facts) // 14
        while True:
            chat, expected = recall_question(random.Random(seed), facts, filler, thinking)
            used = sum(len(tok.encode(t, add_special_tokens=False).ids) for t, _ in chat.render()[:1])
            if used <= tokens:
                break
            filler -= max(1, (used - tokens) // 16)
        out.append(record(f"recall_{tokens}", i, chat, expected))
    return out


def courtesy(rng: random.Random) -> tuple[Chat, str]:
    turn = courtesy_turn(rng)
    return Chat([turn], rng.random() < 0.5), turn.answer


CATEGORIES: dict[str, tuple[int, Callable]] = {
    "product_thinking": (300, arithmetic("*", (2, 2), True)),
    "product_direct": (100, arithmetic("*", (2, 2), False)),
    "sum_2digit": (200, arithmetic("+", (2, 2), False)),
    "sum_3digit": (200, arithmetic("+", (3, 3), False)),
    "difference_2digit": (200, arithmetic("-", (2, 2), False)),
    "difference_3digit": (200, arithmetic("-", (3, 3), False)),
    "mixed_direct": (200, mixed),
    "sum_thinking": (100, arithmetic("+", (3, 3), True)),
    "difference_thinking": (100, arithmetic("-", (3, 3), True)),
    "division_thinking": (50, arithmetic("/", None, True)),
    "story": (100, story),
    "follow_up": (100, follow_up),
    "recall_short": (150, short_recall),
    "courtesy": (60, courtesy),
}


def record(category: str, number: int, chat: Chat, expected: str) -> dict:
    return {
        "id": f"{category}-{number}",
        "category": category,
        "messages": chat.messages(),
        "enable_thinking": chat.thinking,
        "expected": expected,
    }


def main() -> None:
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--out", type=Path, default=QUESTIONS)
    args = ap.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for name, (count, make) in CATEGORIES.items():
        rng = random.Random(f"eval-{name}")
        lines, seen = [], set()
        while len(lines) < count:
            chat, expected = make(rng)
            row = record(name, len(lines), chat, expected)
            key = json.dumps([row["messages"], row["enable_thinking"]])
            if key not in seen:
                seen.add(key)
                lines.append(json.dumps(row, ensure_ascii=False))
        (args.out / f"{name}.jsonl").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
