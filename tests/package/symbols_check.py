#!/usr/bin/env python3
"""Fails when the shared library shows a symbol that is not tern's, or lacks one of the header."""

import re
import subprocess
import sys


def main(library: str, header: str) -> int:
    listing = subprocess.run(
        ["nm", "--dynamic", "--defined-only", "--demangle", library],
        check=True, capture_output=True, text=True,
    ).stdout
    shown = {line.split(" ", 2)[2] for line in listing.splitlines()}
    foreign = {s for s in shown if not re.match(r"(tern_\w+|(typeinfo (name )?for )?tern::.*)$", s)}
    declared = set(re.findall(r"^TERN_API [^;(]*?(tern_\w+)\(", open(header).read(), re.M))
    missing = declared - shown
    for symbol in sorted(foreign):
        print(f"{library}: shows {symbol}")
    for symbol in sorted(missing):
        print(f"{library}: lacks {symbol} of {header}")
    print(f"{len(shown)} symbols, {len(declared)} functions of C")
    return 1 if foreign or missing or not declared else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
