"""A local server that speaks the protocol of the model hub, well or badly.

It knows what ``huggingface_hub`` asks: ``/api/models/ID/revision/REV``, ``/api/models/ID/tree/REV``, and ``HEAD``
and ``GET`` of ``/ID/resolve/REV/FILE`` with ``ETag``, ``X-Repo-Commit`` and ``Range``. Large files have the SHA-256
of their content as their tag, as in Git LFS; small ones the hash that git gives them.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LARGE = 20_000


@dataclass
class HubServer:
    """What the hub has, how it misbehaves, and what it was asked.

    Attributes:
        url: For ``HF_ENDPOINT``.
        model: Id of the only model.
        files: Its files.
        gated: The model is gated, and no token is good enough.
        corrupt: Files that are sent with one wrong byte.
        cut: Files that break off in the middle once.
        down: Every request is answered with 503.
        requests: (method, path, Range header) of every request.
    """

    url: str
    model: str
    files: dict[str, bytes]
    gated: bool = False
    corrupt: set[str] = field(default_factory=set)
    cut: set[str] = field(default_factory=set)
    down: bool = False
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)

    def sent(self, name: str) -> list[str | None]:
        """Range headers of the downloads of a file."""
        return [r for method, path, r in self.requests if method == "GET" and path.endswith(f"/{name}")]


def tag(content: bytes) -> str:
    """The tag of a file: SHA-256 of a large one, git's hash of a small one."""
    if len(content) >= LARGE:
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def folder_files(folder: Path) -> dict[str, bytes]:
    """The files of a model folder."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


class _Handler(BaseHTTPRequestHandler):
    """Answers for one hub; bound to it by a subclass with its self.state."""

    state: HubServer
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, with_body: bool) -> None:
        path = self.path.split("?")[0]
        self.state.requests.append((self.command, path, self.headers.get("Range")))
        if self.state.down:
            self._send(503, {}, b"busy", with_body)
        elif path.startswith(f"/api/models/{self.state.model}"):
            self._facts(path, with_body)
        elif path.startswith(f"/{self.state.model}/resolve/"):
            self._file(path, with_body)
        else:
            self._refuse(404, "RepoNotFound", "Repository not found", with_body)

    def _facts(self, path: str, with_body: bool) -> None:
        if "/tree/" in path:
            self._send(200, {"Content-Type": "application/json"}, json.dumps(self._tree()).encode(), with_body)
            return
        revision = path.partition("/revision/")[2] or "main"
        if revision not in {"main", COMMIT}:
            self._refuse(404, "RevisionNotFound", "Invalid rev id", with_body)
            return
        facts = {
            "_id": "1",
            "id": self.state.model,
            "modelId": self.state.model,
            "sha": COMMIT,
            "private": False,
            "gated": "manual" if self.state.gated else False,
            "tags": [],
            "downloads": 1,
            "likes": 1,
            "siblings": [{"rfilename": name} for name in self.state.files],
        }
        self._send(200, {"Content-Type": "application/json"}, json.dumps(facts).encode(), with_body)

    def _tree(self) -> list[dict[str, object]]:
        rows: list[dict[str, object]] = []
        for name, content in self.state.files.items():
            row: dict[str, object] = {"type": "file", "path": name, "size": len(content), "oid": tag(content)[:40]}
            if len(content) >= LARGE:
                row["lfs"] = {"oid": tag(content), "size": len(content), "pointerSize": 134}
            rows.append(row)
        return rows

    def _file(self, path: str, with_body: bool) -> None:
        name = path.split("/resolve/")[1].partition("/")[2]
        if self.state.gated:
            self._refuse(403, "GatedRepo", "Access to this model is restricted", with_body)
            return
        if name not in self.state.files:
            self._refuse(404, "EntryNotFound", "Entry not found", with_body)
            return
        content = self.state.files[name]
        headers = {"ETag": f'"{tag(content)}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        if name in self.state.corrupt:
            content = bytes([content[0] ^ 1]) + content[1:]
        start, code = 0, 200
        if wanted := self.headers.get("Range"):
            start, code = int(wanted.removeprefix("bytes=").split("-")[0]), 206
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        if with_body and name in self.state.cut:
            self.state.cut.discard(name)
            self._break_off(code, headers, content[start:])
            return
        self._send(code, headers, content[start:], with_body)

    def _refuse(self, code: int, kind: str, message: str, with_body: bool) -> None:
        self._send(code, {"X-Error-Code": kind, "X-Error-Message": message}, b"{}", with_body)

    def _send(self, code: int, headers: dict[str, str], body: bytes, with_body: bool) -> None:
        self._head(code, headers, len(body))
        if with_body:
            self.wfile.write(body)

    def _break_off(self, code: int, headers: dict[str, str], body: bytes) -> None:
        self._head(code, headers, len(body))
        self.wfile.write(body[: len(body) // 2])
        self.wfile.flush()
        self.close_connection = True

    def _head(self, code: int, headers: dict[str, str], length: int) -> None:
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def hub_server(model: str, files: dict[str, bytes]) -> Iterator[HubServer]:
    """A running hub with one model, on a free port of this machine."""
    state = HubServer("", model, files)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (_Handler,), {"state": state}))
    server.daemon_threads = True
    state.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
