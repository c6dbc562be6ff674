"""Bodies: each way to be malformed has its status, in the one shape, naming what is wrong."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from oxillama import Engine
from oxillama.asgi import Limits, create_app
from oxillama.asgi.app import FIELD_TABLES
from oxillama.asgi.body import _check_depth, validation_error
from oxillama.asgi.errors import HTTPError
from oxillama.asgi.fields import FieldTable
from oxillama.asgi.operations import OPERATIONS
from tests.asgi.replies import error_of

JSON = {"content-type": "application/json"}


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"   ",
        b"{",
        b'{"content": "a"',
        b"{'content': 'a'}",
        b'{"content": "a",}',
        b'{"content": "a"} x',
        b'{"content": NaN}',
        b'{"content": "\\ud800"}',
        b'{"content": "\x01"}',
        b"\xef\xbb\xbf",
        b"\xef\xbb\xbf\xef\xbb\xbf{}",
        b"\xff\xfe{\x00}\x00",
        b"null",
        b"[]",
        b'"text"',
        b"5",
        b"nonsense",
        b"\x00" * 100,
    ],
)
def test_malformed_json_is_a_400(client: TestClient, raw: bytes) -> None:
    error_of(client.post("/tokenize", content=raw, headers=JSON), 400)


def test_a_byte_order_mark_says_nothing(client: TestClient) -> None:
    raw = b'{"content": "\xef\xbb\xbfOnce"}'
    plain = client.post("/tokenize", content=raw, headers=JSON)
    marked = client.post("/tokenize", content=b"\xef\xbb\xbf" + raw, headers=JSON)
    assert marked.status_code == 200
    assert marked.json() == plain.json()


@pytest.mark.parametrize("raw", [b'{"content": "\xff"}', b'{"content": "\xc3"}', b'{"\xed\xa0\x80": 1}', b"\xfe\xff"])
def test_invalid_utf8_is_a_400(client: TestClient, raw: bytes) -> None:
    assert error_of(client.post("/tokenize", content=raw, headers=JSON), 400)["code"] == "invalid_utf8"


@pytest.mark.parametrize(
    "kind",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "json", "application/jsonp",
     "application/json; charset=latin-1", ""],
)  # fmt: skip
def test_a_wrong_content_type_is_a_415(client: TestClient, kind: str) -> None:
    error_of(client.post("/tokenize", content=b'{"content": "a"}', headers={"content-type": kind}), 415)


@pytest.mark.parametrize("kind", ["application/json; charset=UTF-8", "Application/JSON", "application/vnd.api+json"])
def test_json_may_be_called_in_other_ways(client: TestClient, kind: str) -> None:
    reply = client.post("/tokenize", content=b'{"content": "a"}', headers={"content-type": kind})
    assert reply.status_code == 200


def test_a_compressed_body_is_a_415(client: TestClient) -> None:
    error_of(client.post("/tokenize", content=b"x", headers={**JSON, "content-encoding": "gzip"}), 415)


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ({"content": 5}, "content", "invalid_value"),
        ({"content": None, "add_special": "yes"}, "add_special", "invalid_value"),
        ({"content": "a", "temperature": 1}, "temperature", "unknown_field"),
        ({"content": "a", "": 1}, "", "unknown_field"),
        ({"tools": [{}, 5], "messages": []}, "tools[1]", "invalid_value"),
    ],
)
def test_a_field_is_named(client: TestClient, body: dict[str, object], param: str, code: str) -> None:
    error = error_of(client.post("/tokenize", json=body), 400)
    assert (error["param"], error["code"]) == (param, code)


def test_a_missing_field_is_named(client: TestClient) -> None:
    error = error_of(client.post("/detokenize", json={}), 400)
    assert (error["param"], error["code"]) == ("tokens", "missing_field")


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ("Expected `str`, got `int` - at `$.messages[0].content`", "messages[0].content"),
        ("Object contains unknown field `foo` - at `$.messages[0]`", "messages[0].foo"),
        ("Object missing required field `role` - at `$.messages[3]`", "messages[3].role"),
        ("Object contains unknown field `foo`", "foo"),
        ("Expected `float`, got `str` - at `$.logit_bias[...]`", "logit_bias[...]"),
        ("Expected `object`, got `array`", None),
        ("Invalid value 'a - at `$.b`' - at `$.c`", "c"),
    ],
)
def test_paths_are_as_clients_write_them(message: str, param: str | None) -> None:
    error = validation_error(message)
    assert (error.status, error.param) == (400, param)


@pytest.fixture(scope="module")
def small(demo: Engine) -> TestClient:
    return TestClient(create_app(demo, limits=Limits(max_body_bytes=100, max_depth=4)))


class TestSize:
    def test_the_limit_itself_is_allowed(self, small: TestClient) -> None:
        raw = b'{"content": "' + b"a" * 85 + b'"}'
        assert len(raw) == 100
        assert small.post("/tokenize", content=raw, headers=JSON).status_code == 200
        assert error_of(small.post("/tokenize", content=raw + b" ", headers=JSON), 413)["code"] == "body_too_large"

    def test_a_body_without_a_length_is_counted(self, small: TestClient) -> None:
        def parts() -> Iterator[bytes]:
            for _ in range(50):
                yield b"     "

        error_of(small.post("/tokenize", content=parts(), headers=JSON), 413)

    @pytest.mark.parametrize("n", [3, 4, 1000, 100_000])
    def test_depth(self, client: TestClient, small: TestClient, n: int) -> None:
        raw = b'{"tools": ' + b"[" * n + b"]" * n + b"}"
        limit, caller = (4, small) if n < 10 else (64, client)
        error = error_of(caller.post("/tokenize", content=raw, headers=JSON), 400)
        assert (error["code"] == "too_deep") == (n + 1 > limit)

    def test_brackets_in_texts_are_no_depth(self, small: TestClient) -> None:
        raw = b'{"content": "\\"[[[[[[[[[[{{{{{\\\\"}'
        assert small.post("/tokenize", content=raw, headers=JSON).status_code == 200

    @pytest.mark.parametrize("piece", [b'"\\"', b"[]", b'"', b"\\", b'\\"', b"{[}]"])
    def test_checking_depth_takes_time_in_proportion(self, piece: bytes) -> None:
        def seconds() -> float:
            started = time.thread_time()
            with contextlib.suppress(HTTPError):
                _check_depth(piece * 64_000, 64)
            return time.thread_time() - started

        # A tenth of that; time that grew with the square would be many seconds.
        assert min(seconds() for _ in range(3)) < 1


ROUTES = [table.route for table in FIELD_TABLES]
METHODS = {(each.method.upper(), each.path) for each in OPERATIONS}
ADMIN = {each.path for each in OPERATIONS if each.access == "admin"}
AS_ADMIN = {"x-api-key": "admin"}


@pytest.fixture(scope="module")
def admin(demo: Engine) -> TestClient:
    """May call every route."""
    return TestClient(create_app(demo, admin_token="admin"), raise_server_exceptions=False, headers=AS_ADMIN)


@pytest.mark.parametrize("route", ROUTES)
class TestEveryRoute:
    """The same on each of them, whatever its fields are."""

    @pytest.mark.parametrize(
        ("raw", "kind", "status", "code"),
        [
            (b"{", "application/json", 400, "invalid_json"),
            (b"[]", "application/json", 400, "invalid_value"),
            (b'{"a": "\xff"}', "application/json", 400, "invalid_utf8"),
            (b'{"nonsense": 1}', "application/json", 400, "unknown_field"),
            (b'{"a": ' + b"[" * 5000 + b"]" * 5000 + b"}", "application/json", 400, "too_deep"),
            (b"a=b", "application/x-www-form-urlencoded", 415, None),
        ],
    )
    def test_a_malformed_body(
        self, admin: TestClient, route: str, raw: bytes, kind: str, status: int, code: str | None
    ) -> None:
        error = error_of(admin.post(route, content=raw, headers={"content-type": kind}), status)
        assert error["code"] == code

    def test_a_large_body(self, demo: Engine, route: str) -> None:
        app = create_app(demo, admin_token="admin", limits=Limits(max_body_bytes=100))
        error_of(TestClient(app).post(route, content=b" " * 101, headers=JSON | AS_ADMIN), 413)

    @pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "HEAD"])
    def test_a_wrong_method(self, admin: TestClient, route: str, method: str) -> None:
        if (method.replace("HEAD", "GET"), route) in METHODS:
            return  # it is none of this route
        reply = admin.request(method, route)
        assert reply.status_code == 405
        if method != "HEAD":
            error_of(reply, 405)

    def test_a_missing_key(self, demo: Engine, route: str) -> None:
        error_of(TestClient(create_app(demo, api_keys="k", admin_token="a")).post(route, json={}), 401)


# A body that each route takes.
SOUND: dict[str, dict[str, Any]] = {
    "/apply-template": {"messages": [{"role": "user", "content": "a"}]},
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "a"}], "max_tokens": 1},
    "/v1/completions": {"prompt": "a", "max_tokens": 1},
    "/v1/embeddings": {"input": "a"},
    "/v1/rerank": {"query": "a", "documents": ["a"]},
    "/v1/responses": {"input": "a", "max_output_tokens": 1},
    "/tokenize": {"content": "a"},
    "/v2/rerank": {"query": "a", "documents": ["a"]},
    "/detokenize": {"tokens": [5]},
    "/v1/systemone": {"state": "a", "questions": {"q": {"type": "noul"}}},
    "/embed": {"inputs": "a"},
    "/rerank": {"query": "a", "texts": ["a"]},
}
# Where bodies have objects: a member that is null, known or not, is not there.
NESTED: list[tuple[str, dict[str, Any]]] = [
    ("/v1/chat/completions", {"stream": True, "stream_options": {"include_usage": None, "nope": None}}),
    ("/v1/chat/completions", {"response_format": {"type": "text", "json_schema": None}}),
    ("/v1/chat/completions", {"logit_bias": {"5": None}}),
    ("/v1/chat/completions", {"chat_template_kwargs": {"messages": None, "nope": None}}),
    ("/v1/responses", {"text": {"format": {"type": "text", "name": None, "schema": None, "strict": None}}}),
    ("/v1/responses", {"text": {"format": None, "verbosity": None, "nope": None}}),
    ("/v1/responses", {"reasoning": {"effort": None, "summary": None, "nope": None}}),
    ("/v1/responses", {"metadata": {"a": None}}),
    ("/v1/completions", {"stream": True, "stream_options": {"include_usage": True, "nope": None}}),
]


# What the admin routes take is on the disk: test_loras.py has such bodies.
@pytest.mark.parametrize(
    "table", [table for table in FIELD_TABLES if table.route not in ADMIN], ids=lambda table: table.route
)
def test_null_leaves_out_every_field_and_any_other(client: TestClient, table: FieldTable) -> None:
    body = {**dict.fromkeys(table.fields), "nope": None, "": None, **SOUND[table.route]}
    reply = client.post(table.route, json=body)
    if table.route.endswith("/rerank"):
        # The body is sound; the model of these tests cannot do it.
        assert error_of(reply, 400)["param"] == "model"
    else:
        assert reply.status_code == 200
    for name in SOUND[table.route].keys() - {"max_tokens", "max_output_tokens"}:
        given = {**SOUND[table.route], name: None}
        missing = {key: value for key, value in given.items() if value is not None}
        assert client.post(table.route, json=given).json() == client.post(table.route, json=missing).json()


@pytest.mark.parametrize(("route", "options"), NESTED)
def test_null_leaves_out_at_every_depth(client: TestClient, route: str, options: dict[str, Any]) -> None:
    assert client.post(route, json={**SOUND[route], **options}).status_code == 200


def test_what_is_not_null_inside_is_still_looked_at(client: TestClient) -> None:
    for options, param in (
        ({"reasoning": {"effort": None, "nope": 0}}, "reasoning.nope"),
        ({"text": {"format": {"type": "text", "name": "", "strict": None}}}, "text.format.name"),
        ({"metadata": {"a": None, "b": 5}}, "metadata[...]"),
    ):
        error = error_of(client.post("/v1/responses", json={**SOUND["/v1/responses"], **options}), 400)
        assert error["param"] == param


def test_a_null_inside_of_a_template_s_variable_is_a_value(demo: Engine) -> None:
    template = "{{ a is none }} {{ b.c is none }}{{ messages[0].content }}"
    with Engine.demo(n_threads=1, progress=False, chat_template=template) as engine:
        body = {**SOUND["/apply-template"], "chat_template_kwargs": {"a": None, "b": {"c": None}}}
        reply = TestClient(create_app(engine)).post("/apply-template", json=body)
    assert reply.json()["prompt"] == "False Truea"


def test_a_large_body_is_decoded_all_the_same(client: TestClient) -> None:
    text = "word " * 60_000
    tokens = client.post("/tokenize", json={"content": text}).json()["tokens"]
    assert len(tokens) >= 60_000
    error_of(client.post("/tokenize", json={"content": text, "nope": 1}), 400)


def test_half_of_a_character_is_called_that(client: TestClient) -> None:
    error = error_of(client.post("/tokenize", content=b'{"content": "\\ud800"}', headers=JSON), 400)
    assert "surrogate" in error["message"]
