"""Random conversations through `tern template` and through Python's Jinja2: the prompts must be equal.

    template_check.py TERN [--family TEMPLATE] [--count N] [--seed S]

Renders with the templates of tests/golden/template/templates, and with the family's own when it is
given. `tern template --template FILE` reads a JSON object of variables from standard input, prints
the prompt, and exits with an error where Jinja2 raises.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
from pathlib import Path

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "template"
sys.path.insert(0, str(GOLDEN))
import make  # noqa: E402


def tern_render(tern: str, template: Path, variables: dict) -> str | None:
    """The prompt, or None when the program refuses."""
    run = subprocess.run(
        [tern, "template", "--template", str(template)],
        input=json.dumps(variables).encode(), capture_output=True, timeout=60, env={**os.environ, "TZ": "UTC"},
    )
    if run.returncode < 0:
        raise RuntimeError(f"tern template died of signal {-run.returncode}")
    return run.stdout.decode() if run.returncode == 0 else None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tern")
    parser.add_argument("--family", type=Path)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    options = parser.parse_args()
    files = sorted((GOLDEN / "templates").glob("*.jinja")) + ([options.family] if options.family else [])
    # Dates must not differ between the two: templates that ask get one in the variables.
    env = make.environment()
    templates = [(path, env.from_string(path.read_text(encoding="utf-8"))) for path in files]
    maker = make.Maker(options.seed)
    different = 0
    for index in range(options.count):
        # The program adds the generation prompt unless told otherwise; a template does not.
        variables = {"add_generation_prompt": False, **maker.conversation(), "date_string": "22 Jul 2025"}
        path, template = templates[index % len(templates)]
        expected = make.render(template, variables)
        actual = tern_render(options.tern, path, variables)
        if actual != expected:
            different += 1
            print(f"{path.name}, seed {options.seed}, conversation {index}:\n  Jinja2: {expected!r}\n  tern:   {actual!r}")
    print(f"{options.count} conversations, seed {options.seed}: {different} differ")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
