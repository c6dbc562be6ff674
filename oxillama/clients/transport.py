"""Transports for httpx and httpx2 whose other end is an ASGI app in this process.

httpx has one of its own, which gives back a reply when it is whole. These give every piece as the app sends it."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, suppress
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any, TypeVar

import anyio
from anyio.from_thread import BlockingPortal, start_blocking_portal
from starlette.types import ASGIApp, Scope

from oxillama.clients.exchange import AppFailed, Exchange

T = TypeVar("T")


def http_library(client: type) -> ModuleType:
    """httpx or httpx2, whichever a client class of `openai` is built on."""
    for base in client.__mro__:
        root = base.__module__.partition(".")[0]
        if root in ("httpx", "httpx2"):
            return import_module(root)
    raise TypeError(f"{client.__name__} is built on neither httpx nor httpx2")


@cache
def transports(library: Any) -> tuple[type, type]:
    """The classes of a library (httpx or httpx2): a transport for its `Client`, one for its `AsyncClient`.

    Each takes the app, and may serve several clients. A reply's read timeout is the client's."""

    async def awaited(wait: Callable[[], Awaitable[T]], request: Any) -> T:
        seconds = request.extensions.get("timeout", {}).get("read")
        try:
            with anyio.move_on_after(seconds):
                return await wait()
        except AppFailed as error:
            raise library.RemoteProtocolError(str(error), request=request) from error
        raise library.ReadTimeout(f"no reply within {seconds} s", request=request)

    class AsyncBody(library.AsyncByteStream):  # type: ignore[misc]
        def __init__(self, exchange: Exchange, request: Any) -> None:
            self._exchange = exchange
            self._request = request

        async def __aiter__(self) -> AsyncIterator[bytes]:
            while (piece := await awaited(self._exchange.next_piece, self._request)) is not None:
                yield piece

        async def aclose(self) -> None:
            await self._exchange.aclose()

    class AsyncTransport(library.AsyncBaseTransport):  # type: ignore[misc]
        def __init__(self, app: ASGIApp) -> None:
            self._app = app

        async def handle_async_request(self, request: Any) -> Any:
            exchange = Exchange(self._app, _scope(request), aiter(request.stream))
            try:
                status, headers = await awaited(exchange.head, request)
            except BaseException:
                await exchange.aclose()
                raise
            return library.Response(status, headers=headers, stream=AsyncBody(exchange, request))

    class Body(library.SyncByteStream):  # type: ignore[misc]
        def __init__(self, portal: BlockingPortal, exchange: Exchange, request: Any) -> None:
            self._portal = portal
            self._exchange = exchange
            self._request = request

        def __iter__(self) -> Iterator[bytes]:
            while (piece := self._portal.call(awaited, self._exchange.next_piece, self._request)) is not None:
                yield piece

        def close(self) -> None:
            # A client that was closed before its stream has ended the event loop, and the request with it.
            with suppress(RuntimeError):
                self._portal.call(self._exchange.aclose)

    class Transport(library.BaseTransport):  # type: ignore[misc]
        def __init__(self, app: ASGIApp) -> None:
            self._app = app
            self._lock = threading.Lock()
            self._stack = ExitStack()
            self._portal: BlockingPortal | None = None

        def handle_request(self, request: Any) -> Any:
            portal = self._opened()
            scope, body = _scope(request), request.read()
            exchange = portal.call(_exchange, self._app, scope, body)
            try:
                status, headers = portal.call(awaited, exchange.head, request)
            except BaseException:
                portal.call(exchange.aclose)
                raise
            return library.Response(status, headers=headers, stream=Body(portal, exchange, request))

        def close(self) -> None:
            with self._lock:
                self._stack.close()
                self._portal = None

        def _opened(self) -> BlockingPortal:
            with self._lock:
                if self._portal is None:
                    self._portal = self._stack.enter_context(start_blocking_portal())
                return self._portal

    return Transport, AsyncTransport


async def _exchange(app: ASGIApp, scope: Scope, body: bytes) -> Exchange:
    """Made inside the event loop it belongs to."""

    async def pieces() -> AsyncIterator[bytes]:
        yield body

    return Exchange(app, scope, pieces())


def _scope(request: Any) -> Scope:
    url = request.url
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": url.scheme,
        "path": url.path,
        "raw_path": url.raw_path.partition(b"?")[0],
        "query_string": url.query,
        "root_path": "",
        "headers": [(name.lower(), value) for name, value in request.headers.raw],
        "server": (url.host, url.port),
        "client": ("127.0.0.1", 0),
    }
