#!/usr/bin/env python3
"""What a careless or a mean user gives the program: a clear error, the documented exit status, no crash, no hang.

usage: hostile_check.py TERN DEMO_FOLDER
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

TERN, DEMO = Path(), Path()
PATIENCE = 120
GENERATE = ("generate", "-m", "demo", "--no-think", "-n", "2", "-p")
LATIN1 = b"caf\xe9"
# What each command is about; options are put behind.
COMMANDS = ("generate", "chat", "info", "tokenize", "template", "logits", "convert", "quantize", "variants", "pull",
            "list", "rm", "bench", "fold", "eval ppl", "eval kld", "eval needle", "eval distortion", "eval kv")
NO_NUMBERS = ("", "x", "nan", "inf", "1e999", "99999999999999999999", "0x10", "1 ", "--", LATIN1)
DOCUMENTED = {0, 64, 65, 66, 68, 69, 70, 71, 74, 75, 77, 78, 130, 141}


class Hostile(unittest.TestCase):
    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="tern-hostile-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.environment = {"PATH": os.environ["PATH"], "HOME": str(self.folder / "home"), "LC_ALL": "C.UTF-8",
                            "HF_HUB_OFFLINE": "1"}
        self.random = random.Random(5)

    def tern(self, *arguments: str | bytes | Path, **more) -> subprocess.CompletedProcess:
        more = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, **more}
        return subprocess.run([TERN, *arguments], env=self.environment, cwd=self.folder, stderr=subprocess.PIPE,
                              timeout=PATIENCE, **more)

    def fails(self, status: int | set[int], text: str, *arguments: str | bytes | Path, **more) -> None:
        outcome = self.tern(*arguments, **more)
        shown = outcome.stderr.decode("utf-8", "replace")
        self.assertIn(outcome.returncode, {status} if isinstance(status, int) else status, (arguments, shown))
        self.assertIn(text, shown, arguments)
        self.assertRegex(shown, r"(?m)^tern: error: \S", arguments)

    def write(self, name: str, data: bytes) -> Path:
        (self.folder / name).write_bytes(data)
        return self.folder / name

    def model_folder(self, name: str) -> Path:
        shutil.copytree(DEMO, self.folder / name)
        return self.folder / name

    # Options

    def numbers_of(self, command: str) -> list[str]:
        """Options that take one number, as the help has them."""
        text = self.tern(*command.split(), "--help").stdout.decode()
        return re.findall(r"^ +(?:-\w, )?(--[\w-]+) (?:N|X|BITS)(?: |$)", text, re.MULTILINE)

    def test_what_is_no_number_is_refused_by_name(self) -> None:
        tried: set[str] = set()
        for command in COMMANDS:
            for option in self.numbers_of(command):
                if option in tried:
                    continue
                tried.add(option)
                for value in self.random.sample(NO_NUMBERS, 4):
                    with self.subTest(command=command, option=option, value=value):
                        needed = ("-m", "demo", "-p", "Hi") if command == "generate" else ()
                        self.fails(64, f"error: {option}", *command.split(), *needed, option, value)
        self.assertGreater(len(tried), 30, tried)

    def test_numbers_out_of_range_are_refused(self) -> None:
        for option, value in (("--ctx", "1e18"), ("--ctx", "-1"), ("--threads", "100000"), ("--threads", "0"),
                              ("--max-tokens", "-1"), ("--temp", "-0.1"), ("--temp", "nan"), ("--top-p", "0"),
                              ("--min-p", "1.5"), ("--seed", "-1"), ("--kv-sinks", "-1"), ("--prefill-chunk", "0")):
            self.fails(64, f"error: {option}", *GENERATE, "Hi", option, value)

    def test_options_and_commands_that_do_not_exist(self) -> None:
        for command in COMMANDS:
            self.fails(64, "--no-such-option", *command.split(), "--no-such-option")
        self.fails(64, "generat", "generat")
        self.fails(64, "nosuch", "eval", "nosuch")
        self.fails(64, "--isa", *GENERATE, "Hi", "--isa", "")

    # Files

    def test_files_that_are_none(self) -> None:
        (self.folder / "folder").mkdir()
        os.mkfifo(self.folder / "fifo")
        (self.folder / "loop").symlink_to("loop")
        self.write("empty", b"")
        messages = self.write("messages.json", b'[{"role": "user", "content": "Hi"}]')
        takers = (("info",), ("tokenize", "Hi", "--tokenizer"), ("generate", "-m", "demo", "--messages"),
                  ("generate", "-m", "demo", "-p", "Hi", "--tools"), ("chat", "demo", "--messages"),
                  ("template", "--messages", messages, "--template"), ("template", "-m", "demo", "--messages"),
                  ("logits", "-m", "demo", "-o", "x.npy", "--tokens"), ("eval", "kv", "demo", "--tasks"),
                  ("convert", "demo", "to", "--to", "gguf-q8_0", "--imatrix"), ("convert", "--to", "mlx-4bit", "--dry-run"))
        for taker in takers:
            for name, status in (("missing", 66), ("folder", {66, 74}), ("fifo", 74), ("loop", 74), ("/dev/null", 74),
                                 ("/dev/zero", 74), ("empty", {64, 65}), ("", {64, 66})):
                with self.subTest(taker=taker, name=name):
                    destination = ("to",) if taker[:2] == ("convert", "--to") else ()
                    self.fails(status, name, *taker, name, *destination)
        self.assertFalse((self.folder / "to").exists())

    def test_outputs_that_cannot_be(self) -> None:
        tokens = self.write("tokens.json", b"[1000]")
        (self.folder / "folder").mkdir()
        for output in ("folder", "/dev/null", "no/such/folder/x.npy", "/proc/x.npy"):
            self.fails({64, 66, 74}, output, "logits", "-m", "demo", "--tokens", tokens, "-o", output)
        for output in ("/dev/null", "/dev/null/x", "/proc/x"):
            self.fails({64, 66, 74}, output, "convert", "demo", output, "--to", "gguf-q8_0")

    def test_models_that_are_cut_anywhere(self) -> None:
        folder = self.model_folder("model")
        weights = folder / "model.safetensors"
        gguf = self.folder / "model.gguf"
        self.assertEqual(self.tern("convert", "demo", gguf, "--to", "gguf-q4_k_m").returncode, 0)
        for path, model in ((weights, folder), (gguf, gguf)):
            whole = path.read_bytes()
            sizes = [0, 1, 7, 8, 9, 24, len(whole) - 1, *(self.random.randrange(len(whole)) for _ in range(6)),
                     *(self.random.randrange(20000) for _ in range(6))]
            for size in sizes:
                path.write_bytes(whole[:size])
                with self.subTest(path=path, size=size):
                    self.fails(65, path.name, "generate", "-m", model, "-p", "Hi", "-n", "1")
            path.write_bytes(whole)
        for name in ("config.json", "tokenizer.json", "chat_template.jinja"):
            whole = (folder / name).read_bytes()
            for size in (0, 1, self.random.randrange(len(whole)), self.random.randrange(len(whole))):
                (folder / name).write_bytes(whole[:size])
                outcome = self.tern("generate", "-m", folder, "-p", "Hi", "-n", "1")
                # A template may be cut where the rest is a template too, maybe of nothing.
                allowed = {65} if name.endswith(".json") else {0, 64, 65}
                self.assertIn(outcome.returncode, allowed, (name, size, outcome.stderr))
            (folder / name).write_bytes(whole)

    def test_models_with_wrong_bytes_are_an_error_or_an_answer(self) -> None:
        gguf = self.folder / "model.gguf"
        self.assertEqual(self.tern("convert", "demo", gguf, "--to", "gguf-q4_k_m").returncode, 0)
        whole = gguf.read_bytes()
        for _ in range(12):
            damaged = bytearray(whole)
            for _ in range(3):
                damaged[self.random.randrange(60000)] = self.random.randrange(256)
            gguf.write_bytes(damaged)
            outcome = self.tern("generate", "-m", gguf, "-p", "Hi", "-n", "1")
            self.assertIn(outcome.returncode, {0, 65, 69, 70}, outcome.stderr)

    # Text

    def test_text_that_is_not_utf8_is_refused(self) -> None:
        latin1 = self.write("latin1", LATIN1)
        messages = self.write("messages.json", b'[{"role": "user", "content": "' + LATIN1 + b'"}]')
        self.fails(65, "byte 3 is 0xe9", *GENERATE, LATIN1)
        self.fails(65, "byte 3 is 0xe9", "generate", "-m", "demo", "--raw", "-n", "2", "-p", LATIN1)
        self.fails(65, "--system", *GENERATE, "Hi", "--system", LATIN1)
        with latin1.open("rb") as text:
            self.fails(65, "standard input", *GENERATE, "-", stdin=text)
        self.fails(65, "messages.json", "generate", "-m", "demo", "-n", "2", "--messages", messages)
        fine = self.write("fine.json", b'[{"role": "user", "content": "Hi"}]')
        self.fails(65, "latin1", "template", "--template", latin1, "--messages", fine)
        self.fails(65, "--prompt", "chat", "demo", "-p", LATIN1)
        with latin1.open("rb") as text:
            self.fails(65, "not UTF-8", "chat", "demo", "-n", "2", stdin=text)
        # Tokens are of bytes, and give them back.
        ids = json.loads(self.tern("tokenize", "-m", "demo", "--json", LATIN1).stdout)
        back = self.tern("tokenize", "-m", "demo", "--decode", json.dumps(ids))
        self.assertEqual(back.stdout.rstrip(b"\n"), LATIN1)

    # Streams

    def test_output_that_cannot_be_written(self) -> None:
        commands = (("--help",), ("variants",), ("info", "demo"), (*GENERATE, "Hi"), ("tokenize", "-m", "demo", "Hi"),
                    ("completion", "bash"), ("version",), ("list", "--json"))
        for command in commands:
            with self.subTest(command=command), open("/dev/full", "wb") as full:
                self.fails(74, "standard output", *command, stdout=full)
            script = 'exec "$0" "$@" >&-'
            closed = subprocess.run(["bash", "-c", script, TERN, *command], env=self.environment, timeout=PATIENCE,
                                    stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
            self.assertEqual(closed.returncode, 74, (command, closed.stderr))

    def test_a_reader_that_goes_away(self) -> None:
        script = '"$0" "$@" | head -c 1 >/dev/null; echo ${PIPESTATUS[0]}'
        gone = subprocess.run(["bash", "-c", script, TERN, "generate", "-m", "demo", "-p", "Tell me", "-n", "400",
                               "--no-think", "--ignore-eos"], env=self.environment, stdin=subprocess.DEVNULL,
                              capture_output=True, timeout=PATIENCE)
        self.assertEqual((gone.stdout, gone.stderr), (b"141\n", b""))

    def test_closed_and_empty_input(self) -> None:
        for command, status in ((("chat", "demo"), {0, 74}), ((*GENERATE, "-"), {0, 64, 74}),
                                (("template", "-m", "demo"), {65, 74}),
                                (("logits", "-m", "demo", "--tokens", "-", "-o", "x.npy"), {65, 74})):
            for script in ('exec "$0" "$@" <&-', 'exec "$0" "$@" </dev/null'):
                outcome = subprocess.run(["bash", "-c", script, TERN, *command], env=self.environment, cwd=self.folder,
                                         capture_output=True, timeout=PATIENCE)
                self.assertIn(outcome.returncode, status, (command, script, outcome.stderr))

    # Signals

    def test_ctrl_c_at_any_time(self) -> None:
        commands = (("generate", "-m", "demo", "-p", "Hi", "-n", "100000", "--ignore-eos"),
                    ("convert", "demo", "to", "--to", "mlx-2bit"), ("quantize", "demo", "to2"), ("fold", "demo", "to3"),
                    ("eval", "kld", "demo", "--save-base", "base"), ("eval", "needle", "demo"), ("eval", "distortion"),
                    ("bench", "demo"), ("eval", "kv", "demo"), ("info", "demo"), ("variants",))
        for command in commands:
            for _ in range(3):
                process = subprocess.Popen([TERN, *command], env=self.environment, cwd=self.folder,
                                           stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
                time.sleep(self.random.random() * 0.5)
                process.send_signal(signal.SIGINT)
                _, errors = process.communicate(timeout=PATIENCE)
                # Before the program minds signals, the signal itself ends it.
                self.assertIn(process.returncode, (0, 130, -signal.SIGINT), (command, errors))
                if process.returncode == 130 and command[0] in ("convert", "quantize", "fold"):
                    self.assertFalse((self.folder / command[2]).exists())
                shutil.rmtree(self.folder / command[2], ignore_errors=True) if len(command) > 2 else None


if __name__ == "__main__":
    TERN, DEMO = (Path(argument).resolve() for argument in sys.argv[1:3])
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]], verbosity=2)
