"""The engine behind an app: who opens and closes it, and how a worker that sticks is noticed."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
from httpx2 import ASGITransport, AsyncClient
from starlette.testclient import TestClient

from oxillama import Engine, ModelLoadError
from oxillama.asgi import create_app, served_model
from oxillama.asgi.served_model import _StallWatch
from oxillama.demo import demo_path
from tests.asgi.replies import error_of
from tests.patience import eventually

NEEDS_ENGINE = ["/v1/models", "/v1/models/demo", "/props"]


def test_a_factory_is_called_with_the_lifespan_and_its_engine_closed_with_it() -> None:
    allowed = asyncio.Event()
    made: list[Engine] = []

    async def factory() -> Engine:
        await allowed.wait()
        made.append(Engine.demo(n_threads=1, progress=False))
        return made[0]

    with TestClient(create_app(factory)) as client:
        assert client.get("/livez").status_code == 200
        for path in ("/readyz", "/health", *NEEDS_ENGINE):
            error = error_of(client.get(path), 503)
            assert error["code"] == "loading"
        assert client.get("/health").headers["retry-after"] == "1"
        error_of(client.post("/tokenize", json={"content": "a"}), 503)
        assert client.portal is not None
        client.portal.call(allowed.set)
        eventually(lambda: client.get("/readyz").status_code == 200)
        for path in NEEDS_ENGINE:
            assert client.get(path).status_code == 200
        states = [made[0].state]
    assert [*states, made[0].state] == ["ready", "closed"]


def test_without_a_lifespan_the_first_request_opens_the_engine() -> None:
    calls = []

    async def factory() -> Engine:
        calls.append(1)
        return await Engine.aopen(demo_path(), n_threads=1)

    async def ask() -> None:
        app = create_app(factory)
        async with AsyncClient(transport=ASGITransport(app), base_url="http://test") as client:
            assert calls == []
            statuses = {(await client.get("/readyz")).status_code for _ in range(3)}
            assert statuses <= {503, 200}
            while (await client.get("/readyz")).status_code != 200:
                await asyncio.sleep(0.01)
            assert calls == [1]
        await app.state.service.loaded_engine.aclose()

    asyncio.run(ask())


def test_a_factory_that_fails_stays_failed(caplog: pytest.LogCaptureFixture) -> None:
    async def factory() -> Engine:
        raise ModelLoadError("the file is damaged")

    with TestClient(create_app(factory)) as client:
        eventually(lambda: client.get("/readyz").json()["error"]["code"] == "failed")
        error_of(client.get("/v1/models"), 503)
        assert client.get("/livez").status_code == 200
    assert "the file is damaged" in caplog.text


def test_leaving_while_loading_ends_the_loading() -> None:
    ended: list[bool] = []

    async def factory() -> Engine:
        try:
            await asyncio.sleep(3600)
        finally:
            ended.append(True)
        raise AssertionError

    with TestClient(create_app(factory)) as client:
        error_of(client.get("/readyz"), 503)
    assert ended == [True]


def test_a_given_engine_is_not_closed_by_the_app(demo: Engine) -> None:
    with TestClient(create_app(demo)) as client:
        assert client.get("/readyz").status_code == 200
    assert demo.state == "ready"


def test_a_worker_that_does_not_move_is_noticed(demo: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("oxillama.asgi.served_model.monotonic", lambda: now)
    stats = replace(demo.stats(), running=1, steps=5)
    engine = cast(Any, SimpleNamespace(stats=lambda: stats))
    watch = _StallWatch()
    assert not watch.is_stalled(engine)
    now += served_model.STALL_SECONDS - 1
    assert not watch.is_stalled(engine)
    now += 2
    assert watch.is_stalled(engine)
    stats = replace(stats, steps=6)
    assert not watch.is_stalled(engine)
    now += served_model.STALL_SECONDS + 1
    assert watch.is_stalled(engine)
    stats = replace(stats, running=0)  # nothing to do is no stall
    assert not watch.is_stalled(engine)
    now += served_model.STALL_SECONDS + 1
    stats = replace(stats, running=1)  # nor is a request that has just come, however long nobody had asked
    assert not watch.is_stalled(engine)


FORKED = """
import os, sys
from starlette.testclient import TestClient
from oxillama import Engine
from oxillama.asgi import create_app

app = create_app(Engine.demo(n_threads=1))
child = os.fork()
if child:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
client = TestClient(app)
for method, path in (("GET", "/readyz"), ("GET", "/v1/models"), ("POST", "/v1/completions")):
    reply = client.request(method, path, json={"prompt": "a"} if method == "POST" else None)
    print(reply.status_code, reply.json()["error"]["code"], reply.json()["error"]["message"], flush=True)
print(client.get("/livez").status_code, client.get("/metrics").status_code, flush=True)
os._exit(0)
"""


def test_a_worker_that_was_forked_from_the_engine_s_process_says_what_to_do() -> None:
    done = subprocess.run([sys.executable, "-c", FORKED], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    *refused, rest = done.stdout.splitlines()
    assert len(refused) == 3
    for line in refused:
        assert line.startswith("503 forked ")
        assert "gunicorn without --preload" in line
        assert "async function" in line
    assert rest == "200 200"
