"""Two engines behind one application that has routes of its own: each API is mounted below a prefix.

The application owns the engines: it opens them when it starts and drains them when it ends. The visitor is OpenAI's
own client, over the loopback.

    python examples/mounted_in_starlette.py
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from openai import AsyncOpenAI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route

from oxillama import Engine
from oxillama.asgi import Limits, create_app


def make_app() -> Starlette:
    quick = Engine.demo(n_threads=1, max_batch_size=4, progress=False)
    patient = Engine.demo(n_threads=1, progress=False)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        for engine in (quick, patient):
            await engine.adrain(timeout=10)
            await engine.aclose()

    async def load(request: Request) -> JSONResponse:
        return JSONResponse({"running": [engine.stats().running for engine in (quick, patient)]})

    return Starlette(
        routes=[
            Route("/load", load),
            Mount("/quick", create_app(quick, model_name="quick", limits=Limits(max_tokens=16))),
            Mount("/patient", create_app(patient, model_name="patient", api_keys=["secret"])),
        ],
        lifespan=lifespan,
    )


async def main() -> None:
    server = uvicorn.Server(uvicorn.Config(make_app(), port=0, log_level="warning"))
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    host, port = server.servers[0].sockets[0].getsockname()
    for name, key in (("quick", "none"), ("patient", "secret")):
        async with AsyncOpenAI(base_url=f"http://{host}:{port}/{name}/v1", api_key=key) as client:
            stream = await client.completions.create(
                model=name, prompt="Once upon a time", max_tokens=16, temperature=0, stream=True
            )
            print(f"{name}: Once upon a time", end="")
            async for chunk in stream:
                print(chunk.choices[0].text, end="", flush=True)
            print()
    server.should_exit = True
    await serving


if __name__ == "__main__":
    asyncio.run(main())
