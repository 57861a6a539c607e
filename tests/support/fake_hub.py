"""A hub of our own, on 127.0.0.1: as much of Hugging Face's HTTP interface as downloads need.

    with FakeHub({"owner/model": Repository({"config.json": b"{}"})}) as hub:
        subprocess.run([...], env={**os.environ, **hub.environment(cache)})

or, for a shell (prints the address, serves until its input ends):

    fake_hub.py --repo owner/model=FOLDER [--repo ...]

Large files (*.safetensors, *.gguf) are what the hub calls LFS: they are named by their SHA-256, and their
bytes come from a second server on another port, to which the first one redirects. Everything else is
named as git names blobs and sent directly. `faults` make it misbehave; `requests` says what was asked.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import socket
import sys
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

LFS_ENDINGS = (".safetensors", ".gguf")


def git_sha1(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


@dataclass
class Repository:
    """Files by path, at one commit, which the revisions name."""

    files: dict[str, bytes]
    revisions: tuple[str, ...] = ("main",)
    gated: bool = False  # only with the hub's token, and then not at all
    private: bool = False  # as if it did not exist, but for the hub's token
    bare: bool = False  # the list of files says neither sizes nor digests

    @property
    def commit(self) -> str:
        names = sorted((path, hashlib.sha256(data).hexdigest()) for path, data in self.files.items())
        return hashlib.sha1(json.dumps(names).encode()).hexdigest()

    @classmethod
    def of_folder(cls, folder: Path, **more) -> "Repository":
        files = {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*"))
                 if path.is_file()}
        return cls(files, **more)


@dataclass
class Fault:
    """What goes wrong for requests whose path contains `where`, `times` times."""

    where: str
    kind: str  # status, cut, wrong, slow, stall, long, short, more, no_ranges, other_range, html, header
    times: int = 1
    value: object = None  # status: the code; cut: bytes before the end; slow: bytes a second; header: (name, value)
    method: str = "GET"
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Request:
    method: str
    path: str
    headers: dict[str, str]
    port: int


class FakeHub:
    def __init__(self, repositories: dict[str, Repository] | None = None, token: str = "hf_secret") -> None:
        self.repositories = repositories or {}
        self.token = token
        self.faults: list[Fault] = []
        self.requests: list[Request] = []
        self.lock = threading.Lock()
        self.servers = [self._server(), self._server()]  # the hub, and where its large files are
        self.endpoint, self.cdn = (f"http://127.0.0.1:{server.server_port}" for server in self.servers)
        for server in self.servers:
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def _server(self) -> ThreadingHTTPServer:
        handler = type("Handler", (_Handler,), {"hub": self})
        return _Server(("127.0.0.1", 0), handler)

    def __enter__(self) -> "FakeHub":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        for server in self.servers:
            server.shutdown()
            server.server_close()

    def environment(self, cache: Path | str) -> dict[str, str]:
        """Variables that make a program use this hub, and `cache` alone."""
        return {"HF_ENDPOINT": self.endpoint, "HF_HOME": str(cache), "HF_HUB_CACHE": str(Path(cache) / "hub"),
                "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_XET": "1", "NO_PROXY": "127.0.0.1",
                "no_proxy": "127.0.0.1"}

    def asked(self, text: str, method: str | None = None) -> list[Request]:
        """Requests so far whose path contains `text`."""
        with self.lock:
            return [r for r in self.requests if text in r.path and method in (None, r.method)]

    def forget(self) -> None:
        with self.lock:
            self.requests.clear()
            self.faults.clear()

    def take_fault(self, method: str, path: str) -> Fault | None:
        with self.lock:
            for fault in self.faults:
                if fault.times > 0 and fault.method == method and fault.where in path:
                    fault.times -= 1
                    return fault
        return None


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)  # clients may hang up


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: FakeHub

    def log_message(self, *_) -> None:
        pass

    def do_GET(self) -> None:
        self.answer()

    def do_HEAD(self) -> None:
        self.answer()

    def answer(self) -> None:
        hub = self.hub
        with hub.lock:
            hub.requests.append(Request(self.command, self.path, dict(self.headers), self.server.server_port))
        fault = hub.take_fault(self.command, self.path)
        try:
            if fault and fault.kind == "status":
                return self.error(int(fault.value), "", fault.headers)
            url = urlsplit(self.path)
            path = unquote(url.path)
            if path.startswith("/cdn/"):
                return self.cdn(path.removeprefix("/cdn/"), fault)
            if path.startswith("/api/models/"):
                return self.api(path.removeprefix("/api/models/"), parse_qs(url.query), fault)
            if "/resolve/" in path:
                return self.resolve(*path.removeprefix("/").split("/resolve/", 1), fault)
            self.error(404, "")
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def repository(self, name: str) -> Repository | None:
        """The repository, if this request may see it; else an error has been sent."""
        repository = self.hub.repositories.get(name)
        trusted = self.headers.get("Authorization") == f"Bearer {self.hub.token}"
        if repository is None or (repository.private and not trusted):
            self.error(404 if trusted else 401, "RepoNotFound")
            return None
        if repository.gated:
            self.error(403 if trusted else 401, "GatedRepo")
            return None
        return repository

    def api(self, rest: str, query: dict[str, list[str]], fault: Fault | None) -> None:
        parts = rest.split("/")
        name, kind, revision = "/".join(parts[:2]), parts[2] if len(parts) > 2 else "revision", "main"
        if len(parts) > 3:
            revision = unquote("/".join(parts[3:]))
        repository = self.repository(name)
        if repository is None:
            return
        if revision not in (*repository.revisions, repository.commit):
            return self.error(404, "RevisionNotFound")
        entries = [self.entry(repository, path, data) for path, data in repository.files.items()]
        if kind == "tree":
            body = [{"type": "file", "path": e["rfilename"], "size": e["size"], "oid": e["blobId"],
                     **({"lfs": {"oid": e["lfs"]["sha256"], "size": e["size"], "pointerSize": 130}}
                        if "lfs" in e else {})} for e in entries]
        else:
            if "blobs" not in query or repository.bare:
                entries = [{"rfilename": e["rfilename"]} for e in entries]
            body = {"_id": "1", "id": name, "modelId": name, "sha": repository.commit, "private": False,
                    "gated": False, "tags": [], "downloads": 0, "likes": 0, "siblings": entries}
        self.send(json.dumps(body).encode(), {"Content-Type": "application/json"}, fault)

    @staticmethod
    def entry(repository: Repository, path: str, data: bytes) -> dict:
        entry = {"rfilename": path, "size": len(data), "blobId": git_sha1(data)}
        if path.endswith(LFS_ENDINGS):
            entry["lfs"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
        return entry

    def resolve(self, name: str, rest: str, fault: Fault | None) -> None:
        revision, _, path = rest.partition("/")
        repository = self.repository(name)
        if repository is None:
            return
        if revision not in (*repository.revisions, repository.commit):
            return self.error(404, "RevisionNotFound")
        headers = {"X-Repo-Commit": repository.commit}
        data = repository.files.get(path)
        if data is None:
            return self.error(404, "EntryNotFound", headers)
        if not path.endswith(LFS_ENDINGS):
            return self.send(data, {**headers, "ETag": f'"{git_sha1(data)}"'}, fault)
        digest = hashlib.sha256(data).hexdigest()
        headers |= {"X-Linked-Etag": f'"{digest}"', "X-Linked-Size": str(len(data)), "ETag": '"pointer"',
                    "Location": f"{self.hub.cdn}/cdn/{name}/{path}?signature=1"}
        self.send(b"", headers, None, 302)

    def cdn(self, rest: str, fault: Fault | None) -> None:
        owner, name, path = rest.split("/", 2)
        data = self.hub.repositories[f"{owner}/{name}"].files.get(path)
        if data is None:
            return self.error(404, "")
        self.send(data, {"Accept-Ranges": "bytes"}, fault)

    def error(self, status: int, code: str, headers: dict[str, str] | None = None) -> None:
        more = {"X-Error-Code": code} if code else {}
        self.send(b'{"error": "no"}', {**more, **(headers or {})}, None, status)

    def send(self, data: bytes, headers: dict[str, str], fault: Fault | None, status: int = 200) -> None:
        kind = fault.kind if fault else ""
        wanted = self.headers.get("Range", "")
        first = 0
        if status == 200 and wanted.startswith("bytes=") and kind != "no_ranges":
            begin, _, end = wanted.removeprefix("bytes=").partition("-")
            first = int(begin or 0)
            last = int(end) if end else len(data) - 1
            if first >= len(data):
                return self.send(b"", {"Content-Range": f"bytes */{len(data)}"}, None, 416)
            status = 206
            shown = first + 1 if kind == "other_range" else first
            headers = {**headers, "Content-Range": f"bytes {shown}-{last}/{len(data)}"}
            body = data[first:last + 1]
        else:
            body = data
        if kind == "html":
            body = b"<html>the network wants you to log in</html>"
        if kind == "wrong":
            body = bytes([body[0] ^ 1]) + body[1:] if body else body
        if kind == "more":
            body += b"excess"
        length = len(body) + {"long": 7, "short": -7}.get(kind, 0)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if kind == "header":
            self.send_header(*fault.value)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        if self.command == "HEAD":
            return
        self.write(body, fault)
        if kind in ("long", "short", "more"):
            self.close_connection = True

    def write(self, body: bytes, fault: Fault | None) -> None:
        kind = fault.kind if fault else ""
        if kind == "cut":
            self.wfile.write(body[:len(body) - int(fault.value)])
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
        elif kind == "slow":
            step = max(1, int(fault.value) // 20)
            for at in range(0, len(body), step):
                self.wfile.write(body[at:at + step])
                self.wfile.flush()
                time.sleep(0.05)
        elif kind == "stall":
            self.wfile.write(body[:len(body) // 2])
            self.wfile.flush()
            time.sleep(float(fault.value))
            self.close_connection = True
        else:
            self.wfile.write(body)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repo", action="append", default=[], metavar="OWNER/NAME=FOLDER", required=True)
    arguments = parser.parse_args()
    repositories = {}
    for text in arguments.repo:
        name, _, folder = text.partition("=")
        repositories[name] = Repository.of_folder(Path(folder))
    with FakeHub(repositories) as hub:
        print(hub.endpoint, flush=True)
        sys.stdin.read()
    return 0


if __name__ == "__main__":
    sys.exit(main())
