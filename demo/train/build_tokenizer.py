"""Build the demo's tokenizer files from generated text.

The result is the family's tokenizer in small: the same 1000 added tokens, byte b at id 1000 + b,
the same pre-tokenizer, and `--merges` learned tokens.  As in the original, the merge list holds,
for every learned token, all its splits into two vocabulary tokens, in rank order.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
from collections import Counter
from pathlib import Path

from tokenizers import Tokenizer, pre_tokenizers

from data import sample

TEXT_MIX = {"facts": 1, "direct": 4, "thinking": 5, "courtesy": 3, "recall128": 4, "recall512": 2}


def byte_alphabet() -> list[str]:
    """The printable stand-in of each byte 0..255 in the byte-level BPE convention."""
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    extra = iter(range(256, 512))
    return [chr(b) if b in kept else chr(next(extra)) for b in range(256)]


def learn(pieces: Counter[str], count: int) -> list[str]:
    """Plain BPE training; returns the new tokens in the order they were learned."""
    words = [(list(w), n) for w, n in pieces.items()]
    learned: list[str] = []
    while len(learned) < count:
        pairs: Counter[tuple[str, str]] = Counter()
        for symbols, n in words:
            for pair in zip(symbols, symbols[1:]):
                pairs[pair] += n
        (left, right), _ = max(pairs.items(), key=lambda kv: (kv[1], kv[0]))
        joined = left + right
        if joined not in learned:
            learned.append(joined)
        for symbols, _ in words:
            i = 0
            while i + 1 < len(symbols):
                if symbols[i] == left and symbols[i + 1] == right:
                    symbols[i : i + 2] = [joined]
                i += 1
    return learned


def main() -> None:
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--reference", type=Path, required=True, help="folder with the family's tokenizer files")
    ap.add_argument("--out", type=Path, default=Path(__file__).parent.parent / "model")
    ap.add_argument("--merges", type=int, default=792)
    ap.add_argument("--chats", type=int, default=6000)
    args = ap.parse_args()

    spec = json.loads((args.reference / "tokenizer.json").read_text())
    full = Tokenizer.from_file(str(args.reference / "tokenizer.json"))
    split: pre_tokenizers.PreTokenizer = full.pre_tokenizer
    rng = random.Random(7)
    pieces: Counter[str] = Counter()
    specials = [t["content"] for t in spec["added_tokens"][:18]]
    for _ in range(args.chats):
        text = "".join(t for t, _ in sample(rng, TEXT_MIX).render())
        for s in specials:
            text = text.replace(s, "\0")
        for part in text.split("\0"):
            pieces.update(p for p, _ in split.pre_tokenize_str(part))

    alphabet = byte_alphabet()
    ranked = alphabet + learn(pieces, args.merges)
    rank = {t: i for i, t in enumerate(ranked)}
    vocab = {t["content"]: t["id"] for t in spec["added_tokens"]}
    vocab |= {t: 1000 + i for t, i in rank.items()}
    merges = []
    for token in ranked[256:]:
        splits = [(token[:i], token[i:]) for i in range(1, len(token))]
        splits = [s for s in splits if s[0] in rank and s[1] in rank]
        merges += [list(s) for s in sorted(splits, key=lambda s: (rank[s[0]], rank[s[1]]))]
    spec["model"]["vocab"] = vocab
    spec["model"]["merges"] = merges

    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "tokenizer.json").write_text(json.dumps(spec, ensure_ascii=False, indent=2) + "\n")
    for name in ("chat_template.jinja", "generation_config.json", "special_tokens_map.json"):
        shutil.copyfile(args.reference / name, args.out / name)
    config = json.loads((args.reference / "tokenizer_config.json").read_text())
    config.pop("_note", None)
    config["model_max_length"] = 8192
    (args.out / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")
    print(f"{len(vocab)} tokens, {len(merges)} merges")


if __name__ == "__main__":
    main()
