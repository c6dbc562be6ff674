"""`POST /v1/rerank`: how well documents answer a query. The engine cannot score pairs yet."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from oxillama.asgi.errors import not_supported


async def rerank(request: Request) -> Response:
    raise not_supported("reranking")
