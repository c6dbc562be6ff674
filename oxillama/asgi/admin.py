"""Routes under the admin token: the engine's figures; those of adapters are in loras.py."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from oxillama.asgi.errors import JSONResponse
from oxillama.asgi.served_model import ServedModel
from oxillama.asgi.service import Service


async def stats(request: Request) -> Response:
    """`EngineStats`, and what the engine is. Answers in every state of the engine, so that an admin can look at it."""
    models = Service.of(request).models
    content = _stats(models.first)
    if len(models) > 1:
        content["models"] = {served.name: _stats(served) for served in models}
    return JSONResponse(content)


def _stats(served: ServedModel) -> dict[str, object]:
    engine = served.loaded_engine
    content: dict[str, object] = {"state": served.readiness(), "engine": None}
    if engine is not None:
        content["engine"] = {
            "model": served.name or engine.name,
            "architecture": engine.architecture,
            "n_ctx": engine.n_ctx,
            "n_threads": engine.n_threads,
            "max_batch_size": engine.max_batch_size,
            "weight_bytes": engine.memory.weights,
            "kv_cache_bytes": engine.memory.kv_cache,
            "buffer_bytes": engine.memory.buffers,
        }
        content["stats"] = engine.stats().to_dict() if engine.state != "closed" else None
    return content
