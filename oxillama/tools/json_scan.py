"""JSON as it comes: where one value ends. It is handed on as it was written, and not checked beyond its brackets."""

from __future__ import annotations

import json
import re
from collections.abc import Generator

from oxillama.tools.source import Malformed, Source, Waiting

# Whole strings and what is no bracket; possessive, so that nothing is looked at twice.
_FLAT = re.compile(r'(?:[^"{}\[\]]++|"(?:[^"\\]++|\\.)*+")*+', re.DOTALL)
_INSIDE = re.compile(r'(?:[^"\\]++|\\.)*+', re.DOTALL)
_SCALAR = re.compile(r"[-+.\w]+")
_CLOSING = {"{": "}", "[": "]"}
_MAX_SCALAR = 4096
_MAX_STRING = 1 << 16

Pieces = Generator[str | None, None, None]


def raw_value(source: Source) -> Pieces:
    """The text of one value in pieces; None where more of the source is needed. Raises Malformed."""
    char = yield from source.peek()
    if char == '"':
        yield source.take(1)
        yield from _rest_of_string(source)
    elif char and char in "{[":
        yield from _nested(source)
    else:
        yield (yield from source.word(_SCALAR, _MAX_SCALAR))


def _nested(source: Source) -> Pieces:
    closing: list[str] = []
    while True:
        buffer, start = source.buffer, source.position
        position = start
        while True:
            found = _FLAT.match(buffer, position)
            position = found.end() if found else position
            char = buffer[position : position + 1]
            if char == "" or char == '"':
                break
            position += 1
            if char in _CLOSING:
                closing.append(_CLOSING[char])
            elif closing.pop() != char:
                yield source.take(position - 1 - start)
                raise Malformed
            if not closing:
                yield source.take(position - start)
                return
        if char == '"':
            # A string that is not here as a whole.
            yield source.take(position + 1 - start)
            yield from _rest_of_string(source)
            continue
        yield source.take(position - start)
        if source.closed:
            raise Malformed
        yield None


def _rest_of_string(source: Source) -> Pieces:
    while True:
        text = source.match(_INSIDE)
        if text:
            yield text
        if source.buffer.startswith('"', source.position):
            yield source.take(1)
            return
        if source.closed:
            raise Malformed
        yield None


def read_string(source: Source) -> Waiting[str]:
    """What a short string says. Raises Malformed where there is none here."""
    if (yield from source.peek()) != '"':
        raise Malformed
    pieces: list[str] = []
    size = 0
    for piece in raw_value(source):
        if piece is None:
            yield None
            continue
        pieces.append(piece)
        size += len(piece)
        if size > _MAX_STRING:
            raise Malformed
    try:
        said = json.loads("".join(pieces), strict=False)
    except (ValueError, RecursionError):
        raise Malformed from None
    if not isinstance(said, str):
        raise Malformed
    return said.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def read_raw(source: Source) -> Waiting[str]:
    """The text of one value as a whole."""
    pieces: list[str] = []
    for piece in raw_value(source):
        if piece is None:
            yield None
        else:
            pieces.append(piece)
    return "".join(pieces)
