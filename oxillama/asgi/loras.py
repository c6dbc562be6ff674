"""Adapters over HTTP: what is applied to a request, and the routes under the admin token that load and unload them."""

from __future__ import annotations

import math
import os
import tempfile
from contextlib import suppress
from typing import Any

import anyio.to_thread
import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response

from oxillama.asgi.body import read_body
from oxillama.asgi.disconnect import until_disconnected
from oxillama.asgi.errors import HTTPError, JSONResponse, refusal
from oxillama.asgi.fields import FieldTable, implemented
from oxillama.asgi.request_log import RequestRecord
from oxillama.asgi.served_model import ServedModel
from oxillama.asgi.service import Service
from oxillama.engine import Engine
from oxillama.errors import AdapterError
from oxillama.results.adapters import LoraInfo

MAX_LORAS = 64  # of one request
# What may be read of a folder of PEFT's.
FOLDER_FILES = ("adapter_config.json", "adapter_model.safetensors", "adapter_model.bin")
UPLOAD = "application/octet-stream"
UPLOADED = "uploaded"  # what is told as the path of what came as a body
STATUSES = {"adapter_not_found": 404, "adapter_exists": 409, "adapter_in_use": 409}

LORA_FIELDS = implemented("lora", "adapters by `name` or `id`, each with its `scale` (1 unless given)", "llama-server")
LOAD_FIELDS = FieldTable(
    "/admin/loras",
    implemented("name", "by which requests ask for the adapter", "oxillama"),
    implemented("path", "in a directory that the server names for adapters", "oxillama"),
    implemented("scale", "what the scales of requests are multiplied with; 1 unless given", "oxillama"),
    implemented("model", "which model it is for; the first unless given", "oxillama"),
)
VLLM_LOAD_FIELDS = FieldTable(
    "/v1/load_lora_adapter",
    implemented("lora_name", "by which requests ask for the adapter", "vllm"),
    implemented("lora_path", "in a directory that the server names for adapters", "vllm"),
    implemented("model", "which model it is for; the first unless given", "oxillama"),
)
VLLM_UNLOAD_FIELDS = FieldTable(
    "/v1/unload_lora_adapter",
    implemented("lora_name", "which adapter", "vllm"),
    implemented("model", "which model it is of; the first unless given", "oxillama"),
)


