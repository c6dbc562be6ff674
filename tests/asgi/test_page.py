"""The chat page as it is served: what is there, who may read it, and what it may do, not what it does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

import oxillama.asgi
from oxillama import Engine
from oxillama.asgi import create_app
from tests.asgi.replies import error_of

STATIC = Path(oxillama.asgi.__file__).parent / "static"
FILES = sorted(path.name for path in STATIC.iterdir())
OTHERS = [name for name in FILES if name.startswith("markdown-it.")]  # not ours; its policy holds for it all the same


@pytest.fixture(scope="module")
def page(demo: Engine) -> TestClient:
    return TestClient(create_app(demo, page=True), raise_server_exceptions=False)


def test_it_is_never_there_unless_asked_for(client: TestClient) -> None:
    for path in ("/", "/static/page.js", "/stats.json"):
        assert error_of(client.get(path), 404)["code"] == "unknown_route"


@pytest.mark.parametrize("name", FILES)
def test_every_file_is_served_with_its_type_and_a_strict_policy(name: str, page: TestClient) -> None:
    reply = page.get(f"/static/{name}")
    assert reply.status_code == 200
    assert reply.content == (STATIC / name).read_bytes()
    types = {
        ".html": "text/html",
        ".css": "text/css",
        ".js": "text/javascript",
        ".svg": "image/svg+xml",
        ".txt": "text/plain",
    }
    assert reply.headers["content-type"].partition(";")[0] == types[Path(name).suffix]
    policy = reply.headers["content-security-policy"].split("; ")
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert not [rule for rule in policy if "unsafe" in rule or "http" in rule or "*" in rule]
    assert reply.headers["x-content-type-options"] == "nosniff"


def test_an_unchanged_file_is_not_sent_again(page: TestClient) -> None:
    first = page.get("/")
    again = page.get("/", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert "content-security-policy" in again.headers
    assert page.get("/", headers={"if-none-match": '"other"'}).status_code == 200


@pytest.mark.parametrize("name", ["none.js", "..%2fpage.py", "..%2f..%2ferrors.py", "%2e%2e/page.py", "%00", ""])
def test_nothing_else_is_served(name: str, page: TestClient) -> None:
    error_of(page.get(f"/static/{name}"), 404)


@pytest.mark.parametrize("name", [name for name in FILES if name not in OTHERS])
def test_the_page_needs_nothing_from_outside_and_makes_no_html_of_text(name: str) -> None:
    text = (STATIC / name).read_text("utf-8").replace("http://www.w3.org/2000/svg", "")
    assert re.search(r"https?://|//cdn|@import|url\(", text) is None
    assert re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function", text) is None
    assert "localStorage" not in text
    # Relative, so that it works below any prefix.
    assert re.search(r"""(?:src|href|fetch\(|from |call\()\s*=?\s*["']/""", text) is None


@pytest.mark.parametrize("reference", sorted(set(re.findall(r'static/([\w.]+)"', (STATIC / "index.html").read_text()))))
def test_what_the_page_refers_to_is_there(reference: str) -> None:
    assert reference in FILES


def test_every_element_that_the_scripts_look_for_is_on_the_page() -> None:
    ids = set(re.findall(r'id="([\w-]+)"', (STATIC / "index.html").read_text("utf-8")))
    for script in STATIC.glob("*.js"):
        for name in re.findall(r'\bat\("([\w-]+)"\)|#icon-([\w-]+)', script.read_text("utf-8")):
            assert (name[0] or f"icon-{name[1]}") in ids


def test_the_figures_are_counts_and_nothing_else(page: TestClient, demo: Engine) -> None:
    reply = page.get("/stats.json")
    assert reply.headers["cache-control"] == "no-store"
    shown = reply.json()
    assert set(shown) == {"state", "model", "n_ctx", "n_threads", "engine"}
    assert (shown["state"], shown["model"], shown["n_ctx"]) == ("ready", "demo", demo.n_ctx)
    assert shown["engine"].keys() <= demo.stats().to_dict().keys()
    assert all(isinstance(value, int) for value in shown["engine"].values())


def test_the_page_is_open_and_its_figures_need_the_key(demo: Engine) -> None:
    client = TestClient(create_app(demo, page=True, api_keys=["secret"]), raise_server_exceptions=False)
    assert client.get("/").status_code == client.get("/static/page.js").status_code == 200
    error_of(client.get("/stats.json"), 401)
    assert client.get("/stats.json", headers={"authorization": "Bearer secret"}).status_code == 200


def test_it_works_below_a_prefix(demo: Engine) -> None:
    client = TestClient(Starlette(routes=[Mount("/llm", create_app(demo, page=True, api_keys=["secret"]))]))
    assert client.get("/llm", follow_redirects=False).headers["location"].endswith("/llm/")
    assert client.get("/llm/").status_code == client.get("/llm/static/page.css").status_code == 200
    assert client.get("/llm/stats.json").status_code == 401


def test_what_others_wrote_makes_no_html_either_and_has_its_licence(page: TestClient) -> None:
    assert OTHERS == ["markdown-it.LICENSE.txt", "markdown-it.min.js"]
    script = (STATIC / "markdown-it.min.js").read_text("utf-8")
    assert (
        re.search(r"innerHTML|document\.|\beval\b|new Function|sourceMappingURL|XMLHttpRequest|\bfetch\(", script)
        is None
    )
    licence = page.get("/static/markdown-it.LICENSE.txt").text
    for name in ("markdown-it", "linkify-it", "mdurl", "uc.micro", "entities", "punycode.js"):
        assert f"--- {name}\n" in licence
