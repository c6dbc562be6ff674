"""Names under which an app is called and pages that call it, where a key is no lock."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient

from oxillama import Engine, InvalidRequestError
from oxillama.asgi import create_app
from tests.asgi.replies import error_of

BODY = {"prompt": "a", "max_tokens": 1}
CROSS = {"sec-fetch-site": "cross-site"}


@pytest.fixture
def client(demo: Engine) -> TestClient:
    hosts, friends = ["localhost", "llm.example"], ["https://friend.example"]
    app = create_app(demo, trusted_hosts=hosts, cors_origins=friends, page=True)
    return TestClient(app, base_url="http://127.0.0.1:8080")


def ask(client: TestClient, headers: dict[str, str], method: str = "POST", path: str = "/v1/completions") -> Any:
    return client.request(method, path, json=BODY if method == "POST" else None, headers=headers)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.0.0.1:1",
        "127.9.9.9",
        "[::1]",
        "[::1]:8080",
        "localhost",
        "LocalHost:8080",
        "localhost.",
        "app.localhost",
        "mybox",
        "llm.example",
        "LLM.example:80",
    ],
)
def test_own_names(client: TestClient, host: str) -> None:
    assert ask(client, {"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8080",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "llm.example.evil.example",
        "10.0.0.1",
        "[2001:db8::1]",
        "127.0.0.1@evil.example",
        "evil.example/127.0.0.1",
        "127.0.0.1:x",
        "[::1",
    ],
)
@pytest.mark.parametrize(("method", "path"), [("POST", "/v1/completions"), ("GET", "/v1/models"), ("GET", "/")])
def test_other_names_are_refused_on_every_route(client: TestClient, host: str, method: str, path: str) -> None:
    assert error_of(ask(client, {"host": host}, method, path), 403)["code"] == "untrusted_host"


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/health"])
def test_health_has_no_secrets(client: TestClient, path: str) -> None:
    assert ask(client, {"host": "evil.example", **CROSS}, "GET", path).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": "http://127.0.0.1:8080", "sec-fetch-site": "same-origin"},
        {"origin": "http://localhost:3000", "sec-fetch-site": "same-site"},
        {"origin": "http://mybox:8080", "host": "mybox:8080"},
        {"origin": "https://llm.example"},
        {"origin": "https://friend.example", **CROSS},
        {"sec-fetch-site": "none"},
    ],
)
def test_own_pages_and_friends(client: TestClient, headers: dict[str, str]) -> None:
    assert ask(client, headers).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "http://evil.example", **CROSS},
        {"origin": "http://127.0.0.1.evil.example"},
        {"origin": "null"},
        {"origin": "nonsense"},
        {"origin": "http://mybox"},
        {"origin": "http://localhost:3000", **CROSS},
        CROSS,
        {**CROSS, "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"},
    ],
)
def test_other_pages_are_refused(client: TestClient, headers: dict[str, str]) -> None:
    assert error_of(ask(client, headers), 403)["code"] == "untrusted_origin"
    assert error_of(ask(client, headers, "GET", "/v1/models"), 403)["code"] == "untrusted_origin"


def test_a_link_may_lead_to_the_page_but_no_frame(client: TestClient) -> None:
    link = {**CROSS, "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    assert ask(client, link, "GET", "/").status_code == 200
    assert ask(client, {**link, "sec-fetch-dest": "iframe"}, "GET", "/").status_code == 403
    assert ask(client, {**CROSS, "sec-fetch-mode": "no-cors"}, "GET", "/").status_code == 403


def test_without_trusted_hosts_and_with_a_star_nothing_is_looked_at(demo: Engine) -> None:
    for hosts in ((), "*", ["localhost", "*"]):
        client = TestClient(create_app(demo, trusted_hosts=hosts))
        assert ask(client, {"host": "evil.example", "origin": "http://evil.example", **CROSS}).status_code == 200


def test_any_page_but_not_any_name(demo: Engine) -> None:
    client = TestClient(create_app(demo, trusted_hosts="localhost", cors_origins="*"), base_url="http://localhost")
    assert ask(client, {"origin": "http://evil.example", **CROSS}).status_code == 200
    assert ask(client, {"host": "evil.example"}).status_code == 403


def test_names_are_texts(demo: Engine) -> None:
    with pytest.raises(InvalidRequestError, match="trusted_hosts"):
        create_app(demo, trusted_hosts=[""])