class LoraChoice(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One adapter of a request's list: by its name, or by the number that GET /admin/loras tells."""

    name: str | None = None
    id: int | None = None
    scale: float = 1.0


class LoadLora(msgspec.Struct, kw_only=True):
    name: str
    path: str
    scale: float | None = None
    model: str | None = None


class LoadLoraAdapter(msgspec.Struct, kw_only=True):
    lora_name: str
    lora_path: str
    model: str | None = None


class UnloadLoraAdapter(msgspec.Struct, kw_only=True):
    lora_name: str
    model: str | None = None


def applied(
    served: ServedModel, record: RequestRecord, model: str | None, choices: list[LoraChoice] | None
) -> tuple[tuple[str, float], ...] | None:
    """What is applied to a request by its model's name and its list, added up. Writes the names into the record."""
    adapter = served.adapter_of(model)
    found = [(adapter, 1.0)] if adapter is not None else []
    if choices:
        if len(choices) > MAX_LORAS:
            raise refusal(f"lora names {len(choices)} adapters, at most {MAX_LORAS} are allowed", "lora")
        found += [_chosen(choice, f"lora[{index}]", served.engine) for index, choice in enumerate(choices)]
    record.loras += [name for name, _ in dict(found).items()]
    return tuple(found) or None


def _chosen(choice: LoraChoice, place: str, engine: Engine) -> tuple[str, float]:
    if (choice.name is None) == (choice.id is None):
        raise refusal(f"`{place}` needs either a name or an id", place)
    if not math.isfinite(choice.scale):
        raise refusal(f"`{place}.scale` is {choice.scale}, expected a finite number", f"{place}.scale")
    if choice.name is not None and engine.has_lora(choice.name):
        return choice.name, choice.scale
    for info in engine.loras if choice.id is not None else ():
        if choice.id == info.id:
            return info.name, choice.scale
    asked = f"name {choice.name!r}" if choice.name is not None else f"id {choice.id}"
    raise refusal(f"`{place}`: no adapter of the {asked} is loaded", place, code="adapter_not_found")


# --- under the admin token


async def list_loras(request: Request) -> Response:
    engine = _engine(request, request.query_params.get("model"))
    return JSONResponse({"object": "list", "data": [info.to_dict() for info in engine.loras]})


async def load_lora(request: Request) -> Response:
    """By path, with a JSON body; or the adapter's GGUF file itself as body, with `name`, `scale` and `model` in the
    query."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() == UPLOAD:
        info = await _load_upload(request)
    else:
        body = await read_body(request, LOAD_FIELDS, LoadLora)
        scale = 1.0 if body.scale is None else body.scale
        info = await _load(request, body.model, body.name, body.path, scale, "path")
    return JSONResponse(info.to_dict(), status=201)


async def unload_lora(request: Request) -> Response:
    """`name` in the path or the query; `when_idle=true` waits for its requests, `force=true` ends them. A client that
    leaves waits no longer; the adapter leaves all the same."""
    name = request.path_params.get("name") or request.query_params.get("name")
    if not name:
        raise refusal("`name` is missing: which adapter?", "name")
    options = {option: _truth(request, option) for option in ("when_idle", "force")}
    engine = _engine(request, request.query_params.get("model"))
    await until_disconnected(request.receive, lambda: _unload(engine, name, **options))
    return JSONResponse({"name": name, "object": "lora", "deleted": True})


async def load_lora_adapter(request: Request) -> Response:
    """vLLM's route."""
    body = await read_body(request, VLLM_LOAD_FIELDS, LoadLoraAdapter)
    await _load(request, body.model, body.lora_name, body.lora_path, 1.0, "lora_path")
    return PlainTextResponse(f"Success: LoRA adapter '{body.lora_name}' added successfully.")


async def unload_lora_adapter(request: Request) -> Response:
    """vLLM's route."""
    body = await read_body(request, VLLM_UNLOAD_FIELDS, UnloadLoraAdapter)
    await _unload(_engine(request, body.model), body.lora_name, when_idle=False, force=False)
    return PlainTextResponse(f"Success: LoRA adapter '{body.lora_name}' removed successfully.")


def _engine(request: Request, model: str | None) -> Engine:
    """The engine of a model by its name; without one, of the first."""
    models = Service.of(request).models
    return (models.first if model is None else models.find(model)).engine


async def _load(request: Request, model: str | None, name: str, path: str, scale: float, param: str) -> LoraInfo:
    real = confined(path, Service.of(request).settings.lora_dirs, param)
    try:
        return await _engine(request, model).aload_lora(name, real, scale=scale)
    except AdapterError as error:
        raise _reply(error) from None


async def _unload(engine: Engine, name: str, *, when_idle: bool, force: bool) -> None:
    try:
        await engine.aunload_lora(name, when_idle=when_idle, force=force)
    except AdapterError as error:
        raise _reply(error) from None


async def _load_upload(request: Request) -> LoraInfo:
    """The body goes to a file of its own, which is gone when the adapter is packed."""
    name, scale = request.query_params.get("name"), request.query_params.get("scale", "1")
    if not name:
        raise refusal("`name` is missing in the query", "name")
    try:
        number = float(scale)
    except ValueError:
        raise refusal(f"`scale` is {scale[:40]!r}, expected a number", "scale") from None
    limit = Service.of(request).limits.max_upload_bytes
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limit:
        raise _too_large(limit)
    engine = _engine(request, request.query_params.get("model"))
    descriptor, path = await anyio.to_thread.run_sync(lambda: tempfile.mkstemp(prefix="oxillama-lora-"))
    try:
        with os.fdopen(descriptor, "wb") as file:
            async for part in _body(request, limit):
                await anyio.to_thread.run_sync(file.write, part)
        try:
            return await engine.aload_lora(name, path, scale=number, origin=UPLOADED)
        except AdapterError as error:
            raise _reply(error, hidden=path) from None
    finally:
        with suppress(OSError):
            os.unlink(path)


async def _body(request: Request, limit: int) -> Any:
    size, more = 0, True
    while more:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        part = message.get("body", b"")
        size += len(part)
        if size > limit:
            raise _too_large(limit)
        yield part
        more = message.get("more_body", False)


def confined(path: str, folders: tuple[str, ...], param: str) -> str:
    """Where the path leads once every link is followed, if that lies in one of the folders. Relative paths begin in the
    first of them in which there is such a file. Says the same of what is outside, whether it is there or not."""
    if not folders:
        message = (
            "adapters are loaded by path only from directories that the server names (lora_dirs), and it names none"
        )
        raise HTTPError(403, message, param=param, code="no_lora_dirs")
    outside = HTTPError(403, "the path must lie in a directory that the server names for adapters", param=param,
                        code="path_not_allowed")  # fmt: skip
    if "\0" in path or not path:
        raise outside
    try:
        roots = [os.path.realpath(folder) for folder in folders]
        found = [os.path.realpath(os.path.join(root, path)) for root in roots]
    except (OSError, ValueError):
        raise outside from None
    inside = [place for place in found if any(_is_in(place, root) for root in roots)]
    if not inside:
        raise outside
    place = next((each for each in inside if os.path.exists(each)), inside[0])
    for name in FOLDER_FILES if os.path.isdir(place) else ():
        if not any(_is_in(os.path.realpath(os.path.join(place, name)), root) for root in roots):
            raise outside
    return place


def _is_in(place: str, root: str) -> bool:
    return place == root or place.startswith(root.rstrip(os.sep) + os.sep)


def _truth(request: Request, name: str) -> bool:
    given = request.query_params.get(name, "false").lower()
    if given not in ("true", "false", "1", "0", ""):
        raise refusal(f"`{name}` is {given[:40]!r}, expected true or false", name)
    return given in ("true", "1")


def _reply(error: AdapterError, *, hidden: str = "") -> HTTPError:
    message = str(error).replace(hidden, "the uploaded file") if hidden else str(error)
    return HTTPError(STATUSES.get(error.code or "", 400), message, param=error.param, code=error.code)


def _too_large(limit: int) -> HTTPError:
    return HTTPError(413, f"the adapter is larger than {limit} bytes", code="body_too_large")
