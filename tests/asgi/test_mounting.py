"""The app under real servers, alone and below a host's prefix, whose own routes go on working."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import httpx2
import litestar
import pytest
from fastapi import FastAPI
from hypercorn.middleware import DispatcherMiddleware
from litestar.types import Receive as LitestarReceive
from litestar.types import Scope as LitestarScope
from litestar.types import Send as LitestarSend
from quart import Quart
from starlette.applications import Starlette
from starlette.middleware.base import RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount
from starlette.testclient import TestClient
from starlette.types import ASGIApp

from oxillama import Engine
from oxillama.asgi import create_app
from oxillama.demo import demo_path
from tests.asgi.replies import error_of
from tests.asgi.servers import running
from tests.asgi.visitors import request_bytes
from tests.cli.serving import free_port
from tests.patience import eventually

REPOSITORY = Path(__file__).resolve().parent.parent.parent
PROMPT = "Once upon a time"
COMMANDS = {
    "uvicorn": ["-m", "uvicorn", "--host", "127.0.0.1", "--port", "{port}", "--log-level", "error"],
    "hypercorn": ["-m", "hypercorn", "--bind", "127.0.0.1:{port}", "--log-level", "error"],
    "hypercorn-trio": ["-m", "hypercorn", "-k", "trio", "--bind", "127.0.0.1:{port}", "--log-level", "error"],
    "granian": ["-m", "granian", "--interface", "asgi", "--port", "{port}", "--no-ws", "--log-level", "error"],
}
COMPLETION = {"prompt": PROMPT, "max_tokens": 24, "temperature": 0}
ADMIN = {"x-api-key": "admin"}


@contextmanager
def served(server: str, app: str) -> Iterator[httpx2.Client]:
    """A client of a server process that serves an app of served_app.py; ready for requests."""
    port = free_port()
    command = [sys.executable, *(part.format(port=port) for part in COMMANDS[server]), f"tests.asgi.served_app:{app}"]
    output = b""
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        try:
            with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
                eventually(
                    lambda: is_ready(process, client, "/readyz" if app == "alone" else "/llm/readyz"), seconds=60
                )
                yield client
        finally:
            process.terminate()
            try:
                output = process.communicate(timeout=20)[0]
            except subprocess.TimeoutExpired:
                process.kill()
    assert b"Traceback" not in output, output.decode()


def is_ready(process: subprocess.Popen[bytes], client: httpx2.Client, path: str) -> bool:
    assert process.poll() is None, process.communicate()[0].decode()
    try:
        return client.get(path).status_code == 200
    except httpx2.TransportError:
        return False


def streamed_text(client: httpx2.Client, prefix: str) -> str:
    body = {**COMPLETION, "stream": True}
    with client.stream("POST", f"{prefix}/v1/completions", json=body) as reply:
        assert reply.status_code == 200
        assert reply.headers["content-type"] == "text/event-stream; charset=utf-8"
        events = [line.removeprefix("data: ") for line in reply.iter_lines() if line.startswith("data: ")]
    assert events.pop() == "[DONE]"
    return "".join(json.loads(event)["choices"][0]["text"] for event in events)


def check(client: httpx2.Client, prefix: str, expected: str) -> None:
    """What every server must get right."""
    reply = client.post(f"{prefix}/v1/completions", json=COMPLETION)
    assert reply.json()["choices"][0]["text"] == expected
    assert streamed_text(client, prefix) == expected
    error_of(client.get(f"{prefix}/nope"), 404)
    error_of(client.delete(f"{prefix}/v1/models"), 405)
    error_of(client.post(f"{prefix}/v1/completions", content=b"{"), 400)
    error_of(client.post(f"{prefix}/v1/completions", content=b"x" * (17 << 20)), 413)
    assert client.get(f"{prefix}/openapi.json").json()["servers"] == [{"url": prefix or "/"}]


def check_disconnect(client: httpx2.Client, prefix: str) -> None:
    """A client that leaves frees its slot, whether its reply had begun or not."""
    # As much as the queue takes: some seconds of work, for a server that is slow to notice.
    body = {"prompt": [PROMPT] * 8, "n": 32, "max_tokens": 400, "ignore_eos": True, "seed": 1, "stream": True}
    before = client.get(f"{prefix}/admin/stats", headers=ADMIN).json()["stats"]

    def is_busy() -> bool:
        stats = client.get(f"{prefix}/admin/stats", headers=ADMIN).json()["stats"]
        return bool(stats["running"] + stats["waiting"] + stats["queue_depth"])

    with client.stream("POST", f"{prefix}/v1/completions", json=body) as reply:
        next(reply.iter_lines())
    eventually(lambda: not is_busy())
    with socket.create_connection((client.base_url.host, client.base_url.port or 80), timeout=20) as early:
        early.sendall(request_bytes(f"{prefix}/v1/completions", {**body, "stream": False}))
        eventually(is_busy)
    eventually(lambda: not is_busy())
    after = client.get(f"{prefix}/admin/stats", headers=ADMIN).json()["stats"]
    assert after["output_tokens"] - before["output_tokens"] < 2 * 400 * 8 * 32, "it was written to its end"


@pytest.fixture(scope="module")
def expected(demo: Engine) -> str:
    return demo.generate(PROMPT, max_tokens=24, temperature=0).text


@pytest.mark.parametrize("server", COMMANDS)
def test_alone(server: str, expected: str) -> None:
    with served(server, "alone") as client:
        check(client, "", expected)
        check_disconnect(client, "")


@pytest.mark.parametrize("server", COMMANDS)
def test_below_a_prefix_of_a_host(server: str, expected: str) -> None:
    with served(server, "mounted") as client:
        assert client.get("/greet").text == "hello from the host"
        check(client, "/llm", expected)
        check_disconnect(client, "/llm")
        # The other API of the same process has its own engine, key and name.
        key = {"authorization": "Bearer key"}
        error_of(client.get("/deep/er/v1/models"), 401)
        eventually(lambda: client.get("/deep/er/readyz").status_code == 200)
        assert client.get("/deep/er/v1/models", headers=key).json()["data"][0]["id"] == "other"
        reply = client.post("/deep/er/v1/completions", json=COMPLETION, headers=key)
        assert reply.json()["choices"][0]["text"] == expected


def fastapi_host(llm: ASGIApp) -> ASGIApp:
    service = FastAPI()

    @service.get("/greet")
    async def greet() -> str:
        return "hello from the host"

    @service.middleware("http")
    async def passing(request: Request, call_next: RequestResponseEndpoint) -> Response:
        return await call_next(request)

    service.mount("/llm", llm)
    return service


def litestar_host(llm: ASGIApp) -> ASGIApp:
    @litestar.get("/greet")
    async def greet() -> str:
        return "hello from the host"

    @litestar.asgi("/llm", is_mount=True, copy_scope=True)
    async def mounted(scope: LitestarScope, receive: LitestarReceive, send: LitestarSend) -> None:
        await llm(scope, receive, send)  # type: ignore[arg-type]  # the same by other names

    # Its own configuration of logging would be the whole process's.
    return litestar.Litestar([greet, mounted], logging_config=None)  # type: ignore[return-value]


def quart_host(llm: ASGIApp) -> ASGIApp:
    service = Quart("host")

    @service.get("/greet")
    async def greet() -> str:
        return "hello from the host"

    return DispatcherMiddleware({"/llm": llm, "": service})  # type: ignore[return-value, dict-item]


@pytest.mark.parametrize("host", [fastapi_host, litestar_host, quart_host])
def test_below_another_framework(demo: Engine, expected: str, host: Callable[[ASGIApp], ASGIApp]) -> None:
    llm = create_app(demo, admin_token="admin")
    with running(host(llm)) as server, httpx2.Client(base_url=server.url, timeout=30) as client:
        assert "hello from the host" in client.get("/greet").text
        error = client.get("/nope")
        assert error.status_code == 404
        assert "unknown_route" not in error.text, "the host's own errors stay its own"
        check(client, "/llm", expected)
        check_disconnect(client, "/llm")
        assert client.get("/llm/v1/models").json() == client.get("/llm/v1/models/").json()
        assert client.get("/llm/v1/models/demo").json()["id"] == "demo"
        # Whoever asks with a slash at the end needs a key and a token all the same.
        for path in ("/llm/admin/stats", "/llm/admin/stats/"):
            error_of(client.get(path), 401)
            assert client.get(path, headers=ADMIN).status_code == 200


def test_a_host_s_description_is_its_own(demo: Engine) -> None:
    assert "/llm" not in TestClient(fastapi_host(create_app(demo))).get("/openapi.json").text


def test_below_a_host_whose_lifespan_owns_the_engine(expected: str) -> None:
    engines: list[Engine] = []

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with await Engine.aopen(demo_path(), n_threads=1, progress=False) as engine:
            engines.append(engine)
            app.router.routes.append(Mount("/llm", create_app(engine)))
            yield
            assert await engine.adrain(timeout=10)

    with running(Starlette(lifespan=lifespan)) as server, httpx2.Client(base_url=server.url, timeout=30) as client:
        check(client, "/llm", expected)
    assert engines[0].state == "closed"


def test_an_app_closes_only_the_engine_that_it_made(demo: Engine) -> None:
    made: list[Engine] = []

    async def make() -> Engine:
        made.append(await Engine.aopen(demo_path(), n_threads=1, progress=False))
        return made[0]

    with running(create_app(make)) as server:
        eventually(lambda: httpx2.get(f"{server.url}/readyz").status_code == 200)
    assert made[0].state == "closed"
    with running(create_app(demo)) as server:
        assert httpx2.get(f"{server.url}/readyz").status_code == 200
    assert demo.state == "ready"
