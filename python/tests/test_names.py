"""Models by name, from a hub of our own that serves the embedded model."""

import os
import subprocess
import sys

import pytest

from conftest import DEMO, ROOT

sys.path.insert(0, str(ROOT / "tests" / "support"))
fake_hub = pytest.importorskip("fake_hub")

PARENT = "majentik/Nemotron-3-Nano-Omni-30B-A3B-Reasoning-TurboQuant-MLX-4bit"

# The card's, but for the import.
QUICKSTART = """
from tern import load, generate

model, tokenizer = load("majentik/Nemotron-3-Nano-Omni-30B-A3B-Reasoning-TurboQuant-MLX-4bit-TQ-KV")

prompt = tokenizer.apply_chat_template(
    [{"role": "user", "content": "Solve: 17 * 23"}],
    add_generation_prompt=True,
    enable_thinking=False,
)
text = generate(model, tokenizer, prompt=prompt, max_tokens=512, sampler=lambda x: x.argmax(axis=-1))
print(text)
"""


def run(program, environment):
    return subprocess.run([sys.executable, "-c", program], env={**os.environ, **environment},
                          capture_output=True, text=True, timeout=240)


@pytest.fixture
def hub():
    gated = fake_hub.Repository({"config.json": b"{}"}, gated=True)
    with fake_hub.FakeHub({PARENT: fake_hub.Repository.of_folder(DEMO), "owner/gated": gated}) as hub:
        yield hub


def test_the_quickstart_of_the_card_runs_by_name(hub, tmp_path, model, tokenizer, prompt):
    from tern import generate, load

    done = run(QUICKSTART, hub.environment(tmp_path))
    assert done.returncode == 0, done.stderr
    # The suffix -TQ-KV names no files of its own, but a cache type.
    same, _ = load("demo", kv="turbo4")
    assert done.stdout == generate(same, tokenizer, prompt=prompt, max_tokens=512) + "\n"
    # The second time nothing is asked for, and without a network it works too.
    hub.forget()
    again = run(QUICKSTART, {**hub.environment(tmp_path), "HF_HUB_OFFLINE": "1"})
    assert again.stdout == done.stdout and not hub.requests


def test_progress_errors_and_revisions(hub, tmp_path):
    program = f"""
import tern
try:
    tern.load({PARENT!r}, pull=False)
except FileNotFoundError as error:
    print("not found", error.code)
try:
    tern.load({PARENT!r}, revision="no-such-branch")
except tern.TernError as error:
    print("revision", error.code)
import os
for name, kind, change in (("owner/gated", PermissionError, {{}}), ("owner/none", FileNotFoundError, {{}}),
                           ("owner/none", ConnectionError, {{"HF_ENDPOINT": "http://127.0.0.1:9"}}),
                           ("owner/none", ConnectionError, {{"HF_HUB_OFFLINE": "1"}})):
    before = dict(os.environ)
    os.environ.update(change)
    try:
        tern.load(name)
    except kind as error:
        print(error.code)
    os.environ.clear()
    os.environ.update(before)
seen = []
def stop(what, done, total):
    raise KeyError(what)
try:
    tern.load({PARENT!r}, progress=stop)
except KeyError as error:
    print("stopped", error)
model, _ = tern.load({PARENT!r}, progress=lambda *a: seen.append(a))
print({{what for what, _, _ in seen}} >= {{"downloading"}}, all(d <= t for _, d, t in seen), model.name)
"""
    done = run(program, hub.environment(tmp_path))
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "not found not_found"
    assert lines[1].startswith("revision ")
    assert lines[2:6] == ["denied", "not_found", "unreachable", "offline"]
    assert lines[6].startswith("stopped ")
    assert lines[7].startswith("True True ") and PARENT in lines[7]
