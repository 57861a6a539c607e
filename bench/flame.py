#!/usr/bin/env python3
"""Draws the samples of `perf script -F comm,ip,sym` (standard input) as a flame graph in SVG."""

from __future__ import annotations

import re
import sys
import zlib
from xml.sax.saxutils import escape

WIDTH, ROW, LEAST = 1200, 17, 0.001  # pixels; frames below this share are left out


def short(symbol: str) -> str:
    """A function's name without its parameters and the namespaces of the project."""
    symbol = re.sub(r"\(anonymous namespace\)::|tern::|\[clone [^]]*\]", "", symbol)
    symbol = re.sub(r"\(.*", "", symbol)
    return symbol.strip() or "?"


def stacks(lines):
    stack: list[str] = []
    for line in lines:
        if not line.strip():
            if stack:
                yield stack[::-1]
            stack = []
        elif line[0].isspace():
            _, _, symbol = line.strip().partition(" ")
            stack.append(short(symbol))
    if stack:
        yield stack[::-1]


class Frame:
    def __init__(self, name: str):
        self.name, self.samples, self.inner = name, 0, {}

    def add(self, stack: list[str]) -> None:
        frame = self
        frame.samples += 1
        for name in stack:
            frame = frame.inner.setdefault(name, Frame(name))
            frame.samples += 1


def draw(root: Frame) -> str:
    parts, deepest = [], 0
    queue = [(root, 0.0, 0)]
    while queue:
        frame, left, depth = queue.pop()
        share = frame.samples / root.samples
        if share < LEAST:
            continue
        deepest = max(deepest, depth)
        width = share * WIDTH
        hue = zlib.crc32(frame.name.encode()) % 50
        label = escape(frame.name[: int(width / 7)]) if width > 30 else ""
        parts.append((depth, f'<g><title>{escape(frame.name)}: {100 * share:.1f} %</title>'
                             f'<rect x="{left:.1f}" y="Y" width="{max(width - 0.5, 0.5):.1f}" height="{ROW - 1}" '
                             f'fill="hsl({hue},75%,65%)"/><text x="{left + 3:.1f}" y="T">{label}</text></g>'))
        at = left
        for inner in sorted(frame.inner.values(), key=lambda f: -f.samples):
            queue.append((inner, at, depth + 1))
            at += inner.samples / root.samples * WIDTH
    height = (deepest + 1) * ROW + 10
    body = "\n".join(part.replace('y="Y"', f'y="{height - (depth + 1) * ROW - 5}"')
                     .replace('y="T"', f'y="{height - depth * ROW - 10}"') for depth, part in parts)
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="monospace" '
            f'font-size="11">\n<rect width="100%" height="100%" fill="white"/>\n{body}\n</svg>\n')


def main() -> None:
    root = Frame("all")
    for stack in stacks(sys.stdin):
        root.add(stack)
    if root.samples == 0:
        raise SystemExit("no samples on standard input")
    sys.stdout.write(draw(root))


if __name__ == "__main__":
    main()
