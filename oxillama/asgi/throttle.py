"""How often, and how many at once, one key may ask the model for something. Off unless a limit is set."""

from __future__ import annotations

from dataclasses import dataclass
from time import monotonic

from starlette.types import ASGIApp, Receive, Scope, Send

from oxillama.asgi.authentication import ADMIN_PREFIX
from oxillama.asgi.errors import too_many
from oxillama.asgi.paths import route_path
from oxillama.asgi.request_log import record_of
from oxillama.asgi.settings import Limits

# Nobody knows how long the running requests of a key still take; clients should not ask all the time.
CONCURRENCY_RETRY_SECONDS = 1.0


@dataclass
class _Bucket:
    """A key's tokens: one per request, refilled evenly, at most one minute's worth."""

    tokens: float
    filled: float
    running: int = 0


class Throttle:
    """Middleware over the POST routes that work for a key. Without API keys all requests count as one key's."""

    def __init__(self, app: ASGIApp, *, limits: Limits) -> None:
        self.app = app
        self._per_minute = limits.requests_per_minute
        self._max_running = limits.concurrent_requests
        self._buckets: dict[str, _Bucket] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST" or route_path(scope).startswith(ADMIN_PREFIX):
            await self.app(scope, receive, send)
            return
        bucket = self._bucket(record_of(scope).key or "")
        self._admit(bucket)
        bucket.running += 1
        try:
            await self.app(scope, receive, send)
        finally:
            bucket.running -= 1

    def _bucket(self, key: str) -> _Bucket:
        # Keys are those of the settings, so there are never more buckets than keys.
        if key not in self._buckets:
            self._buckets[key] = _Bucket(tokens=self._capacity, filled=monotonic())
        return self._buckets[key]

    @property
    def _capacity(self) -> float:
        return max(1.0, self._per_minute or 1.0)

    def _admit(self, bucket: _Bucket) -> None:
        if self._max_running is not None and bucket.running >= self._max_running:
            message = f"{bucket.running} requests of this key are running already"
            raise too_many(message, code="rate_limited", retry_after=CONCURRENCY_RETRY_SECONDS)
        if self._per_minute is None:
            return
        now = monotonic()
        per_second = self._per_minute / 60
        bucket.tokens = min(self._capacity, bucket.tokens + (now - bucket.filled) * per_second)
        bucket.filled = now
        if bucket.tokens < 1:
            wait = (1 - bucket.tokens) / per_second
            message = f"more than {self._per_minute:g} requests per minute"
            raise too_many(message, code="rate_limited", retry_after=wait)
        bucket.tokens -= 1
