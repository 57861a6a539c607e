#!/usr/bin/env python3
"""Makes the golden data of the chat-template tests with Python's Jinja2.

    python3 make.py REAL_TEMPLATE        # the family's chat_template.jinja

Writes the seeds of the fuzz target (tests/corpus/chat_template), expressions.json (expressions.txt rendered), conversations.jsonl (random conversations and the
FNV-1a-64 hash of what each template renders from them; null where Jinja2 raises), samples/ (a few
prompts in full) and manifest.json. tests/oracle/template_check.py uses `environment` and
`conversation` from here.
"""

import datetime
import hashlib
import json
import pathlib
import platform
import random
import sys

import jinja2
import jinja2.ext
from jinja2.sandbox import ImmutableSandboxedEnvironment

HERE = pathlib.Path(__file__).resolve().parent
SEED = 20261123
CONVERSATIONS = 320
NOW = datetime.datetime(2025, 7, 22, 10, 30, 45)

EXPRESSION_VARIABLES = {
    "user": {"name": "Ada", "tags": ["x", "y"], "age": 36},
    "nums": [1, 2, 3, 4, 5],
    "tricky": {"items": [1], "get": "key", "values": 0, "a b": 1},
    "people": [
        {"name": "Bo", "age": 30, "city": "Bonn", "nick": None, "tags": ["x"]},
        {"name": "al", "age": 25, "city": "Oslo", "nick": "A", "tags": ["y"]},
        {"name": "Cy", "age": 41, "city": "bonn", "tags": ["x", "z"]},
    ],
    "tree": [{"v": 1, "c": [{"v": 2}, {"v": 3, "c": [{"v": 4}]}]}, {"v": 5}],
}


