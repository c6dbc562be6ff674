"""From exceptions to replies: one shape for everything that is not 2xx."""

from __future__ import annotations

import logging
import math
import traceback
from collections.abc import Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from oxillama.asgi.request_log import DISCONNECTED, record_of
from oxillama.errors import (
    ContextLengthError,
    DeadlineExceeded,
    EngineClosedError,
    EngineForkedError,
    InvalidRequestError,
    NumericalError,
    QueueFullError,
    RequestCancelled,
    UnsupportedModelError,
)

log: logging.Logger = logging.getLogger("oxillama")

_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    429: "rate_limit_error",
    501: "not_supported_error",
    503: "unavailable_error",
    504: "timeout_error",
}
MAX_RETRY_SECONDS = 120
INTERNAL = "internal_error"
FORKED = (
    "this process was forked from the one that opened the engine, whose threads stayed there: start the workers before "
    "the app is imported (gunicorn without --preload), or give create_app an async function that opens the engine"
)


class HTTPError(Exception):
    """A reply that is not 2xx, raised by whoever finds out."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        type: str | None = None,
        headers: Mapping[str, str] | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.param = param
        self.code = code
        self.type: str = type or _TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
        self.headers: dict[str, str] = dict(headers or {})
        self.extra: dict[str, Any] = dict(extra or {})

    def to_dict(self) -> dict[str, Any]:
        error = {"message": self.message, "type": self.type, "param": self.param, "code": self.code, **self.extra}
        return {"error": error}

    def to_response(self) -> Response:
        return JSONResponse(self.to_dict(), status=self.status, headers=self.headers)


class JSONResponse(Response):
    """A reply in JSON, written by msgspec."""

    def __init__(self, content: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        body = msgspec.json.encode(content)
        super().__init__(body, status, headers, media_type="application/json")


def refusal(message: str, param: str | None, *, code: str | None = None) -> HTTPError:
    """A request that cannot be served as asked, with the field that is to blame."""
    return HTTPError(400, message, param=param, code=code)


def not_supported(what: str) -> HTTPError:
    return HTTPError(501, f"{what} is not supported by this version", code="not_supported")


def too_many(message: str, *, code: str, retry_after: float) -> HTTPError:
    """429 with both of the headers that clients look for."""
    wait = min(max(retry_after, 0.001), MAX_RETRY_SECONDS)
    headers = {"retry-after": str(math.ceil(wait)), "retry-after-ms": str(math.ceil(wait * 1000))}
    return HTTPError(429, message, code=code, headers=headers)


def unavailable(message: str, *, code: str) -> HTTPError:
    return HTTPError(503, message, code=code, headers={"retry-after": "1"})


def http_error(error: BaseException) -> HTTPError:
    """The reply for an exception. An unforeseen one becomes a 500 that says nothing of what is inside."""
    match error:
        case HTTPError():
            return error
        case ContextLengthError():
            counts = {"n_prompt_tokens": error.n_prompt_tokens, "n_ctx": error.n_ctx}
            least = "at least " if error.at_least else ""
            # Client libraries recognise the case by either of the two phrases.
            message = (
                f"the request of {least}{error.n_prompt_tokens} tokens exceeds the available context size; "
                f"this model's maximum context length is {error.n_ctx} tokens"
            )
            return HTTPError(
                400,
                message,
                param=error.param,
                code="context_length_exceeded",
                type="exceed_context_size_error",
                extra=counts,
            )
        case InvalidRequestError():
            return refusal(str(error), error.param, code=error.code)
        case UnsupportedModelError():
            return HTTPError(501, str(error), code="not_supported")
        case QueueFullError():
            return too_many(str(error), code="queue_full", retry_after=error.retry_after)
        case DeadlineExceeded():
            return HTTPError(504, "the deadline of the request passed", code="deadline_exceeded")
        case EngineForkedError():
            return unavailable(FORKED, code="forked")
        case EngineClosedError():
            return unavailable("the engine is not taking requests", code="engine_closed")
        case RequestCancelled():
            return unavailable("the request was cancelled by the server", code="cancelled")
        case NumericalError():
            # Lasting: client libraries try every 500 again unless they are told not to.
            message = "the model produced numbers that are not finite for this request"
            return HTTPError(500, message, code=error.code, headers={"x-should-retry": "false"})
        case HTTPException():
            return _from_starlette(error)
    return HTTPError(500, "the server failed to answer this request", code=INTERNAL)


def _from_starlette(error: HTTPException) -> HTTPError:
    messages = {
        404: ("there is no such route", "unknown_route"),
        405: ("this route does not have that method", "method_not_allowed"),
    }
    message, code = messages.get(error.status_code, (HTTPStatus(error.status_code).phrase.lower(), None))
    return HTTPError(error.status_code, message, code=code, headers=error.headers)


class ErrorsToReplies:
    """Middleware: what is raised inside becomes a reply in the one shape, unless one has begun."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = False

        async def noticing_send(message: Message) -> None:
            nonlocal began
            began = True
            try:
                await send(message)
            except OSError:
                # Servers of the newer specification tell it this way.
                raise ClientDisconnect from None

        try:
            await self.app(scope, receive, noticing_send)
        except ClientDisconnect:
            record_of(scope).disconnected = True
            if not began:
                # Nobody is there to be told anything but a host's middleware, some kinds of which insist on a reply.
                with suppress(OSError):
                    await Response(status_code=DISCONNECTED)(scope, receive, send)
        except Exception as error:
            reply = http_error(error)
            record_of(scope).error = reply.code or reply.type
            log_failure(scope, error, reply)
            if began:
                raise
            await reply.to_response()(scope, receive, send)


def log_failure(scope: Scope, error: Exception, reply: HTTPError) -> None:
    """Writes down what nobody foresaw: where it happened, but not its message, which may quote the request's text."""
    if reply.code == INTERNAL:
        trace = "".join(traceback.format_tb(error.__traceback__))
        log.error("request %s failed: %s\n%s", record_of(scope).id, type(error).__name__, trace)
    elif isinstance(error, NumericalError):
        log.error("request %s failed: %s", record_of(scope).id, error)
