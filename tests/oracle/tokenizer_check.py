#!/usr/bin/env python3
"""Random text through the program's tokenizer and through Hugging Face's.

    tokenizer_check.py TERN TOKENIZER_JSON [--seconds 30] [--seed N]

Each batch is one file of generated text (tests/golden/tokenizer/text_generator.py); its ids must be
the same, with added tokens and with them taken for ordinary text.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tokenizers import Tokenizer

sys.path.insert(0, str(Path(__file__).parents[1] / "golden" / "tokenizer"))
from text_generator import Generator  # noqa: E402


def program_ids(tern: str, tokenizer: Path, text: Path, *flags: str) -> list[int]:
    """Ids from `tern tokenize`."""
    run = subprocess.run(
        [tern, "tokenize", "--tokenizer", str(tokenizer), "--file", str(text), *flags],
        capture_output=True, text=True, timeout=120,
    )
    if run.returncode != 0:
        raise RuntimeError(f"tern tokenize exited {run.returncode}: {run.stderr.strip()}")
    return [int(word) for word in run.stdout.split()]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tern")
    parser.add_argument("tokenizer", type=Path)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--bytes", type=int, default=200_000, help="of one batch")
    arguments = parser.parse_args()

    reference = Tokenizer.from_file(str(arguments.tokenizer))
    description = json.loads(arguments.tokenizer.read_text(encoding="utf-8"))
    plain = Tokenizer.from_str(json.dumps({**description, "added_tokens": []}))
    generator = Generator()
    end = time.monotonic() + arguments.seconds
    seed, bad, total = arguments.seed, 0, 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "text"
        while time.monotonic() < end and bad < 5:
            text = generator.chunk(seed, arguments.bytes)
            path.write_bytes(text.encode())
            for peer, flags in ((reference, []), (plain, ["--no-special"])):
                expected = peer.encode(text, add_special_tokens=False).ids
                if program_ids(arguments.tern, arguments.tokenizer, path, *flags) != expected:
                    print(f"FAIL seed {seed} {flags}: the ids differ")
                    bad += 1
            total += len(text.encode())
            seed += 1
    print(f"{total} bytes from seed {arguments.seed} on, {bad} batches differ")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
