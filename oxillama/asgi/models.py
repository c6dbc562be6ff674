"""The models that an app serves: one, under its names."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from oxillama.asgi.errors import JSONResponse
from oxillama.asgi.service import Service


async def list_models(request: Request) -> Response:
    service = Service.of(request)
    return JSONResponse({"object": "list", "data": [_model(service, name) for name in service.model_ids]})


async def get_model(request: Request) -> Response:
    service = Service.of(request)
    name = request.path_params["id"]
    service.check_model(name)
    return JSONResponse(_model(service, name))


def _model(service: Service, name: str) -> dict[str, Any]:
    engine = service.engine
    own = service.model_id
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
        },
    }
