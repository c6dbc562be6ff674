"""The app as a whole: its options, unknown routes and methods, cross-origin requests, two apps in one process."""

from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from oxillama import Engine, InvalidRequestError
from oxillama.asgi import Limits, create_app
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


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"api_keys": [""]}, "api_keys"),
        ({"api_keys": ""}, "api_keys"),  # a variable that nobody has set must not open the app to everybody
        ({"api_keys": ["white space"]}, "key"),
        ({"api_keys": [5]}, "api_keys"),
        ({"admin_token": ""}, "admin_token"),
        ({"model_name": ""}, "model_name"),
        ({"model_aliases": 5}, "model_aliases"),
        ({"limits": 5}, "limits"),
        ({"keep_alive": 0}, "keep_alive"),
    ],
)
def test_a_bad_option_is_named(demo: Engine, options: dict[str, object], named: str) -> None:
    with pytest.raises(InvalidRequestError, match=named):
        create_app(demo, **options)  # type: ignore[arg-type]


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


ORIGIN = "https://page.example"


class TestCrossOrigin:
    def test_it_is_off_by_default(self, client: TestClient) -> None:
        reply = client.get("/v1/models", headers={"origin": ORIGIN})
        assert not [name for name in reply.headers if name.startswith("access-control")]

    @pytest.fixture
    def opened(self, demo: Engine) -> TestClient:
        return TestClient(create_app(demo, cors_origins=[ORIGIN], api_keys=["k"]))

    def test_a_known_origin_may_ask(self, opened: TestClient) -> None:
        ask = {"origin": ORIGIN, "access-control-request-method": "POST"}
        reply = opened.options("/v1/models", headers={**ask, "access-control-request-headers": "authorization"})
        assert reply.status_code == 200
        assert reply.headers["access-control-allow-origin"] == ORIGIN
        assert "authorization" in reply.headers["access-control-allow-headers"].lower()

    def test_a_page_can_read_errors_and_their_id(self, opened: TestClient) -> None:
        reply = opened.get("/v1/models", headers={"origin": ORIGIN})
        error_of(reply, 401)
        assert reply.headers["access-control-allow-origin"] == ORIGIN
        assert "x-request-id" in reply.headers["access-control-expose-headers"]

    def test_an_unknown_origin_is_refused_in_the_one_shape(self, opened: TestClient) -> None:
        ask = {"origin": "https://other.example", "access-control-request-method": "POST"}
        reply = opened.options("/v1/models", headers=ask)
        assert error_of(reply, 400)["code"] == "cors_refused"
        assert "access-control-allow-origin" not in reply.headers
        assert "access-control-allow-origin" not in opened.get("/v1/models", headers=ask).headers


def test_the_limits_are_checked() -> None:
    for name, value in {"max_depth": 0, "max_tokens": 1.5, "requests_per_minute": 0, "max_deadline": -1}.items():
        with pytest.raises(InvalidRequestError, match=name):
            Limits(**{name: value})  # type: ignore[arg-type]
