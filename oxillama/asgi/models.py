"""The models that an app serves, each under its names."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from oxillama.asgi.errors import JSONResponse
from oxillama.asgi.served_model import ServedModel
from oxillama.asgi.service import Service


async def list_models(request: Request) -> Response:
    service = Service.of(request)
    data = [_model(service, served, name) for served in service.models for name in _names(served)]
    return JSONResponse({"object": "list", "data": data})


async def get_model(request: Request) -> Response:
    service = Service.of(request)
    name = request.path_params["id"]
    return JSONResponse(_model(service, service.model(name), name))


def _names(served: ServedModel) -> list[str]:
    """Its own, and those of its adapters."""
    adapters = [info.name for info in served.engine.loras]
    return list(dict.fromkeys([*served.ids, *adapters, *(f"{served.id}:{name}" for name in adapters)]))


def _model(service: Service, served: ServedModel, name: str) -> dict[str, Any]:
    engine = served.engine
    own = served.id
    return {
        "id": name,
        "object": "model",
        "created": service.created,
        "owned_by": "oxillama",
        "root": own,
        "parent": None if name == own else own,
        "max_model_len": engine.n_ctx,
        "meta": {
            "architecture": engine.architecture,
            "n_vocab": engine.n_vocab,
            "n_ctx": engine.n_ctx,
            "weight_bytes": engine.memory.weights,
            "capabilities": sorted(engine.capabilities),
        },
    }