class Generation(jinja2.ext.Extension):
    """{% generation %}: renders its body in a scope of its own."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("render"), [], [], body).set_lineno(line)

    def render(self, caller):
        return caller()


class Namespace(jinja2.utils.Namespace):
    """Namespaces of chat templates refuse private names."""

    def __init__(*args, **kwargs):
        self, args = args[0], args[1:]
        attributes = dict(*args, **kwargs)
        for name in attributes:
            Namespace.check(name)
        jinja2.utils.Namespace.__init__(self, attributes)

    def __setitem__(self, name, value):
        Namespace.check(name)
        jinja2.utils.Namespace.__setitem__(self, name, value)

    @staticmethod
    def check(name):
        if isinstance(name, str) and name.startswith("_"):
            raise jinja2.exceptions.SecurityError(f"private attribute {name!r}")


class Dict:
    def __call__(self, *args, **kwargs):
        return dict(*args, **kwargs)


def environment(now=NOW):
    """Jinja2 with the settings that Hugging Face transformers renders chat templates with."""

    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    env = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols]
    )
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = lambda form: now.strftime(form)
    env.globals["dict"] = Dict()
    env.globals["namespace"] = Namespace
    return env


WORDS = (
    "the model reads Hello world naïve café 北京 天気 Привет 😀 👩‍💻 straße 42 3.14 C:\\dir \"quoted\" it's <b>bold</b> "
    "a&b {{braces}} {%tag%} tab\there line\nbreak end. why? yes! İstanbul ΟΔΟΣ <|im_end|> e\u0301"
).split(" ")


class Maker:
    def __init__(self, seed):
        self.r = random.Random(seed)

    def chance(self, p):
        return self.r.random() < p

    def text(self, low=1, high=10):
        words = [self.r.choice(WORDS) for _ in range(self.r.randint(low, high))]
        if self.chance(0.12):
            words.insert(self.r.randrange(len(words) + 1), self.r.choice(["/think", "/no_think", "</think>", "<think>"]))
        if self.chance(0.1):
            words.append("\n\n")
        return self.r.choice(["", "", " ", "\n"]) + " ".join(words)

    def scalar(self):
        return self.r.choice(
            [1, -7, 2.5, 1e20, 1e-7, 9223372036854775813, True, False, None, "x", self.text(1, 3), 0.1, 3.0]
        )

    def value(self, depth=2):
        if depth == 0 or self.chance(0.5):
            return self.scalar()
        if self.chance(0.5):
            return [self.value(depth - 1) for _ in range(self.r.randint(0, 3))]
        return {self.name(): self.value(depth - 1) for _ in range(self.r.randint(0, 3))}

    def name(self):
        return self.r.choice(["city", "unit", "n", "größe", "query", "opts", "limit", "items", "get", "id"])

    def schema(self, depth=2):
        kind = self.r.choice(["string", "integer", "number", "boolean", "array", "object", "union", "enum"])
        out = {"type": kind}
        if kind == "union":
            out["type"] = ["string", "null"]
        if kind == "enum":
            out = {"type": "string", "enum": self.r.sample(["celsius", "fahrenheit", "kelvin", "é"], 2)}
        if kind == "array" and depth and self.chance(0.8):
            out["items"] = self.schema(depth - 1)
        if kind == "object" and depth and self.chance(0.8):
            out["properties"] = {self.name(): self.schema(depth - 1) for _ in range(self.r.randint(0, 2))}
        if self.chance(0.5):
            out["description"] = self.text(1, 6)
        if self.chance(0.2):
            out["default"] = self.value(1)
        if kind in ("integer", "number") and self.chance(0.3):
            out["minimum"] = self.r.choice([0, 1, 0.5])
        if self.chance(0.1):
            out["nullable"] = True
        return out

    def tool(self):
        function = {"name": self.r.choice(["get_weather", "search", "run"])}
        if self.chance(0.9):
            function["description"] = self.text(2, 8)
        if self.chance(0.9):
            parameters = {"type": "object", "properties": {self.name(): self.schema() for _ in range(self.r.randint(0, 3))}}
            if self.chance(0.5):
                parameters["required"] = list(parameters["properties"])[:1]
            if self.chance(0.2):
                parameters["additionalProperties"] = False
            function["parameters"] = parameters
        if self.chance(0.2):
            function["strict"] = True
        return {"type": "function", "function": function} if self.chance(0.85) else function

    def parts(self):
        kinds = ["text", "image", "image_url", "video", "audio", "audio_url"]
        parts = []
        for _ in range(self.r.randint(1, 4)):
            kind = self.r.choice(kinds)
            parts.append({"type": "text", "text": self.text(1, 5)} if kind == "text" else {"type": kind})
        return parts

    def call(self):
        function = {"name": "run", "arguments": {self.name(): self.value() for _ in range(self.r.randint(0, 3))}}
        if self.chance(0.15):
            return function
        out = {"type": "function", "function": function}
        if self.chance(0.6):
            out["id"] = "abcdefghi"
        return out

    def assistant(self, messages):
        message = {"role": "assistant", "content": self.r.choice([None, "", self.text(), self.text()])}
        if self.chance(0.3):
            message["reasoning_content"] = self.r.choice(["", " ", self.text()])
        if self.chance(0.1):
            message["content"] = "<think>" + self.text(1, 4) + "</think>" + self.text(1, 4)
        if self.chance(0.35):
            message["tool_calls"] = [self.call() for _ in range(self.r.choice([0, 1, 1, 1, 2]))]
        messages.append(message)
        for _ in message.get("tool_calls", []):
            if self.chance(0.9):
                messages.append({"role": "tool", "content": self.r.choice([self.text(), json.dumps(self.value(1))])})

    def conversation(self):
        messages = []
        if self.chance(0.5):
            messages.append({"role": "system", "content": self.text() if self.chance(0.9) else ""})
        for _ in range(self.r.randint(1, 3)):
            messages.append({"role": "user", "content": self.parts() if self.chance(0.25) else self.text()})
            if self.chance(0.75):
                self.assistant(messages)
        if self.chance(0.05):
            messages.append({"role": self.r.choice(["developer", "system", "user"]), "content": self.text(1, 3)})
        variables = {"messages": messages, "bos_token": "<s>", "eos_token": "</s>"}
        if self.chance(0.4):
            variables["tools"] = [self.tool() for _ in range(self.r.randint(0, 2))]
        elif self.chance(0.1):
            variables["tools"] = None
        for key, choices, p in [
            ("add_generation_prompt", [True, False], 0.8),
            ("enable_thinking", [True, False], 0.5),
            ("truncate_history_thinking", [True, False], 0.4),
            ("reasoning_budget", [None, 0, 512], 0.3),
        ]:
            if self.chance(p):
                variables[key] = self.r.choice(choices)
        return variables


def fnv1a(text):
    h = 0xCBF29CE484222325
    for byte in text.encode("utf-8"):
        h = (h ^ byte) * 0x100000001B3 % 2**64
    return f"{h:016x}"


def render(template, variables):
    try:
        return template.render(**variables)
    except Exception:  # any error of Python is an error of ours
        return None


def compile_or_none(env, source):
    try:
        return env.from_string(source)
    except Exception:
        return None


def expressions(env):
    rows = []
    for line in (HERE / "expressions.txt").read_text(encoding="utf-8").split("\n"):
        if not line or line.startswith("# "):
            continue
        source = line.replace("\\n", "\n")
        template = compile_or_none(env, source)
        rows.append([source, render(template, EXPRESSION_VARIABLES) if template else None])
    return rows


def corpus(sources, rows):
    """Seeds of the fuzz target: every template, and the expressions in handfuls."""
    folder = HERE.parents[1] / "corpus" / "chat_template"
    folder.mkdir(parents=True, exist_ok=True)
    for name, source in sources.items():
        (folder / f"{name}.jinja").write_text(source, encoding="utf-8")
    for first in range(0, len(rows), 12):
        text = "".join(source + "\n" for source, _ in rows[first : first + 12])
        (folder / f"expressions-{first:03}.jinja").write_text(text, encoding="utf-8")


def main(real):
    env = environment()
    sources = {"family": pathlib.Path(real).read_text(encoding="utf-8")}
    for path in sorted((HERE / "templates").glob("*.jinja")):
        sources[path.stem] = path.read_text(encoding="utf-8")
    templates = {name: env.from_string(source) for name, source in sources.items()}

    rows = expressions(env)
    body = ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    variables = json.dumps(EXPRESSION_VARIABLES, ensure_ascii=False)
    (HERE / "expressions.json").write_text(f'{{"variables": {variables},\n"cases": [\n{body}\n]}}\n', encoding="utf-8")

    corpus({name: text for name, text in sources.items() if name != "family"}, rows)
    maker = Maker(SEED)
    errors = {name: 0 for name in templates}
    samples = HERE / "samples"
    samples.mkdir(exist_ok=True)
    with open(HERE / "conversations.jsonl", "w", encoding="utf-8") as out:
        for index in range(CONVERSATIONS):
            variables = maker.conversation()
            hashes = {}
            for name, template in templates.items():
                text = render(template, variables)
                hashes[name] = None if text is None else fnv1a(text)
                errors[name] += text is None
                if index in (0, 7) and text is not None and name != "stress":
                    (samples / f"{index}.{name}.txt").write_text(text, encoding="utf-8", newline="")
            out.write(json.dumps({"variables": variables, "hashes": hashes}, ensure_ascii=False, separators=(",", ":")) + "\n")
    manifest = {
        "command": "python3 make.py <the family's chat_template.jinja>",
        "date": "2026-11-23",
        "seed": SEED,
        "python": platform.python_version(),
        "jinja2": jinja2.__version__,
        "now": NOW.isoformat(),
        "family_sha256": hashlib.sha256(sources["family"].encode()).hexdigest(),
        "expressions": len(rows),
        "expressions_that_fail": sum(row[1] is None for row in rows),
        "conversations": CONVERSATIONS,
        "conversations_that_fail": errors,
    }
    (HERE / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(manifest, indent=2))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
