"""A stand-in for huggingface.co: the few routes that fetching a file needs, over files of this machine."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """repositories: of each its files by name. gated: those that want a token."""

    repositories: Mapping[str, Mapping[str, Path]]
    gated: frozenset[str] = frozenset()
    url: str = ""
    requests: list[str] = field(default_factory=list)

    def environment(self, cache: Path, *, offline: bool = False) -> dict[str, str]:
        """What sends a program here."""
        return {
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(cache),
            "HF_HUB_OFFLINE": str(int(offline)),
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_XET": "1",
            "HF_TOKEN": "",
        }


@contextmanager
def serving_hub(
    repositories: Mapping[str, Mapping[str, Path]], *, gated: frozenset[str] = frozenset()
) -> Iterator[Hub]:
    hub = Hub(repositories, gated)

    class Handler(_Handler):
        pass

    Handler.hub = hub
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        hub.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        self.hub.requests.append(f"{self.command} {self.path}")

    def _answer(self, *, body: bool) -> None:
        parts = unquote(urlsplit(self.path).path).strip("/").split("/")
        if parts[:2] == ["api", "models"]:
            self._answer_api("/".join(parts[2:4]), parts[4:], body=body)
        elif len(parts) > 4 and parts[2] == "resolve":
            self._answer_file("/".join(parts[:2]), parts[3], "/".join(parts[4:]), body=body)
        else:
            self._fail(404, "RepoNotFound", body=body)

    def _answer_api(self, repository: str, rest: list[str], *, body: bool) -> None:
        revision = rest[1] if len(rest) > 1 else "main"
        files = self._files(repository, revision, body=body)
        if files is None:
            return
        if rest[:1] == ["tree"]:
            found: object = [{"type": "file", "path": name, "oid": "0" * 40, "size": 1} for name in files]
        else:
            found = {"id": repository, "sha": COMMIT, "siblings": [{"rfilename": name} for name in files]}
        self._send(200, json.dumps(found).encode(), {"Content-Type": "application/json"}, body=body)

    def _answer_file(self, repository: str, revision: str, name: str, *, body: bool) -> None:
        files = self._files(repository, revision, body=body)
        if files is None:
            return
        if name not in files:
            self._fail(404, "EntryNotFound", body=body)
            return
        data = files[name].read_bytes()
        etag = hashlib.sha256(data).hexdigest()
        self._send(200, data, {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "none"}, body=body)

    def _files(self, repository: str, revision: str, *, body: bool) -> Mapping[str, Path] | None:
        if repository in self.hub.gated and "authorization" not in self.headers:
            self._fail(401, "GatedRepo", body=body)
        elif repository not in self.hub.repositories:
            self._fail(401, "RepoNotFound", body=body)
        elif revision not in ("main", COMMIT):
            self._fail(404, "RevisionNotFound", body=body)
        else:
            return self.hub.repositories[repository]
        return None

    def _fail(self, status: int, code: str, *, body: bool) -> None:
        self._send(status, b"{}", {"X-Error-Code": code, "X-Error-Message": code}, body=body)

    def _send(self, status: int, data: bytes, headers: dict[str, str], *, body: bool) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if body:
            self.wfile.write(data)
