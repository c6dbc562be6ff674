"""Limits per key: how often, how many at once."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from oxillama import Engine
from oxillama.asgi import Limits, create_app
from oxillama.asgi.errors import HTTPError
from oxillama.asgi.throttle import Throttle
from tests.asgi.replies import error_of


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    time = [1000.0]
    monkeypatch.setattr("oxillama.asgi.throttle.monotonic", lambda: time[0])
    return time


def ask(client: TestClient, key: str = "a") -> int:
    return client.post("/tokenize", json={"content": "x"}, headers={"x-api-key": key}).status_code


def test_a_key_s_requests_per_minute_are_limited(demo: Engine, now: list[float]) -> None:
    client = TestClient(create_app(demo, api_keys=["a", "b"], limits=Limits(requests_per_minute=3)))
    assert [ask(client) for _ in range(4)] == [200, 200, 200, 429]
    reply = client.post("/tokenize", json={"content": "x"}, headers={"x-api-key": "a"})
    assert error_of(reply, 429)["code"] == "rate_limited"
    assert reply.headers["retry-after"] == "20"
    assert reply.headers["retry-after-ms"] == "20000"
    # Another key is another budget, and asking for health or models costs nothing.
    assert ask(client, "b") == 200
    assert client.get("/v1/models", headers={"x-api-key": "a"}).status_code == 200
    now[0] += 19.9
    assert ask(client) == 429
    now[0] += 0.2
    assert [ask(client), ask(client)] == [200, 429]
    # A budget that is not used does not grow above one minute's worth.
    now[0] += 3600
    assert [ask(client) for _ in range(4)] == [200, 200, 200, 429]


def test_a_wrong_key_costs_nobody_anything(demo: Engine, now: list[float]) -> None:
    client = TestClient(create_app(demo, api_keys=["a"], limits=Limits(requests_per_minute=1)))
    assert [ask(client, "wrong") for _ in range(3)] == [401] * 3
    assert ask(client) == 200


def test_what_runs_at_once_is_limited() -> None:
    async def app(scope: object, receive: object, send: object) -> None: ...

    limited = Throttle(app, limits=Limits(concurrent_requests=2))
    bucket = limited._bucket("a")
    for _ in range(2):
        limited._admit(bucket)
        bucket.running += 1
    with pytest.raises(HTTPError) as caught:
        limited._admit(bucket)
    assert caught.value.status == 429
    limited._admit(limited._bucket("b"))
    bucket.running -= 1
    limited._admit(bucket)


def test_a_request_that_fails_gives_its_place_back(demo: Engine) -> None:
    client = TestClient(create_app(demo, limits=Limits(concurrent_requests=1)))
    for _ in range(3):
        error_of(client.post("/tokenize", content=b"{"), 400)
        assert client.post("/tokenize", json={"content": "x"}).status_code == 200
