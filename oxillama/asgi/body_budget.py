"""How much of large bodies an app holds at once, over all requests."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from oxillama.asgi.errors import unavailable

# Of one body, not counted: those who say little are never refused because others say much.
FREE_BYTES = 64 << 10


class BodyBudget:
    """Middleware: a body counts from its arrival to the end of its request. What would go beyond is a 503.

    Bodies in work wait in order for a thread (`oxillama.requests.beside`); this bounds what waits."""

    def __init__(self, app: ASGIApp, *, max_bytes: int) -> None:
        self.app = app
        self._max_bytes = max_bytes
        self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        size = held = 0

        async def counting() -> Message:
            nonlocal size, held
            message = await receive()
            size += len(message.get("body", b"")) if message["type"] == "http.request" else 0
            more = max(0, size - FREE_BYTES) - held
            if self._held + more > self._max_bytes:
                raise unavailable("too many large requests are being read, try again later", code="bodies_full")
            held += more
            self._held += more
            return message

        try:
            await self.app(scope, counting, send)
        finally:
            self._held -= held
