"""The admin routes: off without a token, closed to API keys, and what they tell."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from oxillama import Engine
from oxillama.asgi import create_app
from tests.asgi.replies import error_of

ADMIN = {"authorization": "Bearer admin"}
ROUTES = [("GET", "/admin/stats"), ("GET", "/admin/loras"), ("POST", "/admin/loras"), ("DELETE", "/admin/loras")]
ROUTES += [("DELETE", "/admin/loras/a"), ("POST", "/v1/load_lora_adapter"), ("POST", "/v1/unload_lora_adapter")]


@pytest.fixture
def admin(demo: Engine) -> TestClient:
    return TestClient(create_app(demo, api_keys=["key"], admin_token="admin"), raise_server_exceptions=False)


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_they_are_off_without_a_token(demo: Engine, method: str, path: str) -> None:
    client = TestClient(create_app(demo, api_keys=["key"]))
    for headers in ({}, {"x-api-key": "key"}, ADMIN):
        assert error_of(client.request(method, path, headers=headers), 403)["code"] == "admin_disabled"


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_they_need_their_own_token(admin: TestClient, method: str, path: str) -> None:
    assert error_of(admin.request(method, path), 401)["code"] == "invalid_api_key"
    assert error_of(admin.request(method, path, headers={"x-api-key": "nope"}), 401)["code"] == "invalid_api_key"
    assert error_of(admin.request(method, path, headers={"x-api-key": "key"}), 403)["code"] == "not_admin"


def test_stats(admin: TestClient, demo: Engine) -> None:
    reply = admin.get("/admin/stats", headers=ADMIN)
    assert reply.status_code == 200
    found = reply.json()
    assert found["state"] == "ready"
    assert found["engine"]["model"] == demo.name
    assert found["engine"]["weight_bytes"] == demo.memory.weights
    assert found["stats"].keys() == demo.stats().to_dict().keys()


def test_stats_of_a_closed_engine() -> None:
    engine = Engine.demo(n_threads=1, progress=False)
    engine.close()
    found = TestClient(create_app(engine, admin_token="admin")).get("/admin/stats", headers=ADMIN).json()
    assert found["state"] == "closed"
    assert found["stats"] is None
