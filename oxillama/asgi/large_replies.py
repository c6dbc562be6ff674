"""Replies that take long to make: made beside the event loop, and in pieces, so that nobody waits for the whole.

A thread alone is not enough: a call into C, as for the JSON of a long list, keeps the interpreter until it is over."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import anyio
import anyio.to_thread
import msgspec
from anyio.lowlevel import RunVar

from oxillama.asgi.errors import JSONResponse

T = TypeVar("T")

# Tokens, and alternatives of tokens: making and writing more of them would keep other requests of the loop waiting.
VALUES_ON_LOOP = 2048
# Each thread that is at work makes the event loop wait for its next turn with the interpreter.
THREADS = 2
# Of a list, written in one call.
BLOCK = 256
# Lists in lists: choices, data, output and content have something large in each of their few entries.
FEW = 4096
DEPTH = 4

_threads: RunVar[anyio.CapacityLimiter] = RunVar("oxillama_large_replies")
_encode = msgspec.json.Encoder().encode


async def beside(work: Callable[[], T], *, values: int) -> T:
    """What `work` returns or raises; it is done in a thread where it is about many values."""
    if values <= VALUES_ON_LOOP:
        return work()
    try:
        limiter = _threads.get()
    except LookupError:
        limiter = anyio.CapacityLimiter(THREADS)
        _threads.set(limiter)
    return await anyio.to_thread.run_sync(work, limiter=limiter)


def json_reply(content: Any, *, values: int) -> JSONResponse:
    """A reply about so many values. To be made by `beside`."""
    return JSONResponse(content if values <= VALUES_ON_LOOP else in_pieces(content))


def in_pieces(content: Any) -> msgspec.Raw:
    """The JSON of dicts and lists, in many calls."""
    parts: list[bytes] = []
    _write(content, DEPTH, parts)
    return msgspec.Raw(b"".join(parts))


def _write(value: Any, depth: int, parts: list[bytes]) -> None:
    if isinstance(value, dict) and depth >= 0:
        mark = b"{"
        for name, member in value.items():
            parts += (mark, _encode(name), b":")
            _write(member, depth - 1, parts)
            mark = b","
        parts.append(b"}" if value else b"{}")
    elif not isinstance(value, (list, tuple)):
        parts.append(_encode(value))
    elif depth > 0 and len(value) <= FEW and value and isinstance(value[0], dict):
        mark = b"["
        for member in value:
            parts.append(mark)
            _write(member, depth - 1, parts)
            mark = b","
        parts.append(b"]")
    elif len(value) <= BLOCK:
        parts.append(_encode(value))
    else:
        mark = b"["
        for start in range(0, len(value), BLOCK):
            parts += (mark, _encode(value[start : start + BLOCK])[1:-1])
            mark = b","
        parts.append(b"]")
