"""The app as a whole: unknown routes, methods and options, two apps in one process."""

from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from oxillama import Engine
from oxillama.asgi import create_app
from tests.asgi.replies import error_of


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
@pytest.mark.parametrize("path", ["/nope", "/v1", "/v1/", "/v1/nope", "/tokenize//", "//", "/static/../x"])
def test_an_unknown_route_is_a_404_in_the_one_shape(client: TestClient, method: str, path: str) -> None:
    assert error_of(client.request(method, path), 404)["code"] == "unknown_route"


@pytest.mark.parametrize(
    ("path", "meant"), [("/chat/completions", "/v1/chat/completions"), ("/api/generate", "/v1/completions")]
)
def test_a_404_names_the_route_that_was_meant(client: TestClient, demo: Engine, path: str, meant: str) -> None:
    assert f" {meant} " in error_of(client.post(path, json={}), 404)["message"]
    mounted = TestClient(Starlette(routes=[Mount("/llm", create_app(demo))]))
    assert f" /llm{meant} " in error_of(mounted.post(f"/llm{path}", json={}), 404)["message"]


def test_a_404_that_is_like_no_route_says_where_they_are(client: TestClient) -> None:
    assert "/openapi.json" in error_of(client.get("/nope"), 404)["message"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/v1/models", {"GET", "HEAD"}),
        ("OPTIONS", "/v1/models", {"GET", "HEAD"}),
        ("GET", "/tokenize", {"POST"}),
        ("DELETE", "/tokenize", {"POST"}),
        ("PUT", "/health", {"GET", "HEAD"}),
    ],
)
def test_a_wrong_method_is_a_405_with_the_right_ones(
    client: TestClient, method: str, path: str, allowed: set[str]
) -> None:
    reply = client.request(method, path)
    assert error_of(reply, 405)["code"] == "method_not_allowed"
    assert set(reply.headers["allow"].split(", ")) == allowed


def test_head_answers_like_get_without_a_body(client: TestClient) -> None:
    reply = client.head("/health")
    assert reply.status_code == 200
    assert reply.headers["content-length"] == client.get("/health").headers["content-length"]


def test_an_unknown_option_is_a_type_error(demo: Engine) -> None:
    with pytest.raises(TypeError, match="api_key"):
        create_app(demo, api_key="x")  # type: ignore[call-arg]


def test_two_apps_live_side_by_side_and_mounted(demo: Engine) -> None:
    first = create_app(demo, model_name="first", api_keys="one")
    second = create_app(demo, model_name="second")
    host = Starlette(routes=[Mount("/a", first), Mount("/deep/b", second)])
    client = TestClient(host)
    assert client.get("/a/health").json() == {"status": "ok"}
    error_of(client.get("/a/v1/models"), 401)
    assert client.get("/a/v1/models", headers={"x-api-key": "one"}).json()["data"][0]["id"] == "first"
    assert client.get("/deep/b/v1/models/second").json()["id"] == "second"
    error_of(client.get("/deep/b/v1/nope"), 404)
    assert client.post("/deep/b/tokenize", json={"content": "Once"}).json()["tokens"]
