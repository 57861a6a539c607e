#!/usr/bin/env python3
"""The cache is the one of huggingface_hub: each finds what the other downloaded, and respects its locks.

usage: hub_check.py --tern TERN --demo FOLDER
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
from fake_hub import FakeHub, Fault, Repository  # noqa: E402

from tern_cli import Report  # noqa: E402

NAME = "majentik/Nemotron-3-Nano-Omni-30B-A3B-Reasoning-RotorQuant-MLX-8bit"
DOWNLOAD = "import sys; from huggingface_hub import snapshot_download as get; print(get(sys.argv[1]))"
SCAN = """
import json
from huggingface_hub import scan_cache_dir
found = scan_cache_dir()
print(json.dumps([[r.repo_id, sorted(f.file_name for v in r.revisions for f in v.files),
                   sorted(ref for v in r.revisions for ref in v.refs), len(found.warnings)] for r in found.repos]))
"""
LOCK = """
import sys, time
from filelock import FileLock
with FileLock(sys.argv[1]):
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""


def last_line(text: str) -> str:
    return (text.strip().splitlines() or [""])[-1]


class Programs:
    def __init__(self, tern: Path, hub: FakeHub, cache: Path) -> None:
        self.tern_path, self.hub, self.cache = tern, hub, cache

    def environment(self, **more: str) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], "HOME": str(self.cache), **self.hub.environment(self.cache), **more}

    def tern(self, *arguments: str, **more: str) -> subprocess.CompletedProcess:
        return subprocess.run([self.tern_path, *arguments], env=self.environment(**more), capture_output=True,
                              text=True, timeout=120, stdin=subprocess.DEVNULL)

    def python(self, code: str, *arguments: str, **more: str) -> subprocess.CompletedProcess:
        return subprocess.run([sys.executable, "-c", code, *arguments], env=self.environment(**more),
                              capture_output=True, text=True, timeout=120)


def tern_reads_theirs(p: Programs, report: Report) -> None:
    theirs = p.python(DOWNLOAD, NAME)
    report.add("huggingface_hub downloads", theirs.returncode == 0, last_line(theirs.stderr))
    p.hub.forget()
    info = p.tern("info", NAME + "-RQ-KV", "--json", HF_HUB_OFFLINE="1")
    kv = json.loads(info.stdout)["kv"] if info.returncode == 0 else info.stderr
    report.add("tern opens it by name", kv == "iso4" and not p.hub.requests, kv)
    pulled = p.tern("pull", NAME)
    asked = [r.path for r in p.hub.requests if "/resolve/" in r.path]
    report.add("tern pull finds nothing to do", pulled.stdout.strip() == theirs.stdout.strip() and not asked,
               f"{pulled.stdout.strip()} {asked}")
    listed = json.loads(p.tern("list", "--json").stdout)
    report.add("tern list shows it", [m["name"] for m in listed] == [NAME], str(listed))


def they_read_ours(p: Programs, report: Report) -> None:
    ours = p.tern("pull", NAME)
    report.add("tern downloads", ours.returncode == 0, last_line(ours.stderr))
    p.hub.forget()
    theirs = p.python(DOWNLOAD, NAME, HF_HUB_OFFLINE="1")
    report.add("huggingface_hub finds it offline", theirs.stdout.strip() == ours.stdout.strip(),
               theirs.stdout.strip() or theirs.stderr[-200:])
    scanned = p.python(SCAN)
    found = json.loads(scanned.stdout) if scanned.returncode == 0 else scanned.stderr
    files = sorted(p.hub.repositories[NAME].files)
    report.add("its scan sees one sound repository", found == [[NAME, files, ["main"], 0]], str(found))
    theirs = p.python(DOWNLOAD, NAME)
    fetched = [r.path for r in p.hub.requests if r.method == "GET" and ("/resolve/" in r.path or "/cdn/" in r.path)]
    report.add("online it downloads nothing again", theirs.returncode == 0 and not fetched, str(fetched))
    removed = p.tern("rm", NAME, "-y")
    left = p.python(SCAN).stdout.strip()
    report.add("tern rm leaves nothing that it sees", removed.returncode == 0 and left == "[]", left)


def locks_are_shared(p: Programs, report: Report) -> None:
    data = p.hub.repositories[NAME].files["model.safetensors"]
    lock = p.cache / "hub" / ".locks" / ("models--" + NAME.replace("/", "--")) / (
        hashlib.sha256(data).hexdigest() + ".lock")
    lock.parent.mkdir(parents=True, exist_ok=True)
    with subprocess.Popen([sys.executable, "-c", LOCK, str(lock), "2"], stdout=subprocess.PIPE, text=True) as holder:
        holder.stdout.readline()
        begun = time.monotonic()
        pulled = p.tern("pull", NAME)
        waited = time.monotonic() - begun
    report.add("tern pull waits for a lock of filelock", pulled.returncode == 0 and waited > 1,
               f"{waited:.1f} s, {last_line(pulled.stderr)}")
    with subprocess.Popen([sys.executable, "-c", LOCK, str(lock), "20"], stdout=subprocess.PIPE, text=True) as holder:
        holder.stdout.readline()
        busy = p.tern("rm", NAME, "-y")
        holder.kill()
    report.add("tern rm refuses while it is held", busy.returncode == 75, busy.stderr.splitlines()[0])
    removed = p.tern("rm", NAME, "-y")
    report.add("and removes when it is free", removed.returncode == 0, last_line(removed.stderr + removed.stdout))


def both_at_once(p: Programs, report: Report) -> None:
    p.hub.faults.append(Fault("/cdn/", "slow", value=20_000_000))
    outcomes = []
    threads = [threading.Thread(target=lambda run=run: outcomes.append(run()))
               for run in (lambda: p.tern("pull", NAME), lambda: p.python(DOWNLOAD, NAME))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    report.add("both download at once", all(o.returncode == 0 for o in outcomes),
               " ".join(o.stderr[-100:] for o in outcomes if o.returncode))
    fetched = p.hub.asked("/cdn/", "GET")
    report.add("the weights came once", len(fetched) == 1, f"{len(fetched)} times")


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--tern", type=Path, required=True)
    parser.add_argument("--demo", type=Path, required=True)
    arguments = parser.parse_args()
    report = Report()
    repository = Repository.of_folder(arguments.demo)
    for check in (tern_reads_theirs, they_read_ours, locks_are_shared, both_at_once):
        with FakeHub({NAME: repository}) as hub, tempfile.TemporaryDirectory() as cache:
            check(Programs(arguments.tern.resolve(), hub, Path(cache)), report)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
