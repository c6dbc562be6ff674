"""Requests from pages of other origins: refused, allowed, and readable when they fail."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from oxillama import Engine
from oxillama.asgi import create_app
from tests.asgi.replies import error_of

ORIGIN = "https://page.example"


def test_it_is_off_by_default(client: TestClient) -> None:
    reply = client.get("/v1/models", headers={"origin": ORIGIN})
    assert not [name for name in reply.headers if name.startswith("access-control")]


@pytest.fixture
def opened(demo: Engine) -> TestClient:
    return TestClient(create_app(demo, cors_origins=[ORIGIN], api_keys=["k"]))


def test_a_known_origin_may_ask(opened: TestClient) -> None:
    ask = {"origin": ORIGIN, "access-control-request-method": "POST"}
    reply = opened.options("/v1/models", headers={**ask, "access-control-request-headers": "authorization"})
    assert reply.status_code == 200
    assert reply.headers["access-control-allow-origin"] == ORIGIN
    assert "authorization" in reply.headers["access-control-allow-headers"].lower()


def test_a_page_can_read_errors_and_their_id(opened: TestClient) -> None:
    reply = opened.get("/v1/models", headers={"origin": ORIGIN})
    error_of(reply, 401)
    assert reply.headers["access-control-allow-origin"] == ORIGIN
    assert "x-request-id" in reply.headers["access-control-expose-headers"]


def test_an_unknown_origin_is_refused_in_the_one_shape(opened: TestClient) -> None:
    ask = {"origin": "https://other.example", "access-control-request-method": "POST"}
    reply = opened.options("/v1/models", headers=ask)
    assert error_of(reply, 400)["code"] == "cors_refused"
    assert "access-control-allow-origin" not in reply.headers
    assert "access-control-allow-origin" not in opened.get("/v1/models", headers=ask).headers
