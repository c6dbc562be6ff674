"""Request ids, the time header, and the access log, which has no text."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from starlette.testclient import TestClient

from oxillama import Engine
from oxillama.asgi import create_app
from tests.asgi.replies import error_of


def lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [json.loads(record.getMessage()) for record in caplog.records if record.name == "oxillama.access"]


def test_a_request_without_an_id_gets_one(client: TestClient) -> None:
    first, second = (client.get("/livez").headers["x-request-id"] for _ in range(2))
    assert first.startswith("req_")
    assert first != second


@pytest.mark.parametrize("given", ["a", "trace-1:2.3_4", "0" * 128])
def test_a_sound_id_is_kept(client: TestClient, given: str) -> None:
    assert client.get("/nope", headers={"x-request-id": given}).headers["x-request-id"] == given


@pytest.mark.parametrize("given", ["", "0" * 129, "a b", 'a"b', "a\tb", "<script>", "a\x7f"])
def test_any_other_id_is_replaced(client: TestClient, given: str) -> None:
    reply = client.get("/livez", headers={"x-request-id": given})
    assert reply.headers["x-request-id"].startswith("req_")


def test_the_time_is_told(client: TestClient) -> None:
    assert int(client.get("/livez").headers["openai-processing-ms"]) >= 0
    assert int(client.get("/nope").headers["openai-processing-ms"]) >= 0


def test_a_line_per_request(demo: Engine, caplog: pytest.LogCaptureFixture) -> None:
    client = TestClient(create_app(demo, api_keys=["secret-a", "secret-b"]))
    with caplog.at_level(logging.INFO, "oxillama.access"):
        client.get("/v1/models?q=private", headers={"x-api-key": "secret-b", "x-request-id": "id-1"})
        client.get("/v1/models")
        client.post("/tokenize", json={"content": "private", "nope": "private"}, headers={"x-api-key": "secret-a"})
    good, locked, bad = lines(caplog)
    assert good.pop("seconds") > 0
    assert good.pop("first_byte_seconds") > 0
    expected = {"request_id": "id-1", "method": "GET", "path": "/v1/models", "status": 200, "key": "key-1"}
    assert good == expected
    assert (locked["status"], locked["error"]) == (401, "invalid_api_key")
    assert (bad["status"], bad["error"], bad["key"]) == (400, "unknown_field", "key-0")
    assert "secret" not in caplog.text
    assert "private" not in caplog.text


def test_a_record_tells_the_route(demo: Engine) -> None:
    app = create_app(demo)
    routes = []
    app.state.service.observers.append(lambda record: routes.append((record.route, record.status)))
    client = TestClient(app)
    client.get("/v1/models/demo")
    client.get("/nope")
    client.delete("/livez")
    assert routes == [("/v1/models/{id:path}", 200), (None, 404), ("/livez", 405)]


def test_an_unforeseen_failure_tells_nothing(
    demo: Engine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    secret = "private"

    def fail(*args: object, **options: object) -> None:
        raise RuntimeError(secret)  # its source line is written down, its value must not be

    monkeypatch.setattr("oxillama.asgi.tokens._as_llama_server", fail)
    client = TestClient(create_app(demo))
    reply = client.post("/tokenize", json={"content": "a"})
    assert error_of(reply, 500)["code"] == "internal_error"
    assert "private" not in reply.text
    assert "private" not in caplog.text
    # Whoever has to mend it finds the place, and the request.
    assert "tokens.py" in caplog.text
    assert reply.headers["x-request-id"] in caplog.text
