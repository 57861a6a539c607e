#!/usr/bin/env python3
"""Fails on an #include that the table in docs/architecture.md does not allow."""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROW = re.compile(r"^\| `([^`]+)` \| .* \|([^|]*)\|$")
INCLUDE = re.compile(r'^\s*#\s*include\s+(?:"([^"]+)"|<(tern/[^>]+)>)')
SOURCES = ("*.h", "*.hpp", "*.cpp", "*.c", "*.cu")


def read_table(text: str) -> dict[str, set[str]]:
    """Folder to the folders that it may include, itself among them."""
    table = {}
    for line in text.splitlines():
        if match := ROW.match(line):
            folder, allowed = match.groups()
            table[folder] = {folder} | {name.strip() for name in allowed.split(",") if name.strip()}
    return table


def folder_of(include: str, folders: set[str]) -> str | None:
    """Folder of the table that an include path lies in."""
    for candidate in (f"include/{include}", f"src/{include}", include):
        for folder in folders:
            if candidate.startswith(folder + "/") and (ROOT / candidate).exists():
                return folder
    return None


def offences(table: dict[str, set[str]]) -> list[str]:
    found = []
    for folder, allowed in table.items():
        files = [file for pattern in SOURCES for file in (ROOT / folder).rglob(pattern)]
        if not files:
            found.append(f"{folder}: in the table, but it has no source file")
        for file in sorted(files):
            for number, line in enumerate(file.read_text().splitlines(), 1):
                match = INCLUDE.match(line)
                if not match:
                    continue
                place = f"{file.relative_to(ROOT)}:{number}"
                target = folder_of(match[1] or match[2], set(table))
                if target is None:
                    found.append(f"{place}: {line.strip()}: no such file in a folder of the table")
                elif target not in allowed:
                    found.append(f"{place}: {folder} must not include {target}")
    known = {Path(folder) for folder in table}
    for folder in sorted(path for path in (ROOT / "src").iterdir() if path.is_dir()):
        if folder.relative_to(ROOT) not in known:
            found.append(f"{folder.relative_to(ROOT)}: not in the table")
    return found


def main() -> int:
    table = read_table((ROOT / "docs/architecture.md").read_text())
    if len(table) < 5:
        print("docs/architecture.md: the folder table was not found", file=sys.stderr)
        return 2
    found = offences(table)
    print("\n".join(found), end="\n" if found else "")
    print(f"{len(table)} folders, {len(found)} offences")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
