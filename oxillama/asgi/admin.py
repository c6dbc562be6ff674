"""Routes under the admin token: the engine's figures; adapters, which the engine cannot load yet."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from oxillama.asgi.errors import JSONResponse, not_supported
from oxillama.asgi.service import Service


async def stats(request: Request) -> Response:
    """`EngineStats`, and what the engine is. Answers in every state of the engine, so that an admin can look at it."""
    service = Service.of(request)
    engine = service.loaded_engine
    content: dict[str, object] = {"state": service.readiness(), "engine": None}
    if engine is not None:
        content["engine"] = {
            "model": service.settings.model_name or engine.name,
            "architecture": engine.architecture,
            "n_ctx": engine.n_ctx,
            "n_threads": engine.n_threads,
            "max_batch_size": engine.max_batch_size,
            "weight_bytes": engine.memory.weights,
            "kv_cache_bytes": engine.memory.kv_cache,
            "buffer_bytes": engine.memory.buffers,
        }
        content["stats"] = engine.stats().to_dict() if engine.state != "closed" else None
    return JSONResponse(content)


async def loras(request: Request) -> Response:
    raise not_supported("loading adapters")
