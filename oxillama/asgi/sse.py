"""Server-sent events: their format, their keep-alives, and the end of a stream, good or bad."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import Any, Protocol

import anyio
import msgspec
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from oxillama.asgi.disconnect import until_disconnected
from oxillama.asgi.errors import HTTPError, http_error, log_failure
from oxillama.asgi.request_log import record_of

HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]
KEEP_ALIVE = b": keep-alive\n\n"
# Of a server that answers clients which have shut down their own side: an event in the scope's extensions that says so.
# Such a client may as well be gone, and only writing tells.
HALF_CLOSED = "oxillama.half_closed"
# Seconds between the comments to such a client.
HALF_CLOSED_SECONDS = 1.0
# What fails at once still has a status of its own; after these seconds the headers go out.
HEADERS_AFTER_SECONDS = 0.05
DONE = b"data: [DONE]\n\n"

# Line ends for Python's str.splitlines(), by which some clients (httpx's iter_lines() among them) take a stream apart.
# JSON need not escape them; the others that it lets through are ASCII, which it escapes.
UNUSUAL_LINE_ENDS = {"\x85".encode(): b"\\u0085", "\u2028".encode(): b"\\u2028", "\u2029".encode(): b"\\u2029"}

_encode = msgspec.json.Encoder().encode


def event(data: Any, name: str | None = None) -> bytes:
    """One event with its data in JSON, which has no line breaks of its own."""
    head = b"" if name is None else b"event: " + name.encode() + b"\n"
    return head + b"data: " + _json(data) + b"\n\n"


def _json(data: Any) -> bytes:
    body: bytes = _encode(data)
    if not body.isascii():
        for character, escape in UNUSUAL_LINE_ENDS.items():
            body = body.replace(character, escape)
    return body


class Envelope:
    """Events of one reply, which differ in their choices only: all the rest is written once. `head`: not empty."""

    def __init__(self, head: Mapping[str, Any]) -> None:
        self._before = b"data: " + _json(head)[:-1] + b',"choices":['
        self._after = b"]}\n\n"

    def event(self, choice: Mapping[str, Any]) -> bytes:
        return self._before + _json(choice) + self._after


def error_event(error: HTTPError) -> bytes:
    return event(error.to_dict())


class HalfClosed(Protocol):
    """An event of the server's event loop."""

    def is_set(self) -> bool: ...
    async def wait(self) -> Any: ...


class EventStream(Response):
    """A reply of events as they come.

    It begins at once, though its first event may have to wait in the queue: what fails then becomes one last event, and
    no `[DONE]`. However it ends, `events` is closed, and `close` is called: a generator that nobody has begun to read
    has no end of its own."""

    def __init__(
        self,
        events: AsyncGenerator[bytes, None],
        *,
        keep_alive: float,
        close: Callable[[], None],
        done: bytes = DONE,
        on_error: Callable[[HTTPError], bytes] = error_event,
    ) -> None:
        self.status_code = 200
        self.background: None = None
        self._events = events
        self._keep_alive = keep_alive
        self._done = done
        self._close = close
        self._on_error = on_error

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        record_of(scope).stream = True
        half_closed = scope.get("extensions", {}).get(HALF_CLOSED)
        writer = _Writer(send, self._keep_alive, half_closed)
        try:
            await until_disconnected(receive, lambda: self._write(scope, writer), beside=writer.keep_alive)
        finally:
            self._close()

    async def _write(self, scope: Scope, writer: _Writer) -> None:
        async with aclosing(self._events) as events:
            try:
                async for part in events:
                    await writer.write(part)
            except ClientDisconnect:
                raise
            except Exception as error:
                if not writer.began:
                    raise
                reply = http_error(error)
                record_of(scope).error = reply.code or reply.type
                log_failure(scope, error, reply)
                await writer.write(self._on_error(reply))
            else:
                await writer.write(self._done)
        await writer.end()


class _Writer:
    """Sends parts of a body, one after the other, from two tasks. half_closed: whether the client has shut down its
    side, where the server can tell."""

    def __init__(self, send: Send, seconds: float, half_closed: HalfClosed | None = None) -> None:
        self._send = send
        self._seconds = seconds
        self._half_closed = half_closed
        self._lock = anyio.Lock(fast_acquire=True)
        self._last = time.monotonic()
        self.began = False

    async def write(self, part: bytes) -> None:
        if not part:
            return
        async with self._lock:
            await self._begin()
            await self._pass({"type": "http.response.body", "body": part, "more_body": True})
            self._last = time.monotonic()

    async def end(self) -> None:
        async with self._lock:
            await self._pass({"type": "http.response.body", "body": b"", "more_body": False})

    async def keep_alive(self) -> None:
        """Sends the headers, and a comment whenever nothing else has been written for a while."""
        try:
            await anyio.sleep(HEADERS_AFTER_SECONDS)
            async with self._lock:
                await self._begin()
            while True:
                wait = self._last + self._pause - time.monotonic()
                if wait > 0:
                    await self._sleep(wait)
                else:
                    await self.write(KEEP_ALIVE)
        except ClientDisconnect:
            return  # the work finds out by itself

    @property
    def _pause(self) -> float:
        is_half_closed = self._half_closed is not None and self._half_closed.is_set()
        return min(self._seconds, HALF_CLOSED_SECONDS) if is_half_closed else self._seconds

    async def _sleep(self, seconds: float) -> None:
        """Also until the client shuts down its side."""
        if self._half_closed is None or self._half_closed.is_set():
            await anyio.sleep(seconds)
            return
        with anyio.move_on_after(seconds):
            await self._half_closed.wait()

    async def _begin(self) -> None:
        if not self.began:
            self.began = True
            await self._pass({"type": "http.response.start", "status": 200, "headers": HEADERS})
            # Some servers hold the headers back until there is a body.
            await self._pass({"type": "http.response.body", "body": b"", "more_body": True})

    async def _pass(self, message: dict[str, Any]) -> None:
        try:
            await self._send(message)
        except OSError:
            # Servers of the newer specification tell it this way.
            raise ClientDisconnect from None
