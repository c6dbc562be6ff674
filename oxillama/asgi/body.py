"""A request's body: its size, its type, its depth, its encoding, and then its fields as typed values."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

import msgspec
from msgspec import inspect
from starlette.requests import ClientDisconnect, Request

from oxillama.asgi.errors import HTTPError, refusal
from oxillama.asgi.fields import FieldTable, is_null
from oxillama.asgi.request_log import record_of
from oxillama.asgi.service import Service
from oxillama.asgi.settings import Limits
from oxillama.requests.beside import beside, beside_if_long

Body = TypeVar("Body", bound=msgspec.Struct)
T = TypeVar("T")

# Decoding more than this would keep other requests of the loop waiting.
DECODE_BYTES = 256 << 10
# Strings, whole or (in malformed text) up to the end, so that every byte is looked at once; and brackets.
_BRACKETS = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[\[\]{}]', re.DOTALL)
# The first half of a character beyond U+FFFF, without the second.
_HALF_PAIR = re.compile(rb"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])")
_JSON_TYPE = re.compile(r"application/(?:json|[\w.-]+\+json)")
# msgspec ends a message with where it was: " - at `$.messages[0].content`".
_PLACE = re.compile(r"^(?P<what>.*?)(?: - at (?P<key>`key` in )?`\$(?P<path>[^`]*)`)?$", re.DOTALL)
_FIELD = re.compile(r"`([^`]*)`")


async def read_body(request: Request, table: FieldTable, type: type[Body]) -> Body:
    """The body as a `type`. Raises HTTPError naming what is wrong with it, and where.

    The table decides on the top level's fields; the nested Structs forbid unknown ones by themselves."""
    limits = Service.of(request).limits
    _check_type(request)
    raw = await _read(request, limits.max_body_bytes)
    record_of(request.scope).body_bytes = len(raw)
    if len(raw) <= DECODE_BYTES:
        return _decode(raw, table, type, limits)
    return await beside(lambda: _decode(raw, table, type, limits), size=len(raw))


async def on_body(request: Request, work: Callable[[], T], *, tells_time: bool = True) -> T:
    """The result of work on a body that has been read, beside the event loop unless the body is small, and that tells
    how long the work takes."""
    size = record_of(request.scope).body_bytes
    return await (beside_if_long if tells_time else beside)(work, size=size)


def _check_type(request: Request) -> None:
    given = request.headers.get("content-type")
    if given is not None:
        kind, *parameters = (part.strip().lower() for part in given.split(";"))
        charsets = [part.partition("=")[2].strip('"') for part in parameters if part.startswith("charset=")]
        if not _JSON_TYPE.fullmatch(kind) or any(charset not in ("utf-8", "utf8") for charset in charsets):
            raise HTTPError(415, "the body must be JSON in UTF-8, as content-type: application/json")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise HTTPError(415, "the body must not be compressed")


async def _read(request: Request, max_bytes: int) -> bytes:
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > max_bytes:
        raise _too_large(max_bytes)
    parts, size, more = [], 0, True
    while more:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        part = message.get("body", b"")
        size += len(part)
        if size > max_bytes:
            raise _too_large(max_bytes)
        parts.append(part)
        more = message.get("more_body", False)
    return b"".join(parts)


def _too_large(max_bytes: int) -> HTTPError:
    return HTTPError(413, f"the body is larger than {max_bytes} bytes", code="body_too_large")


def _decode(raw: bytes, table: FieldTable, type: type[Body], limits: Limits) -> Body:
    raw = raw.removeprefix(codecs.BOM_UTF8)
    if not raw.strip():
        raise refusal("the body is empty, expected a JSON object", None)
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise refusal(f"the body is not UTF-8: a wrong byte at {error.start}", None, code="invalid_utf8") from None
    _check_depth(raw, limits.max_depth)
    try:
        fields = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
        table.check(fields)
        if b"null" in raw:
            raw = _leave_out_nulls(fields, type)
        return msgspec.json.decode(raw, type=type)
    except msgspec.ValidationError as error:
        raise validation_error(str(error)) from None
    except (msgspec.DecodeError, UnicodeError) as error:
        half = "; half of a surrogate pair is no character" if _HALF_PAIR.search(raw) else ""
        raise refusal(f"the body is not valid JSON: {error}{half}", None, code="invalid_json") from None
    except RecursionError:
        raise refusal("the body is nested too deeply", None) from None


def _leave_out_nulls(fields: dict[str, msgspec.Raw], type: type[Body]) -> bytes:
    """The body without what is null, in itself and in the objects that it has for options. Messages, tools and schemas
    stay as they are: their own readers know where a null says something."""
    kept = {name: raw for name, raw in fields.items() if not is_null(raw)}
    for name, info in _object_fields(type).items():
        if name in kept and b"null" in bytes(kept[name]):
            kept[name] = msgspec.Raw(msgspec.json.encode(_without_nulls(msgspec.json.decode(kept[name]), info)))
    return msgspec.json.encode(kept)


@cache
def _object_fields(type: type[msgspec.Struct]) -> dict[str, inspect.Type]:
    """The fields of a body whose values are objects, with the type that those are read as."""
    body = inspect.type_info(type)
    assert isinstance(body, inspect.StructType)
    objects = {field.encode_name: _object_type(field.type) for field in body.fields}
    return {name: info for name, info in objects.items() if info is not None}


def _object_type(info: inspect.Type) -> inspect.Type | None:
    options = info.types if isinstance(info, inspect.UnionType) else (info,)
    return next((each for each in options if isinstance(each, inspect.StructType | inspect.DictType)), None)


def _without_nulls(value: Any, info: inspect.Type) -> Any:
    """An object without its null members; what a Struct has for a member likewise, but not what is any JSON."""
    if not isinstance(value, dict):
        return value
    members = {each.encode_name: _object_type(each.type) for each in getattr(info, "fields", ())}
    kept = {key: item for key, item in value.items() if item is not None}
    return {key: _without_nulls(item, inner) if (inner := members.get(key)) else item for key, item in kept.items()}


def _check_depth(raw: bytes, max_depth: int) -> None:
    if raw.count(b"[") + raw.count(b"{") <= max_depth:
        return
    depth = 0
    for match in _BRACKETS.finditer(raw):
        first = raw[match.start()]
        if first in b"[{":
            depth += 1
            if depth > max_depth:
                raise refusal(f"the body is nested deeper than {max_depth}", None, code="too_deep")
        elif first in b"]}":
            depth -= 1


def validation_error(message: str, within: str = "") -> HTTPError:
    """msgspec's message as a refusal that names the field by its path, as clients wrote it."""
    found = _PLACE.match(message)
    what, path = (found["what"], found["path"] or "") if found else (message, "")
    path = f"{within}{path}".lstrip(".")
    # For these two msgspec says the place of the object, and the field in the message.
    if what.startswith(("Object contains unknown field", "Object missing required field")):
        name = _FIELD.search(what)
        if name:
            path = f"{path}.{name[1]}".lstrip(".")
        wording = "is not known" if "unknown" in what else "is missing"
        return refusal(f"`{path}` {wording}", path, code="unknown_field" if "unknown" in what else "missing_field")
    what = what[:1].lower() + what[1:]
    return refusal(f"`{path}`: {what}" if path else f"the body: {what}", path or None, code="invalid_value")
