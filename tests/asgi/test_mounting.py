"""The app under real servers, alone and below a host's prefix, whose own routes go on working."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import httpx2
import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.routing import Mount

from oxillama import Engine
from oxillama.asgi import create_app
from oxillama.demo import demo_path
from tests.asgi.replies import error_of
from tests.asgi.servers import running
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
                process.communicate(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()


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
    """A client that leaves a stream frees its slot."""
    # As much as the queue takes: some seconds of work, for a server that is slow to notice.
    body = {"prompt": [PROMPT] * 8, "n": 32, "max_tokens": 400, "ignore_eos": True, "seed": 1, "stream": True}
    before = client.get(f"{prefix}/admin/stats", headers=ADMIN).json()["stats"]
    with client.stream("POST", f"{prefix}/v1/completions", json=body) as reply:
        next(reply.iter_lines())

    def is_free() -> bool:
        stats = client.get(f"{prefix}/admin/stats", headers=ADMIN).json()["stats"]
        return bool(stats["running"] + stats["waiting"] + stats["queue_depth"] == 0)

    eventually(is_free)
    after = client.get(f"{prefix}/admin/stats", headers=ADMIN).json()["stats"]
    assert after["output_tokens"] - before["output_tokens"] < 400 * 8 * 32, "it was written to its end"


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


def test_below_fastapi(demo: Engine, expected: str) -> None:
    service = FastAPI()

    @service.get("/items/{name}")
    async def item(name: str) -> dict[str, str]:
        return {"name": name}

    service.mount("/llm", create_app(demo, admin_token="admin"))
    with running(service) as server, httpx2.Client(base_url=server.url, timeout=30) as client:
        assert client.get("/items/a").json() == {"name": "a"}
        assert client.get("/nope").json() == {"detail": "Not Found"}, "the host's own errors stay its own"
        check(client, "/llm", expected)
        assert "/llm" not in client.get("/openapi.json").text


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
