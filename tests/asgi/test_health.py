"""Health of an engine that serves, drains and is closed; what the app says of itself."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from oxillama import Engine
from oxillama.asgi import create_app
from tests.asgi.replies import error_of

NEEDS_ENGINE = ["/v1/models", "/v1/models/demo", "/props"]


def test_everything_is_well(client: TestClient) -> None:
    for path in ("/livez", "/readyz", "/health"):
        assert client.get(path).json() == {"status": "ok"}
    assert client.get("/version").json()["version"]


def test_props_describe_the_model(client: TestClient, demo: Engine) -> None:
    props = client.get("/props").json()
    assert props["default_generation_settings"]["n_ctx"] == demo.n_ctx
    assert props["default_generation_settings"]["params"]["repeat_penalty"] == 1.0
    assert props["total_slots"] == demo.max_batch_size == 32
    assert props["chat_template"] == (demo.chat_template or "")
    assert props["model_alias"] == "demo"


@pytest.mark.parametrize("state", ["draining", "closed"])
def test_an_engine_that_takes_no_requests_is_not_ready(state: str) -> None:
    with Engine.demo(n_threads=1, progress=False) as engine:
        client = TestClient(create_app(engine))
        if state == "draining":
            engine.drain()
        else:
            engine.close()
        for path in ("/readyz", "/health", *NEEDS_ENGINE):
            assert error_of(client.get(path), 503)["code"] == state
        assert client.get("/livez").status_code == 200
