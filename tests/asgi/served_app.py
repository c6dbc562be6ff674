"""What the servers of test_mounting.py serve: a host with a route of its own, and two APIs below it.

A module of its own because servers import it, in processes of theirs."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from oxillama import Engine
from oxillama.asgi import create_app
from oxillama.demo import demo_path


async def _open() -> Engine:
    return await Engine.aopen(demo_path(), n_threads=1, progress=False)


async def greet(request: Request) -> PlainTextResponse:
    return PlainTextResponse("hello from the host")


# Alone: the server runs its lifespan.
alone = create_app(_open, admin_token="admin")
# Mounted: nobody does.
mounted = Starlette(
    routes=[
        Route("/greet", greet),
        Mount("/llm", create_app(_open, admin_token="admin")),
        Mount("/deep/er", create_app(_open, model_name="other", api_keys=["key"])),
    ]
)
