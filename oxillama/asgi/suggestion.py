"""A reply to a path that is no route, with the route that was probably meant."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence

from starlette.requests import Request
from starlette.routing import Route

from oxillama.asgi.errors import HTTPError
from oxillama.asgi.paths import mount_prefix, route_path

# What other programs call a route: Ollama, llama-server, vLLM, text-generation-inference, Anthropic, and health checks.
_OTHER_NAMES = {
    "/api/chat": "/v1/chat/completions",
    "/api/generate": "/v1/completions",
    "/api/embed": "/v1/embeddings",
    "/api/embeddings": "/v1/embeddings",
    "/api/tags": "/v1/models",
    "/api/show": "/v1/models",
    "/api/ps": "/v1/models",
    "/completion": "/v1/completions",
    "/infill": "/v1/completions",
    "/generate": "/v1/completions",
    "/generate_stream": "/v1/completions",
    "/embedding": "/v1/embeddings",
    "/pooling": "/v1/embeddings",
    "/chat": "/v1/chat/completions",
    "/messages": "/v1/chat/completions",
    "/messages/count_tokens": "/tokenize",
    "/reranking": "/v1/rerank",
    "/score": "/v1/rerank",
    "/slots": "/metrics",
    "/lora-adapters": "/admin/loras",
    "/load_lora_adapter": "/admin/loras",
    "/unload_lora_adapter": "/admin/loras",
    "/info": "/props",
    "/get_model_info": "/props",
    "/ping": "/livez",
    "/live": "/livez",
    "/liveness": "/livez",
    "/healthz": "/health",
    "/ready": "/readyz",
    "/readiness": "/readyz",
    "/docs": "/openapi.json",
    "/redoc": "/openapi.json",
    "/swagger": "/openapi.json",
}
# Longer paths are nobody's slip of the pen, and comparing them would take long.
MAX_LENGTH = 128
# Shares of characters in common: one that is surely a slip, and one that is taken for one if there is nothing better.
VERY_SIMILAR = 0.9
SIMILAR = 0.8
_SLASHES = re.compile("/{2,}")


def unknown_route(request: Request) -> HTTPError:
    """The 404 for a request that no route has taken."""
    prefix = mount_prefix(request.scope)
    routes = [route.path for route in request.app.routes if isinstance(route, Route) and "{" not in route.path]
    meant = suggested(route_path(request.scope), routes)
    hint = f"GET {prefix}/openapi.json lists them" if meant is None else f"{prefix}{meant} is probably what was meant"
    return HTTPError(404, f"there is no such route; {hint}", code="unknown_route")


def suggested(path: str, routes: Sequence[str]) -> str | None:
    """The route that a path is another name of, is the end of, or looks like; None for a path that is like none."""
    if len(path) > MAX_LENGTH:
        return None
    path = _SLASHES.sub("/", path.strip().lower()).removesuffix("/")
    return (
        _called(path, routes)
        or _like(path, routes, VERY_SIMILAR)
        or next((found for end in _ends(path) if (found := _called(end, routes))), None)
        or _like(path, routes, SIMILAR)
    )


def _called(path: str, routes: Sequence[str]) -> str | None:
    """The route of exactly this name: its own, without the version in front, or another program's."""
    if path in routes:
        return path
    return f"/v1{path}" if f"/v1{path}" in routes else _OTHER_NAMES.get(path)


def _like(path: str, routes: Sequence[str], share: float) -> str | None:
    for spelled in (path, f"/v1{path}"):
        for found in difflib.get_close_matches(spelled, routes, n=1, cutoff=share):
            return found
    return None


def _ends(path: str) -> Iterable[str]:
    """What is left of a path without its first parts, the longest first: prefixes of proxies, of deployments, of other
    programs' routes."""
    parts = path.split("/")
    return ("/" + "/".join(parts[first:]) for first in range(2, len(parts)))
