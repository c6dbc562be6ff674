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
@pytest.mark.parametrize(
    "path", ["/nope", "/v1", "/v1/", "/v1/nope", "/tokenize/", "//", "/static/../x", "/v1/models/"]
)
def test_an_unknown_route_is_a_404_in_the_one_shape(client: TestClient, method: str, path: str) -> None:
    reply = client.request(method, path)
    if path == "/v1/models/" and method != "GET":
        error_of(reply, 405)  # as the model whose name is empty
    else:
        error_of(reply, 404)


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
