"""Values as Python or a model's own dialect writes them become JSON, a piece at a time."""

from __future__ import annotations

import ast
import json
import math
import re
import warnings
from collections.abc import Generator
from typing import Any

from oxillama.tools.source import Malformed, Source

_WORDS = {"True": "true", "False": "false", "None": "null", "true": "true", "false": "false", "null": "null"}
_WORD = re.compile(r"[^\s,:(){}\[\]'\"<|>=]+")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?\Z")
_SIMPLE = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", "'": "'", '"': '"', "b": "\b", "f": "\f", "a": "\a", "v": "\v"}
_HEX = {"x": 2, "u": 4, "U": 8}
_PLAIN = {quote: re.compile(rf"[^\\{quote}]+") for quote in "'\""}
_MAX_WORD = 4096
MAX_DEPTH = 200

Pieces = Generator[str | None, None, None]


def json_text(text: str) -> str:
    """A text inside the quotes of a JSON string."""
    return json.dumps(text, ensure_ascii=False)[1:-1]


def value(source: Source, quote: str = "") -> Pieces:
    """Reads one value and yields it as JSON; yields None where more of the source is needed. ``quote``: what stands
    around strings, which then have no escapes, and keys have no quotes. Raises Malformed."""
    stack: list[str] = []  # closing brackets
    while True:
        yield from source.skip_space()
        char = yield from source.peek()
        if quote and (yield from source.accept(quote)):
            yield '"'
            yield from _raw_string(source, quote)
            yield '"'
        elif char and char in "'\"" and not quote:
            yield from _string(source)
        elif char and char in "[{(" and len(stack) < MAX_DEPTH:
            source.take(1)
            stack.append("]" if char == "[" else "}" if char == "{" else ")")
            yield "{" if char == "{" else "["
            if (yield from _closed(source, stack)):
                yield from _ends(source, stack)
                if not stack:
                    return
            elif char == "{":
                yield from _key(source, quote)
                continue
            else:
                continue
            if stack[-1] == "}":
                yield from _key(source, quote)
            continue
        else:
            yield from _word(source)
        yield from _ends(source, stack)
        if not stack:
            return
        if stack[-1] == "}":
            yield from _key(source, quote)


def _closed(source: Source, stack: list[str]) -> Generator[str | None, None, bool]:
    """An empty list or object."""
    yield from source.skip_space()
    return (yield from source.peek()) == stack[-1]


def _ends(source: Source, stack: list[str]) -> Pieces:
    """What follows a value: brackets that close, then a comma."""
    while stack:
        yield from source.skip_space()
        char = yield from source.peek()
        if char == ",":
            source.take(1)
            yield from source.skip_space()
            if (yield from source.peek()) != stack[-1]:
                yield ", "
                return
            char = stack[-1]  # a comma before the end
        if char != stack[-1]:
            raise Malformed
        source.take(1)
        yield "}" if stack.pop() == "}" else "]"


def _key(source: Source, quote: str) -> Pieces:
    yield from source.skip_space()
    char = yield from source.peek()
    if quote and (yield from source.accept(quote)):
        yield '"'
        yield from _raw_string(source, quote)
        yield '"'
    elif quote:
        key = yield from source.until(":", _MAX_WORD)
        yield json.dumps(key.strip(), ensure_ascii=False)
    elif char and char in "'\"":
        yield from _string(source)
    else:
        word = yield from source.word(_WORD, _MAX_WORD)
        yield json.dumps(_WORDS.get(word, word), ensure_ascii=False)
    yield from source.skip_space()
    if not (yield from source.accept(":")):
        raise Malformed
    yield ": "


def _word(source: Source) -> Pieces:
    word = yield from source.word(_WORD, _MAX_WORD)
    yield scalar(word)


def scalar(word: str) -> str:
    """A number, a truth value or nothing as JSON. Raises Malformed."""
    if word in _WORDS:
        return _WORDS[word]
    if _NUMBER.match(word):
        return word
    try:
        found = float(word) if not word.lstrip("+-").isdigit() else int(word)
        if isinstance(found, int) or math.isfinite(found):
            return json.dumps(found)
    except (ValueError, OverflowError):
        pass
    raise Malformed


def _raw_string(source: Source, quote: str) -> Pieces:
    while True:
        piece, ended = source.before(quote)
        if piece:
            yield json_text(piece)
        if ended:
            source.take(len(quote))
            return
        if source.closed:
            raise Malformed
        yield None


def _string(source: Source) -> Pieces:
    quote = source.take(1)
    yield '"'
    while True:
        char = yield from source.peek()
        if not char:
            raise Malformed
        if char == quote:
            source.take(1)
            yield '"'
            return
        if char == "\\":
            yield json_text((yield from _escape(source)))
        else:
            yield json_text(source.match(_PLAIN[quote]))


def _escape(source: Source) -> Generator[str | None, None, str]:
    source.take(1)
    char = yield from source.peek()
    source.take(1)
    if char in _SIMPLE:
        return _SIMPLE[char]
    if char not in _HEX or not char:
        return "\\" + char
    digits = yield from source.exactly(_HEX[char])
    try:
        code = int(digits, 16)
        if 0xD800 <= code < 0xDC00 and (yield from source.accept("\\u")):
            low = int((yield from source.exactly(4)), 16)
            return (chr(code) + chr(low)).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return "\ufffd" if 0xD800 <= code < 0xE000 else chr(code)
    except (ValueError, OverflowError):
        raise Malformed from None


def whole_value(text: str, kinds: frozenset[str]) -> str:
    """The JSON of an argument that a model wrote between tags. ``kinds``: the JSON types that the schema allows; none
    where it says nothing. What is no value of these kinds is a string."""
    if kinds == {"string"}:
        return json.dumps(text, ensure_ascii=False)
    stripped = text.strip()
    found = _parsed(stripped)
    if found is not None:
        made, kind = found
        if not kinds or kind in kinds or (kind == "integer" and "number" in kinds) or "string" not in kinds:
            return made
    return json.dumps(text, ensure_ascii=False)


def _parsed(text: str) -> tuple[str, str] | None:
    try:
        return text, _kind(json.loads(text, parse_constant=_no_constant))
    except (ValueError, RecursionError):
        pass
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = ast.literal_eval(text)
        if isinstance(found, str):
            return None
        made = json.dumps(found, ensure_ascii=False, allow_nan=False)
        return made, _kind(json.loads(made))
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return None


def _no_constant(name: str) -> Any:
    raise ValueError(name)


def _kind(found: object) -> str:
    match found:
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "number"
        case str():
            return "string"
        case None:
            return "null"
        case dict():
            return "object"
    return "array"
