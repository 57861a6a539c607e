"""Seeded text of many kinds; src/text/tokenizer_golden_test.cpp makes the same from the same seed.

The pieces that texts are made of are in tests/corpus/tokenizer/alphabet.json.
"""

import json
import pathlib

ALPHABET = pathlib.Path(__file__).parents[2] / "corpus" / "tokenizer" / "alphabet.json"
MASK = (1 << 64) - 1
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJ"


class Random:
    """splitmix64."""

    def __init__(self, seed):
        self.state = seed & MASK

    def below(self, bound):
        self.state = (self.state + 0x9E3779B97F4A7C15) & MASK
        z = self.state
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & MASK
        z = (z ^ z >> 27) * 0x94D049BB133111EB & MASK
        return (z ^ z >> 31) % bound


class Generator:
    def __init__(self):
        alphabet = json.loads(ALPHABET.read_text(encoding="utf-8"))
        self.snippets = alphabet["snippets"]
        self.words = alphabet["words"]
        self.spaces = alphabet["spaces"]
        self.ranges = alphabet["ranges"]

    def piece(self, random):
        kind = random.below(10)
        if kind <= 2:
            snippet = self.snippets[random.below(len(self.snippets))]
            count = 1 if random.below(5) else 2 + random.below(8)
            return snippet * count
        if kind <= 4:
            first, last = self.ranges[random.below(len(self.ranges))]
            count = 1 + random.below(12)
            return "".join(chr(first + random.below(last - first + 1)) for _ in range(count))
        if kind == 5:
            count = 1 + random.below(10)
            return "".join(LETTERS[random.below(len(LETTERS))] for _ in range(count))
        if kind == 6:
            count = 1 + random.below(20)
            return "".join(self.spaces[random.below(len(self.spaces))] for _ in range(count))
        if kind == 7:
            code = random.below(0x110000)
            return "?" if 0xD800 <= code < 0xE000 else chr(code)
        count = 1 + random.below(20)
        return "".join(" " + self.words[random.below(len(self.words))] for _ in range(count))

    def chunk(self, seed, size):
        """At least `size` bytes of UTF-8."""
        random = Random(seed)
        pieces, length = [], 0
        while length < size:
            pieces.append(self.piece(random))
            length += len(pieces[-1].encode())
        return "".join(pieces)
