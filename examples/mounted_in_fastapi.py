"""An API mounted into a FastAPI service, beside a route of the service that uses the same engine directly.

Nothing depends on a lifespan here: the engine is opened by whoever comes first, and a mounted app's own lifespan would
not be run by its host. Whoever leaves before the story is told ends it: the API looks after that by itself, and the
service's own route does with `until_disconnected`.

    python examples/mounted_in_fastapi.py
"""

from __future__ import annotations

import asyncio

import uvicorn
from fastapi import FastAPI, Request, Response
from openai import AsyncOpenAI
from pydantic import BaseModel
from starlette.requests import ClientDisconnect

from oxillama import Engine
from oxillama.asgi import create_app, until_disconnected


class Title(BaseModel):
    words: str


def make_service() -> FastAPI:
    opened: asyncio.Task[Engine] | None = None

    async def engine() -> Engine:
        nonlocal opened
        opened = opened or asyncio.create_task(asyncio.to_thread(Engine.demo, n_threads=1, progress=False))
        return await opened

    service = FastAPI()

    @service.post("/story")
    async def story(title: Title, request: Request) -> dict[str, str]:
        model = await engine()
        completion = await until_disconnected(
            request.receive, lambda: model.agenerate(title.words, max_tokens=16, temperature=0)
        )
        return {"story": title.words + completion.text}

    @service.exception_handler(ClientDisconnect)
    async def nobody_is_there(request: Request, error: Exception) -> Response:
        # Nobody reads it, but middleware of the service may insist on a reply.
        return Response(status_code=499)

    # Last, so that the service's own routes come first.
    service.mount("/llm", create_app(engine, model_aliases="*"))
    return service


async def main() -> None:
    server = uvicorn.Server(uvicorn.Config(make_service(), port=0, log_level="warning"))
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    host, port = server.servers[0].sockets[0].getsockname()
    # The client tries again on its own while the engine is loading (503).
    async with AsyncOpenAI(base_url=f"http://{host}:{port}/llm/v1", api_key="none", max_retries=20) as client:
        completion = await client.completions.create(model="any", prompt="One day", max_tokens=16, temperature=0)
        print(f"through the API: One day{completion.choices[0].text}")
        answer = await client.post(f"http://{host}:{port}/story", body={"words": "One day"}, cast_to=dict)
        print(f"from the service: {answer['story']}")
    server.should_exit = True
    await serving


if __name__ == "__main__":
    asyncio.run(main())
