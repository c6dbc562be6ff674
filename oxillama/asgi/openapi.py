"""`GET /openapi.json`: the OpenAPI document of an app, made from the Structs of its bodies and the field tables."""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from http import HTTPStatus
from typing import Any, Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from oxillama.asgi.errors import JSONResponse
from oxillama.asgi.fields import Field, FieldTable
from oxillama.asgi.paths import mount_prefix
from oxillama.asgi.replies import ErrorReply
from oxillama.asgi.service import Service

Access = Literal["open", "key", "admin"]

_REFERENCE = "#/components/schemas/{name}"
# What any route may answer, by who may use it; every route that has a body may refuse it in these ways.
_ACCESS_STATUSES: dict[Access, tuple[int, ...]] = {"open": (), "key": (401, 403), "admin": (401, 403)}
_WORDS = re.compile(r"\w+")
_BODY_STATUSES = (400, 413, 415, 429)
_RATE_HEADERS = {
    "retry-after": {"description": "seconds, at most 120", "schema": {"type": "integer"}},
    "retry-after-ms": {"description": "the same in milliseconds", "schema": {"type": "integer"}},
}


@dataclass(frozen=True)
class Operation:
    """A method of a route, as the document tells it. ``statuses``: those besides 2xx that the rest does not imply."""

    method: Literal["get", "post", "delete"]
    path: str
    summary: str
    _: KW_ONLY
    access: Access = "key"
    body: type[msgspec.Struct] | None = None
    fields: FieldTable | None = None
    reply: Any = None  # a type that msgspec can describe; None: nothing but errors
    media_type: str = "application/json"
    event: Any = None  # the type of a streamed event's data
    statuses: tuple[int, ...] = ()
    parameters: tuple[str, ...] = ()  # names in the path

    def all_statuses(self) -> list[int]:
        # Unforeseen failures can happen anywhere.
        found = {500, *self.statuses, *_ACCESS_STATUSES[self.access]}
        if self.body is not None:
            found.update(_BODY_STATUSES)
        return sorted(found)


def document(operations: Sequence[Operation], *, title: str, root_path: str = "") -> dict[str, Any]:
    """The OpenAPI 3.1 document of these operations. root_path: where the app is mounted."""
    types = [type for each in operations for type in (each.body, each.reply, each.event) if type is not None]
    schemas, components = msgspec.json.schema_components([ErrorReply, *types], ref_template=_REFERENCE)
    for each in operations:
        if each.body is not None and each.fields is not None:
            _describe_fields(components[each.body.__name__], each.fields)
    schema_of = dict(zip(map(_key, [ErrorReply, *types]), schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for each in operations:
        paths.setdefault(each.path, {})[each.method] = _operation(each, schema_of)
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": importlib.metadata.version("oxillama-engine")},
        "servers": [{"url": root_path or "/"}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "header": {"type": "apiKey", "in": "header", "name": "x-api-key"},
            },
        },
    }


async def openapi(request: Request) -> Response:
    service = Service.of(request)
    operations = request.app.state.operations
    title = f"oxillama: {service.settings.model_name or 'an OpenAI-compatible API'}"
    return JSONResponse(document(operations, title=title, root_path=mount_prefix(request.scope)))


def _key(type: Any) -> Any:
    return type if isinstance(type, str) else repr(type)


def _operation(operation: Operation, schema_of: dict[Any, Any]) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    if operation.reply is not None:
        content = {operation.media_type: {"schema": schema_of[_key(operation.reply)]}}
        if operation.event is not None:
            # Each event's data is JSON of this schema; the content as a whole is a text.
            event = schema_of[_key(operation.event)]
            content["text/event-stream"] = {"schema": {"type": "string", "x-event-data": event}}
        responses["200"] = {"description": "success", "content": content}
    error = {"application/json": {"schema": schema_of[_key(ErrorReply)]}}
    for status in operation.all_statuses():
        described: dict[str, Any] = {"description": HTTPStatus(status).phrase.lower(), "content": error}
        if status == 429:
            described["headers"] = _RATE_HEADERS
        responses[str(status)] = described
    shape: dict[str, Any] = {
        "summary": operation.summary,
        "operationId": "_".join([operation.method, *_WORDS.findall(operation.path)]),
        "responses": responses,
        "security": [] if operation.access == "open" else [{"bearer": []}, {"header": []}],
    }
    if operation.body is not None:
        schema = {"$ref": _REFERENCE.format(name=operation.body.__name__)}
        shape["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    if operation.parameters:
        shape["parameters"] = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
            for name in operation.parameters
        ]
    return shape


def _describe_fields(schema: dict[str, Any], table: FieldTable) -> None:
    """Adds to a body's schema what only the table knows: the other fields, why each is what it is, and that no others
    are taken."""
    # A Struct may be shared: what the route's own table lacks is refused.
    properties = {name: each for name, each in schema["properties"].items() if name in table.fields}
    for field in table.fields.values():
        if field.status == "implemented":
            properties[field.name]["description"] = field.why
        else:
            properties[field.name] = _other_field(field)
    schema["properties"] = properties
    schema["additionalProperties"] = False


def _other_field(field: Field) -> dict[str, Any]:
    if field.status == "harmless":
        return {"description": f"ignored: {field.why}"}
    # A value that asks for nothing is accepted.
    return {"description": f"refused: {field.why}", "enum": [None, *(field.neutral or ())]}
