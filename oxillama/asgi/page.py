"""The chat page: its files, and the few figures of the engine that whoever may chat may also see."""

from __future__ import annotations

import hashlib
from importlib.resources import files
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from oxillama.asgi.errors import HTTPError, JSONResponse
from oxillama.asgi.service import Service

INDEX = "index.html"
MEDIA_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "txt": "text/plain; charset=utf-8",
}
HEADERS = {
    # Nothing but the page's own files, and no way to run or send what a model wrote.
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "cross-origin-opener-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    # Asked for again each time, and answered with 304: a server's update must not meet an old script.
    "cache-control": "no-cache",
}
# Of EngineStats; the rest is for the admin.
FIGURES = (
    "queue_depth",
    "running",
    "waiting",
    "finished",
    "prompt_tokens",
    "cached_tokens",
    "output_tokens",
    "kv_blocks_free",
    "kv_blocks_cached",
    "kv_blocks_used",
)


class PageFile:
    """A file of the page, held in memory: there is no path that a request could leave the folder by."""

    def __init__(self, name: str, content: bytes) -> None:
        self.content = content
        self.media_type: str = MEDIA_TYPES[name.rpartition(".")[2]]
        self.etag: str = f'"{hashlib.blake2b(content, digest_size=12).hexdigest()}"'

    def reply(self, request: Request) -> Response:
        headers = {**HEADERS, "etag": self.etag}
        if self.etag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(self.content, media_type=self.media_type, headers=headers)


class Page:
    """The handlers of the page's routes."""

    def __init__(self) -> None:
        folder = files("oxillama.asgi").joinpath("static")
        self._files = {
            file.name: PageFile(file.name, file.read_bytes())
            for file in folder.iterdir()
            if file.name.rpartition(".")[2] in MEDIA_TYPES
        }

    async def index(self, request: Request) -> Response:
        return self._files[INDEX].reply(request)

    async def file(self, request: Request) -> Response:
        file = self._files.get(request.path_params["name"])
        if file is None:
            raise HTTPError(404, "the page has no such file")
        return file.reply(request)


async def stats(request: Request) -> Response:
    """What the page shows of the engine, also while there is none yet. Counts only, of no single request."""
    service = Service.of(request)
    served = service.models.first
    engine = served.loaded_engine
    shown: dict[str, Any] = {"state": served.readiness()}
    if engine is not None:
        figures = engine.stats().to_dict()
        shown |= {
            "model": served.name or engine.name,
            "n_ctx": engine.n_ctx,
            "n_threads": engine.n_threads,
            "engine": {name: figures[name] for name in FIGURES},
        }
    return JSONResponse(shown, headers={"cache-control": "no-store"})
