"""One record per request: its id, what came of it, how long it took. It becomes a log line and feeds metrics."""

from __future__ import annotations

import json
import logging
import re
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from oxillama.asgi.paths import route_path
from oxillama.asgi.token_gaps import TokenGaps
from oxillama.results.completion import Timings, Usage

log: logging.Logger = logging.getLogger("oxillama.access")

_RECORD = "oxillama.record"
_GIVEN_ID = re.compile(r"[A-Za-z0-9._:\-]{1,128}")
# What no client has seen: it left before there was a status.
DISCONNECTED = 499
# What orchestrators and Prometheus ask.
PROBES = frozenset({"/livez", "/readyz", "/health", "/metrics"})


@dataclass
class RequestRecord:
    """What is known of a request so far. Times are of the monotonic clock, in seconds."""

    id: str
    method: str
    path: str
    started: float = field(default_factory=time.monotonic)
    body_bytes: int = 0
    route: str | None = None  # the template of the path, for metrics; None: no such route
    status: int | None = None
    first_byte: float | None = None
    finished: float | None = None
    key: str | None = None  # which key, never the key
    model: str | None = None
    loras: list[str] = field(default_factory=list)  # adapters that are applied to it
    stream: bool = False
    error: str | None = None
    disconnected: bool = False
    usages: list[Usage] = field(default_factory=list)
    timings: list[Timings] = field(default_factory=list)
    finish_reasons: list[str] = field(default_factory=list)
    token_gaps: TokenGaps = field(default_factory=TokenGaps)
    headers: dict[str, str] = field(default_factory=dict)  # of the reply, besides its own

    @property
    def logged_status(self) -> int:
        """The status, or why there is none that anybody has seen."""
        return DISCONNECTED if self.disconnected else self.status or 500

    @property
    def seconds(self) -> float:
        return (self.finished or time.monotonic()) - self.started

    def to_dict(self) -> dict[str, object]:
        shown: dict[str, object] = {
            "request_id": self.id,
            "method": self.method,
            "path": self.path,
            "status": self.logged_status,
            "seconds": round(self.seconds, 6),
        }
        if self.first_byte is not None:
            shown["first_byte_seconds"] = round(self.first_byte - self.started, 6)
        if self.usages:
            shown["prompt_tokens"] = sum(usage.prompt_tokens for usage in self.usages)
            shown["cached_tokens"] = sum(usage.cached_tokens for usage in self.usages)
            shown["completion_tokens"] = sum(usage.completion_tokens for usage in self.usages)
        for name in ("key", "model", "loras", "error", "finish_reasons"):
            if getattr(self, name):
                shown[name] = getattr(self, name)
        if self.stream:
            shown["stream"] = True
        return shown


def record_of(scope: Scope) -> RequestRecord:
    """The record of a request, made by `RequestLog`."""
    record = scope[_RECORD]
    assert isinstance(record, RequestRecord)
    return record


class RequestLog:
    """Middleware: gives a request its id and its record, and hands the finished record on."""

    def __init__(self, app: ASGIApp, *, observe: Callable[[RequestRecord], None]) -> None:
        self.app = app
        self._observe = observe

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        record = RequestRecord(id=_request_id(scope), method=scope["method"], path=route_path(scope))
        scope[_RECORD] = record

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start" and not record.disconnected:
                record.status = message["status"]
                record.first_byte = time.monotonic()
                headers = MutableHeaders(scope=message)
                headers["x-request-id"] = record.id
                headers.update(record.headers)
                headers["openai-processing-ms"] = str(round(record.seconds * 1000))
            await send(message)

        try:
            await self.app(scope, receive, send_with_id)
        finally:
            record.finished = time.monotonic()
            self._observe(record)
            if not _is_probe(record):
                log.info("%s", AccessLine(record))


def _is_probe(record: RequestRecord) -> bool:
    """Asked every few seconds, and only worth a line where it went wrong."""
    return record.route in PROBES and record.logged_status < 400


class AccessLine:
    """The log line, written only if somebody listens."""

    def __init__(self, record: RequestRecord) -> None:
        self._record = record

    def __str__(self) -> str:
        return json.dumps(self._record.to_dict())

    def fields(self) -> dict[str, object]:
        """For logs that have fields of their own."""
        return self._record.to_dict()


def _request_id(scope: Scope) -> str:
    given = Headers(scope=scope).get("x-request-id", "")
    # Anything else could forge log lines.
    return given if _GIVEN_ID.fullmatch(given) else f"req_{uuid.uuid4().hex}"
