"""Keys and the admin token: who gets in, who does not, and with what answer."""

from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from oxillama import Engine
from oxillama.asgi import create_app
from tests.asgi.replies import error_of


@pytest.fixture(scope="module")
def locked(demo: Engine) -> TestClient:
    return TestClient(create_app(demo, api_keys=["first-key", "second-key"], admin_token="admin-token"))


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Bearer first-key"},
        {"authorization": "bearer second-key"},
        {"authorization": "Bearer   first-key "},
        {"x-api-key": "second-key"},
    ],
)
def test_a_key_opens(locked: TestClient, headers: dict[str, str]) -> None:
    assert locked.get("/v1/models", headers=headers).status_code == 200
    assert locked.post("/tokenize", headers=headers, json={"content": "a"}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer"},
        {"authorization": "Bearer wrong"},
        {"authorization": "Bearer first-key2"},
        {"authorization": "Bearer first-ke"},
        {"authorization": "Basic first-key"},
        {"authorization": "first-key"},
        {"x-api-key": ""},
        {"x-api-key": "FIRST-KEY"},
        {"x-api-key": "admin-token"},
        {"authorization": b"Bearer \xff\xfe"},
    ],
)
@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/demo", "/props", "/version", "/metrics", "/nope", "/v1/x"])
def test_without_a_key_nothing_is_told(locked: TestClient, headers: dict[str, str], path: str) -> None:
    reply = locked.get(path, headers=headers)
    error_of(reply, 401)
    assert reply.headers["www-authenticate"] == "Bearer"
    assert "first-key" not in reply.text


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/health"])
def test_health_needs_no_key(locked: TestClient, path: str) -> None:
    assert locked.get(path).status_code == 200


def test_options_needs_no_key(locked: TestClient) -> None:
    error_of(locked.options("/v1/models"), 405)


def test_admin_needs_its_own_token(locked: TestClient) -> None:
    error_of(locked.get("/admin/stats"), 401)
    error_of(locked.get("/admin/stats", headers={"x-api-key": "wrong"}), 401)
    assert error_of(locked.get("/admin/stats", headers={"x-api-key": "first-key"}), 403)["code"] == "not_admin"
    assert locked.get("/admin/stats", headers={"authorization": "Bearer admin-token"}).status_code in (200, 404)


def test_admin_is_off_without_a_token(demo: Engine, client: TestClient) -> None:
    assert error_of(client.get("/admin/stats"), 403)["code"] == "admin_disabled"
    assert error_of(client.get("/admin", headers={"x-api-key": "None"}), 403)["code"] == "admin_disabled"
    keyed = TestClient(create_app(demo, api_keys=["k"]))
    error_of(keyed.get("/admin/stats", headers={"x-api-key": "k"}), 403)


def test_a_mount_does_not_open_anything(demo: Engine) -> None:
    host = TestClient(Starlette(routes=[Mount("/health", create_app(demo, api_keys=["k"]))]))
    error_of(host.get("/health/v1/models"), 401)
    assert host.get("/health/health").status_code == 200


def test_keys_are_not_shown(locked: TestClient) -> None:
    settings = locked.app.state.service.settings  # type: ignore[attr-defined]
    assert "first-key" not in repr(settings)
    assert "admin-token" not in repr(settings)
