"""Parts of pages in docs/ that scripts write."""

from __future__ import annotations

from pathlib import Path


def _markers(part: str) -> tuple[str, str]:
    return f"<!-- begin: {part} -->\n", f"<!-- end: {part} -->"


def read(page: Path, part: str) -> list[str]:
    """Its lines, without the empty ones."""
    begin, end = _markers(part)
    text = page.read_text().split(begin)[1].split(end)[0]
    return [line for line in text.splitlines() if line]


def write(page: Path, part: str, lines: list[str]) -> None:
    """What stands between its two markers, which must be there."""
    begin, end = _markers(part)
    before, rest = page.read_text().split(begin)
    after = rest.split(end)[1]
    page.write_text(before + begin + "\n" + "\n".join(lines) + "\n\n" + end + after)
