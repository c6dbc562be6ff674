"""One call of an ASGI app: the request goes in, status and headers come out, then the body piece by piece.

The app runs in a task of its own, which a slow reader holds up: one piece waits at a time. A reader that leaves is a
disconnected client to the app."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import Self

import anyio
from starlette.types import ASGIApp, Message, Scope

# An app that ignores a disconnect is cancelled after so many seconds.
PATIENCE = 5.0


class AppFailed(Exception):
    """The app raised, or ended without a whole reply; the cause is what it raised."""


class Exchange:
    """Started by `head()`, read by `next_piece()`, ended by `aclose()` or by the last piece."""

    def __init__(self, app: ASGIApp, scope: Scope, body: AsyncIterator[bytes]) -> None:
        self._app = app
        self._scope = scope
        self._body = body
        self._body_ended = False
        self._left = anyio.Event()
        self._ended = anyio.Event()
        self._cancel_scope = anyio.CancelScope()
        self._failure: BaseException | None = None
        self._is_complete = False
        # Nothing is buffered: the app's send() returns when the piece was taken.
        self._pieces_in, self._pieces = anyio.create_memory_object_stream[Message](0)

    async def head(self) -> tuple[int, list[tuple[bytes, bytes]]]:
        """Calls the app and waits for the start of its reply: status and headers."""
        _spawn(self._run)
        message = await self._next_message()
        if message["type"] != "http.response.start":
            raise AppFailed(f"the app sent {message['type']!r} before a status")
        return message["status"], [(bytes(name), bytes(value)) for name, value in message.get("headers", [])]

    async def next_piece(self) -> bytes | None:
        """The next bytes of the body, None at its end."""
        while not self._is_complete:
            message = await self._next_message()
            if message["type"] == "http.response.body":
                self._is_complete = not message.get("more_body", False)
                if piece := message.get("body", b""):
                    return bytes(piece)
        return None

    async def aclose(self) -> None:
        """Tells the app that its client has left, and waits for it to end. One that has replied may take its time."""
        self._left.set()
        self._pieces.close()
        if self._is_complete:
            return
        # A caller that is cancelled itself waits too, or an app without an ear for disconnects would run on.
        with anyio.CancelScope(shield=True, deadline=anyio.current_time() + PATIENCE):
            await self._ended.wait()
        self._cancel_scope.cancel()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _next_message(self) -> Message:
        try:
            return await self._pieces.receive()
        except (anyio.EndOfStream, anyio.ClosedResourceError):
            raise AppFailed("the app ended without a whole reply") from self._failure

    async def _run(self) -> None:
        try:
            with self._cancel_scope, self._pieces_in:
                await self._app(self._scope, self._receive, self._send)
        except Exception as error:
            self._failure = error
        finally:
            self._ended.set()
            self._pieces.close()

    async def _receive(self) -> Message:
        if not self._body_ended:
            piece = await anext(self._body, None)
            self._body_ended = piece is None
            return {"type": "http.request", "body": piece or b"", "more_body": piece is not None}
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        try:
            await self._pieces_in.send(message)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            raise OSError("the client has left") from None


def _spawn(task: Callable[[], Awaitable[None]]) -> None:
    """Runs a task that no task group owns: a response outlives the call that made it, and may be closed elsewhere."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        import trio

        trio.lowlevel.spawn_system_task(task)
    else:
        running = asyncio.ensure_future(task())
        _RUNNING.add(running)  # the event loop itself holds tasks weakly
        running.add_done_callback(_RUNNING.discard)


_RUNNING: set[asyncio.Future[None]] = set()
