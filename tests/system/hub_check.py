#!/usr/bin/env python3
"""Names, downloads and the cache, as a user meets them: the program against a hub of our own.

usage: hub_check.py TERN DEMO_FOLDER

Everything is on 127.0.0.1, in this process and its children.
"""

from __future__ import annotations

import hashlib
import json
import os
import pty
import random
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
from fake_hub import FakeHub, Fault, Repository  # noqa: E402

TERN, DEMO = Path(), Path()
FAMILY = "majentik/Nemotron-3-Nano-Omni-30B-A3B-Reasoning-"
PARENT, CARD = FAMILY + "TurboQuant-MLX-4bit", FAMILY + "TurboQuant-MLX-4bit-TQ-KV"
PATIENCE = 60


def noise(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


class HubTest(unittest.TestCase):
    hub: FakeHub

    @classmethod
    def setUpClass(cls) -> None:
        demo = Repository.of_folder(DEMO)
        demo.files = {**demo.files, "README.md": b"# card", "pytorch_model.bin": b"pickle", "modeling.py": b"exit()"}
        big = {"config.json": b"{}", "tokenizer.json": b"{}", "model.safetensors": noise(4_000_000)}
        quants = {f"m-{q}.gguf": noise(1000, i) for i, q in enumerate(("Q4_K_M", "Q8_0"))}
        cls.hub = FakeHub({PARENT: demo, "owner/big": Repository(big), "owner/bare": Repository(big, bare=True),
                           "owner/gated": Repository(big, gated=True), "owner/private": Repository(big, private=True),
                           "owner/quants": Repository(quants), "owner/card": Repository({"README.md": b"x"}),
                           "owner/evil": Repository({"../../evil": b"x", "config.json": b"{}"})})

    @classmethod
    def tearDownClass(cls) -> None:
        cls.hub.close()

    def setUp(self) -> None:
        self.hub.forget()
        self.folder = Path(tempfile.mkdtemp(prefix="tern-hub-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def environment(self, **more: str) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], "HOME": str(self.folder), "LC_ALL": "C.UTF-8",
                "HF_HUB_DOWNLOAD_TIMEOUT": "2", **self.hub.environment(self.folder), **more}

    def tern(self, *arguments: str, cwd: Path | None = None, **more: str) -> subprocess.CompletedProcess:
        return subprocess.run([TERN, *arguments], env=self.environment(**more), stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=PATIENCE, cwd=cwd)

    def start(self, *arguments: str, **more: str) -> subprocess.Popen:
        return subprocess.Popen([TERN, *arguments], env=self.environment(**more), stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def succeeds(self, *arguments: str, **more: str) -> str:
        outcome = self.tern(*arguments, **more)
        self.assertEqual(outcome.returncode, 0, outcome.stderr)
        return outcome.stdout

    def fails(self, status: int, text: str, *arguments: str, **more: str) -> str:
        outcome = self.tern(*arguments, **more)
        self.assertEqual(outcome.returncode, status, outcome.stderr)
        self.assertIn(text, outcome.stderr)
        return outcome.stderr

    def cache(self, repository: str) -> Path:
        return self.folder / "hub" / ("models--" + repository.replace("/", "--"))

    def check_cached(self, repository: str) -> None:
        """What the snapshot holds has the bytes of the hub, and nothing else is there."""
        files = self.hub.repositories[repository].files
        snapshot = next((self.cache(repository) / "snapshots").iterdir())
        names = {str(path.relative_to(snapshot)) for path in snapshot.rglob("*") if not path.is_dir()}
        self.assertTrue(names <= set(files), names)
        for name in names:
            self.assertEqual((snapshot / name).read_bytes(), files[name], name)
        self.assertEqual(list((self.cache(repository) / "blobs").glob("*.incomplete")), [])

    def asked_for_bytes(self) -> list[str | None]:
        return [r.headers.get("Range") for r in self.hub.asked("/cdn/")]


class EndToEnd(HubTest):
    def test_a_card_pulls_its_parent_turns_its_cache_on_and_answers(self) -> None:
        outcome = self.tern("generate", "-m", CARD, "--pull", "-p", "Solve: 17 * 23", "--no-think", "-n", "12",
                            "--temp", "0", "--json")
        self.assertEqual(outcome.returncode, 0, outcome.stderr)
        self.assertIn("turbo4", outcome.stderr)
        answer = json.loads(outcome.stdout)
        self.assertEqual(answer["model"], CARD)
        self.assertGreater(answer["usage"]["completion_tokens"], 0)
        self.assertTrue(self.cache(PARENT).is_dir())
        self.assertFalse(self.cache(CARD).exists())
        self.assertEqual(self.hub.asked("TQ-KV"), [])
        # It is there now: the second time nobody is asked.
        self.hub.forget()
        again = self.tern("generate", CARD, "-p", "Solve: 17 * 23", "--no-think", "-n", "12", "--temp", "0", "--json",
                          HF_HUB_OFFLINE="1")
        self.assertEqual(json.loads(again.stdout)["content"], answer["content"])
        self.assertEqual(self.hub.requests, [])

    def test_only_what_the_model_needs_is_downloaded(self) -> None:
        self.succeeds("pull", PARENT)
        self.check_cached(PARENT)
        asked = "".join(request.path for request in self.hub.requests)
        for needless in ("README.md", "pytorch_model.bin", "modeling.py"):
            self.assertNotIn(needless, asked)

    def test_every_command_takes_a_name_in_any_form(self) -> None:
        self.succeeds("pull", "turboquant-mlx-4BIT")
        ids = self.succeeds("tokenize", "-m", "TurboQuant-MLX-4bit", "Hello")
        self.assertEqual(ids, self.succeeds("tokenize", "-m", "demo", "Hello"))
        info = json.loads(self.succeeds("info", CARD.lower(), "--json"))
        self.assertEqual((info["model"], info["kv"]), (CARD.lower(), "turbo4"))
        messages = self.folder / "messages.json"
        messages.write_text('[{"role": "user", "content": "Hi"}]')
        self.succeeds("template", "-m", PARENT, "--messages", str(messages))
        tokens = self.folder / "tokens.json"
        tokens.write_text("[1, 2, 3]")
        self.succeeds("logits", "-m", PARENT, "--tokens", str(tokens), "-o", str(self.folder / "x.npy"))
        self.succeeds("fold", PARENT, str(self.folder / "folded"))
        self.succeeds("info", str(self.folder / "folded"))
        self.fails(66, "no such revision", "info", PARENT, "--revision", "v2", "--pull")

    def test_without_terminal_and_pull_a_missing_model_says_how_to_get_it(self) -> None:
        text = self.fails(66, "no model of that name", "generate", "-m", CARD, "-p", "Hi")
        self.assertIn("tern pull " + CARD, text)
        self.assertIn(PARENT, text)
        self.assertEqual(self.hub.requests, [])

    def on_a_terminal(self, *arguments: str) -> bytes:
        """What a program that succeeds shows there on standard error."""
        main, other = pty.openpty()
        process = subprocess.Popen([TERN, *arguments], stdin=other, stdout=subprocess.PIPE, stderr=other,
                                   env=self.environment(TERM="xterm", COLUMNS="120"))
        os.close(other)
        shown = b""
        while process.poll() is None and select.select([main], [], [], PATIENCE)[0]:
            try:
                shown += os.read(main, 4096)
            except OSError:
                break
        process.wait(PATIENCE)
        self.assertEqual(process.returncode, 0, shown)
        process.stdout.close()
        os.close(main)
        return shown

    def test_on_a_terminal_it_is_downloaded(self) -> None:
        self.assertIn(b"downloading", self.on_a_terminal("tokenize", "-m", PARENT, "Hello"))

    def test_pull_shows_a_bar_for_each_file_and_one_for_all(self) -> None:
        self.hub.faults.append(Fault("/cdn/", "slow", value=4_000_000))
        shown = self.on_a_terminal("pull", "owner/big")
        self.assertRegex(shown, rb"model\.safetensors +\[[#-]+\]")
        self.assertRegex(shown, rb"downloading +\[[#-]+\]")

    def test_a_download_on_the_way_to_an_answer_shows_the_same_bars(self) -> None:
        self.hub.faults.append(Fault("/cdn/", "slow", value=2_000_000))
        shown = self.on_a_terminal("generate", "-m", PARENT, "-p", "Hi", "--no-think", "-n", "2")
        self.assertRegex(shown, rb"model\.safetensors +\[[#-]+\]")
        self.assertRegex(shown, rb"downloading +\[[#-]+\]")

    def test_what_is_no_model_explains_itself(self) -> None:
        self.fails(64, "has no weights", "generate", "-m", "RotorQuant", "-p", "Hi")
        self.fails(64, "images and sound", "pull", "mmproj-F16")
        self.fails(64, "did you mean TurboQuant-GGUF-Q4_K_M?", "pull", "TurboQuant-GGUF-Q4KM")
        self.fails(66, "no model among its 1 files", "pull", "owner/card")
        self.fails(64, "no name of a model", "pull", "./folder")


class Pull(HubTest):
    def test_a_dry_run_says_the_bytes_and_writes_nothing(self) -> None:
        text = self.succeeds("pull", "owner/big", "--dry-run")
        self.assertIn("4000004 bytes, 4000004 of them to download", text)
        self.assertFalse(self.cache("owner/big").exists())

    def test_one_gguf_of_several(self) -> None:
        self.succeeds("pull", "owner/quants:q8_0")
        self.assertEqual(len(self.hub.asked("/cdn/")), 1)
        self.assertTrue(self.hub.asked("Q8_0"))
        self.fails(64, "m-Q8_0.gguf", "pull", "owner/quants:Q2_K")

    def test_a_hub_that_lists_names_alone_is_asked_for_each_file(self) -> None:
        self.succeeds("pull", "owner/bare")
        self.check_cached("owner/bare")
        self.assertEqual(len(self.hub.asked("/resolve/", "HEAD")), 3)

    def test_the_token_goes_to_the_hub_alone(self) -> None:
        self.fails(66, "private", "pull", "owner/private")
        self.succeeds("pull", "owner/private", HF_TOKEN=self.hub.token)
        self.assertTrue(any("Authorization" in r.headers for r in self.hub.asked("/resolve/")))
        self.assertFalse(any("Authorization" in r.headers for r in self.hub.asked("/cdn/")))
        shutil.rmtree(self.cache("owner/private"))
        (self.folder / "token").write_text(self.hub.token + "\n")
        self.succeeds("pull", "owner/private")

    def test_gated_missing_offline_and_unreachable_say_what_to_do(self) -> None:
        for token in ({}, {"HF_TOKEN": "hf_of_somebody_else"}):
            gated = self.fails(STATUS_DENIED, "terms to be accepted", "pull", "owner/gated", **token)
            self.assertIn("HF_TOKEN", gated)
            self.assertIn(f"accept them on {self.hub.environment(self.folder)['HF_ENDPOINT']}/owner/gated,", gated)
        self.fails(66, "no such repository", "pull", "owner/none")
        self.fails(66, "no such revision", "pull", "owner/big", "--revision", "v9")
        self.fails(78, "HF_HUB_OFFLINE", "pull", "owner/big", HF_HUB_OFFLINE="1")
        self.fails(STATUS_UNAVAILABLE, "connect", "pull", "owner/big", HF_ENDPOINT="http://127.0.0.1:9")
        self.fails(64, "HF_ENDPOINT", "pull", "owner/big", HF_ENDPOINT="gopher://x")

    def test_a_file_that_was_cut_short_later_is_downloaded_anew(self) -> None:
        self.succeeds("pull", "owner/big")
        weights, = (self.cache("owner/big") / "snapshots").glob("*/model.safetensors")
        os.truncate(weights, 1000)
        self.succeeds("pull", "owner/big")
        self.check_cached("owner/big")

    def test_a_path_that_leads_out_is_refused(self) -> None:
        self.fails(65, "no path inside a folder", "pull", "owner/evil")
        self.assertFalse((self.folder / "evil").exists())


class Faults(HubTest):
    def pull_through(self, *faults: Fault, name: str = "owner/big", **more: str) -> None:
        self.hub.faults += faults
        self.succeeds("pull", name, **more)
        self.assertEqual([fault for fault in self.hub.faults if fault.times > 0], [])
        self.check_cached(name)

    def test_what_passes_is_tried_again(self) -> None:
        for status in (429, 500, 503):
            with self.subTest(status=status):
                self.hub.forget()
                shutil.rmtree(self.cache("owner/big"), ignore_errors=True)
                self.pull_through(Fault("/api/", "status", value=status),
                                  Fault("model.safetensors", "status", value=status, headers={"Retry-After": "0"}))

    def test_a_cut_connection_goes_on_where_it_was(self) -> None:
        self.pull_through(Fault("/cdn/", "cut", value=1_000_000))
        self.assertEqual(self.asked_for_bytes(), [None, "bytes=3000000-"])

    def test_a_server_without_ranges_begins_anew(self) -> None:
        self.pull_through(Fault("/cdn/", "cut", value=1_000_000), Fault("/cdn/", "no_ranges"))

    def test_other_bytes_than_asked_for_are_not_taken(self) -> None:
        self.pull_through(Fault("/cdn/", "cut", value=1_000_000), Fault("/cdn/", "other_range"))

    def test_wrong_lengths_and_excess_bytes(self) -> None:
        for kind in ("long", "short", "more"):
            with self.subTest(kind=kind):
                self.hub.forget()
                shutil.rmtree(self.cache("owner/big"), ignore_errors=True)
                self.pull_through(Fault("/cdn/", kind))

    def test_silence_ends_a_connection(self) -> None:
        self.pull_through(Fault("/cdn/", "stall", value=4), HF_HUB_DOWNLOAD_TIMEOUT="1")

    def test_a_login_page_in_place_of_the_file(self) -> None:
        self.pull_through(Fault("/cdn/", "html"))

    def test_an_expired_address_is_asked_for_again(self) -> None:
        self.pull_through(Fault("/cdn/", "status", value=403))

    def test_wrong_bytes_are_an_error_and_get_no_name(self) -> None:
        self.hub.faults.append(Fault("/cdn/", "wrong", times=9))
        self.fails(65, "digest", "pull", "owner/big")
        self.assertFalse(any((self.cache("owner/big") / "snapshots").glob("*/model.safetensors")))
        self.hub.forget()
        self.pull_through()  # and what was left of them does no harm

    def test_wrong_bytes_of_a_small_file_too(self) -> None:
        self.hub.faults.append(Fault("config.json", "wrong", times=9))
        self.fails(65, "digest", "pull", "owner/big")

    def test_too_many_failures_are_an_error_that_keeps_what_came(self) -> None:
        self.hub.faults += [Fault("/cdn/", "cut", value=1_000_000), Fault("/cdn/", "status", times=99, value=404)]
        self.fails(66, "no such file", "pull", "owner/big")
        partial, = (self.cache("owner/big") / "blobs").glob("*.incomplete")
        self.assertEqual(partial.stat().st_size, 3_000_000)
        self.assertFalse((self.cache("owner/big") / "refs").exists())

    def test_an_answer_that_is_no_list_of_files(self) -> None:
        self.hub.faults.append(Fault("/api/", "html"))
        self.assertIn("HF_ENDPOINT", self.fails(65, "JSON", "pull", "owner/big"))


class Interruptions(HubTest):
    def wait_for_bytes(self, process: subprocess.Popen) -> None:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and process.poll() is None:
            sizes = [p.stat().st_size for p in (self.cache("owner/big") / "blobs").glob("*.incomplete")]
            if max(sizes, default=0) > 200_000:
                return
            time.sleep(0.01)
        self.fail("no bytes came")

    def interrupt(self, number: int) -> int:
        self.hub.faults.append(Fault("/cdn/", "slow", value=2_000_000))
        process = self.start("pull", "owner/big")
        self.wait_for_bytes(process)
        process.send_signal(number)
        process.communicate(timeout=PATIENCE)
        return process.returncode

    def test_killed_and_done_again_is_the_same_file(self) -> None:
        for _ in range(3):
            self.interrupt(signal.SIGKILL)
            self.assertFalse(any((self.cache("owner/big") / "snapshots").glob("*/model.safetensors")))
            self.hub.forget()
        self.succeeds("pull", "owner/big")
        self.check_cached("owner/big")
        self.assertTrue(all(self.asked_for_bytes()), "it began anew")

    def test_ctrl_c_leaves_what_came(self) -> None:
        self.assertEqual(self.interrupt(signal.SIGINT), 130)
        self.hub.forget()
        self.succeeds("pull", "owner/big")
        self.assertTrue(all(self.asked_for_bytes()), "it began anew")
        self.check_cached("owner/big")

    def test_two_at_once_download_each_file_once(self) -> None:
        self.hub.faults.append(Fault("/cdn/", "slow", value=4_000_000))
        both = [self.start("pull", "owner/big") for _ in range(2)]
        for process in both:
            _, errors = process.communicate(timeout=PATIENCE)
            self.assertEqual(process.returncode, 0, errors)
        self.assertEqual(len(self.hub.asked("/cdn/")), 1)
        self.check_cached("owner/big")

    def test_a_full_disk(self) -> None:
        disk = self.folder / "disk"
        disk.mkdir()
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "none", disk], capture_output=True)
        if mounted.returncode != 0:
            self.skipTest("mounting a small disk is not permitted")
        self.addCleanup(subprocess.run, ["umount", disk])
        big = {"config.json": b"{}", "model.safetensors": noise(12_000_000)}
        self.hub.repositories["owner/huge"] = Repository(big)
        room = {"HF_HUB_CACHE": str(disk)}
        # Somebody else fills it while we download: what has arrived stays.
        self.hub.repositories["owner/half"] = Repository({"config.json": b"{}", "model.safetensors": noise(4_000_000)})
        self.hub.faults.append(Fault("/cdn/", "slow", value=4_000_000))
        process = self.start("pull", "owner/half", **room)
        deadline = time.monotonic() + PATIENCE
        while not list(disk.rglob("*.incomplete")) and time.monotonic() < deadline:
            time.sleep(0.01)
        filler = disk / "filler"
        with self.assertRaises(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(1 << 16))
        _, errors = process.communicate(timeout=PATIENCE)
        self.assertEqual(process.returncode, 74, errors)
        self.assertIn("No space left", errors)
        filler.unlink()
        self.succeeds("pull", "owner/half", **room)
        self.hub.forget()
        # Said before it starts, with both figures.
        text = self.fails(74, "not enough room: 12000002 bytes", "pull", "owner/huge", **room)
        self.assertIn("are free", text)
        self.assertEqual(self.hub.asked("/resolve/"), [])


class ListAndRemove(HubTest):
    def test_list_shows_what_can_be_loaded(self) -> None:
        self.assertEqual(json.loads(self.succeeds("list", "--json")), [])
        self.succeeds("pull", PARENT)
        self.succeeds("pull", "owner/big")  # no model that this program knows
        listed, = json.loads(self.succeeds("list", "--json"))
        self.assertEqual(listed["name"], PARENT)
        self.assertEqual(listed["revisions"], ["main"])
        self.assertEqual(listed["commit"], self.hub.repositories[PARENT].commit)
        self.succeeds("info", listed["path"])
        self.assertIn(PARENT, self.succeeds("list"))

    def test_variants_say_what_is_here(self) -> None:
        table = json.loads(self.succeeds("variants", "--json"))["variants"]
        self.assertEqual(len(table), 56)
        self.assertFalse(any(row["downloaded"] for row in table))
        self.succeeds("pull", PARENT)
        table = json.loads(self.succeeds("variants", "--json", "--ctx", "8192"))["variants"]
        self.assertEqual([row["name"] for row in table if row["downloaded"]],
                         ["TurboQuant-MLX-4bit", "TurboQuant-MLX-4bit-TQ-KV"])
        self.assertIn("17775342336", self.succeeds("variants", "--json"))
        self.assertIn("TurboQuant-GGUF-Q8_0", self.succeeds("variants"))

    def test_rm_asks_and_frees(self) -> None:
        self.succeeds("pull", "owner/big")
        self.fails(64, "-y", "rm", "owner/big")
        self.assertTrue(self.cache("owner/big").is_dir())
        self.succeeds("rm", "owner/big", "-y")
        self.assertFalse(self.cache("owner/big").exists())
        self.fails(66, "not in the cache", "rm", "owner/big", "-y")

    def test_rm_of_a_revision_keeps_what_the_other_needs(self) -> None:
        self.succeeds("pull", "owner/big")
        old = self.hub.repositories["owner/big"]
        self.addCleanup(self.hub.repositories.__setitem__, "owner/big", old)
        self.hub.repositories["owner/big"] = Repository({**old.files, "config.json": b'{"new": 1}'})
        self.hub.forget()
        self.succeeds("pull", "owner/big")
        self.assertEqual(self.asked_for_bytes(), [], "the weights are the same")
        self.succeeds("rm", "owner/big", "--revision", old.commit, "-y")
        snapshot = self.cache("owner/big") / "snapshots" / self.hub.repositories["owner/big"].commit
        self.assertEqual((snapshot / "model.safetensors").read_bytes(), old.files["model.safetensors"])
        digest = hashlib.sha1(b"blob 2\0{}").hexdigest()
        self.assertEqual((self.cache("owner/big") / "blobs" / digest).exists(), "tokenizer.json" in old.files)

    def test_rm_refuses_while_a_download_runs(self) -> None:
        self.hub.faults.append(Fault("/cdn/", "slow", value=1_000_000))
        process = self.start("pull", "owner/big")
        deadline = time.monotonic() + PATIENCE
        while not list((self.cache("owner/big") / "blobs").glob("*.incomplete")) and time.monotonic() < deadline:
            time.sleep(0.01)
        self.fails(75, "another process", "rm", "owner/big", "-y")
        process.kill()
        process.communicate(timeout=PATIENCE)
        self.succeeds("rm", "owner/big", "-y")


STATUS_DENIED, STATUS_UNAVAILABLE = 77, 68

if __name__ == "__main__":
    TERN, DEMO = (Path(argument).resolve() for argument in sys.argv[1:3])
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]], verbosity=2)
