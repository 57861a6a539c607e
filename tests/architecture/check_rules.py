#!/usr/bin/env python3
"""Rules of style that a formatter cannot see: sizes of files, banned words, ASCII."""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MAX_LINES = 500
MAX_LINES_TEST = 800
BANNED = {
    r"\bstd::regex\b": "recurses on its input; write a scanner",
    r"\b(strcpy|strcat|sprintf|vsprintf|gets)\s*\(": "unbounded",
    r"(?<![\w.>])rand\s*\(": "not reproducible",
    r"-ffast-math": "changes what the scalar form means",
    r"\bTODO\b|\bFIXME\b|\bXXX\b": "do it, or open an issue",
}
PRODUCT_BANNED = {
    r"(?<!\w)(std)?::(system|popen)\s*\(|\bpopen\s*\(": "runs a shell",
}
LIBRARY_BANNED = {
    r"\bstd::(cout|cerr|clog)\b": "the library does not print",
    r"(?<![\w.>])(printf|puts|putchar)\s*\(": "the library does not print",
    r"(?<![\w.>:])(exit|_exit|quick_exit)\s*\(": "the library does not exit",
}
# Files over the limit, each with its reason.
LONG_FILES: dict[str, str] = {}


def offences(file: Path) -> list[str]:
    name = str(file.relative_to(ROOT))
    text = file.read_bytes()
    found = []
    if not text.isascii():
        line = 1 + text[: next(i for i, byte in enumerate(text) if byte > 127)].count(b"\n")
        found.append(f"{name}:{line}: not ASCII")
    lines = text.decode("utf-8").splitlines()
    test = re.search(r"_(test|bench|fuzz)\.cpp$", name) or name.startswith("tests/")
    limit = MAX_LINES_TEST if test else MAX_LINES
    if len(lines) > limit and name not in LONG_FILES:
        found.append(f"{name}: {len(lines)} lines, the limit is {limit}")
    library = name.startswith("src/") and not name.startswith("src/cli/") and not test
    rules = BANNED | ({} if test else PRODUCT_BANNED) | (LIBRARY_BANNED if library else {})
    for number, line in enumerate(lines, 1):
        for pattern, reason in rules.items():
            if re.search(pattern, line):
                found.append(f"{name}:{number}: {line.strip()}: {reason}")
    return found


def main() -> int:
    folders = ("src", "include", "demo", "tests", "examples", "bench")
    files = sorted(
        file
        for folder in folders
        for pattern in ("*.h", "*.hpp", "*.cpp")
        for file in (ROOT / folder).rglob(pattern)
    )
    found = [offence for file in files for offence in offences(file)]
    print("\n".join(found), end="\n" if found else "")
    print(f"{len(files)} files, {len(found)} offences")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
