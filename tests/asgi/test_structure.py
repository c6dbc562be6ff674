"""Structured replies over HTTP: every field that asks for them, whole and streamed, and what is wrong with them."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from starlette.testclient import TestClient

from oxillama import Engine, Grammar
from tests.asgi import events
from tests.asgi.replies import error_of

pytest.importorskip("llguidance", reason="the grammar engine is not installed")
jsonschema = pytest.importorskip("jsonschema")

HI = [{"role": "user", "content": "Who are you?"}]
SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 12},
        "age": {"type": "integer", "minimum": 0, "maximum": 99},
    },
    "required": ["name", "age"],
    "additionalProperties": False,
}
UNCLEAR = {"type": "object", "properties": {"a": {"oneOf": [{"enum": [1, 2]}, {"enum": [2, 3]}]}}, "required": ["a"],
           "additionalProperties": False}  # fmt: skip
FORMAT = {"type": "json_schema", "json_schema": {"name": "person", "schema": SCHEMA, "strict": True}}
CHAT = "/v1/chat/completions"
ROUTES: dict[str, dict[str, Any]] = {
    CHAT: {"messages": HI},
    "/v1/completions": {"prompt": "Once"},
    "/v1/responses": {"input": "Who?"},
}


def text_of(reply: dict[str, Any]) -> str:
    if "output" in reply:
        return str(reply["output"][-1]["content"][0]["text"])
    choice = reply["choices"][0]
    return str(choice["message"]["content"] if "message" in choice else choice["text"])


def post(client: TestClient, route: str, **body: Any) -> dict[str, Any]:
    most = {"max_output_tokens": 200} if "responses" in route else {"max_tokens": 200}
    reply = client.post(route, json={**ROUTES[route], **most, "seed": 3, **body})
    assert reply.status_code == 200, reply.text
    found = reply.json()
    assert isinstance(found, dict)
    return found


def is_person(text: str) -> bool:
    return bool(jsonschema.Draft202012Validator(SCHEMA).is_valid(json.loads(text)))


@pytest.mark.parametrize(
    ("route", "fields"),
    [
        (CHAT, {"response_format": FORMAT}),
        (CHAT, {"response_format": {"type": "json_object", "schema": SCHEMA}}),
        (CHAT, {"json_schema": SCHEMA}),
        (CHAT, {"guided_json": json.dumps(SCHEMA)}),
        ("/v1/completions", {"json_schema": SCHEMA}),
        ("/v1/completions", {"guided_json": SCHEMA}),
        ("/v1/completions", {"structured_outputs": {"json": SCHEMA}}),
        ("/v1/responses", {"text": {"format": {"type": "json_schema", "name": "p", "schema": SCHEMA, "strict": True}}}),
        ("/v1/responses", {"guided_json": SCHEMA}),
    ],
)
def test_a_reply_is_of_its_schema(client: TestClient, route: str, fields: dict[str, Any]) -> None:
    assert is_person(text_of(post(client, route, **fields)))


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(
    ("fields", "pattern"),
    [
        ({"grammar": 'root ::= "yes" | "no" # a choice'}, "yes|no"),
        ({"guided_grammar": 'root ::= [a-c]{3}'}, "[abc]{3}"),
        ({"guided_grammar": "start: /[a-c]{3}/"}, "[abc]{3}"),
        ({"guided_regex": r"\d{3}-\d{2}"}, r"\d{3}-\d{2}"),
        ({"guided_choice": ["red", "blue"]}, "red|blue"),
        ({"structured_outputs": {"choice": ["red", "blue"]}}, "red|blue"),
        ({"structured_outputs": {"regex": "a{5}"}}, "a{5}"),
        ({"structured_outputs": {"grammar": 'root ::= "x"'}}, "x"),
        ({"structured_outputs": {"json_object": True}, "logit_bias": {}}, r"(?s)\{.*"),
    ],
)  # fmt: skip
def test_a_reply_is_of_its_grammar(client: TestClient, route: str, fields: dict[str, Any], pattern: str) -> None:
    assert re.fullmatch(pattern, text_of(post(client, route, **fields)))


def test_a_stream_s_deltas_are_the_whole_reply(client: TestClient) -> None:
    whole = text_of(post(client, CHAT, response_format=FORMAT))
    body = {"messages": HI, "max_tokens": 200, "seed": 3, "stream": True, "response_format": FORMAT}
    chunks = events.complete(client.post(CHAT, json=body).text)
    assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks) == whole
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"


def test_choices_and_logprobs_go_with_it(client: TestClient) -> None:
    reply = post(client, CHAT, response_format=FORMAT, n=3, logprobs=True, top_logprobs=2)
    texts = [choice["message"]["content"] for choice in reply["choices"]]
    assert len(texts) == 3
    assert all(map(is_person, texts))
    for choice in reply["choices"]:
        entries = choice["logprobs"]["content"]
        assert "".join(entry["token"] for entry in entries).startswith(choice["message"]["content"])


def test_a_reply_that_was_cut_is_its_beginning(client: TestClient) -> None:
    reply = post(client, CHAT, response_format=FORMAT, max_tokens=3)
    assert reply["choices"][0]["finish_reason"] == "length"
    assert text_of(reply).startswith('{"')


def test_a_relaxed_reply_says_so_in_a_header(client: TestClient) -> None:
    def ask(**strict: bool) -> Any:
        shape = {"type": "json_schema", "json_schema": {"name": "x", "schema": UNCLEAR, **strict}}
        return client.post(CHAT, json={"messages": HI, "max_tokens": 50, "response_format": shape})

    for relaxed in (ask(), ask(strict=False)):
        assert relaxed.status_code == 200
        assert relaxed.headers["x-oxillama-warning"].startswith("`oneOf` of properties.a is held as anyOf")
    error = error_of(ask(strict=True), 400)
    assert error["param"] == "response_format.json_schema.schema.properties.a.oneOf"
    assert error["code"] == "unsupported_schema"
    plain = client.post(CHAT, json={"messages": HI, "max_tokens": 1})
    assert "x-oxillama-warning" not in plain.headers


@pytest.mark.parametrize(
    ("route", "fields", "param"),
    [
        (CHAT, {"json_schema": {"items": {"not": {"const": 1}}}}, "json_schema.items.not"),
        (CHAT, {"guided_json": {"type": "nope"}}, "guided_json.type"),
        (CHAT, {"guided_json": "{"}, "guided_json"),
        (CHAT, {"structured_outputs": {"json": {"uniqueItems": True}}}, "structured_outputs.json.uniqueItems"),
        (CHAT, {"structured_outputs": {"structural_tag": "x"}}, "structured_outputs.structural_tag"),
        (CHAT, {"grammar": "root ::= x"}, "grammar"),
        ("/v1/completions", {"guided_regex": "(?=a)"}, "guided_regex"),
        ("/v1/completions", {"guided_choice": []}, "guided_choice"),
        ("/v1/completions", {"guided_grammar": "start: ("}, "guided_grammar"),
        (CHAT, {"guided_regex": "a", "guided_choice": ["a"]}, "guided_choice"),
        (CHAT, {"response_format": FORMAT, "grammar": 'root ::= "a"'}, "grammar"),
        ("/v1/responses", {"text": {"format": {"type": "json_schema", "schema": {"not": {"const": 1}}}}},
         "text.format.schema.not"),
        ("/v1/responses", {"text": {"format": {"type": "json_schema", "nope": 1}}}, "text.format.nope"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_by_its_path(client: TestClient, route: str, fields: dict[str, Any], param: str) -> None:
    assert error_of(client.post(route, json={**ROUTES[route], **fields}), 400)["param"] == param


def test_nulls_in_a_schema_are_values(client: TestClient) -> None:
    assert text_of(post(client, CHAT, json_schema={"const": None})) == "null"
    assert text_of(post(client, CHAT, guided_json={"enum": [None]}, response_format=None)) == "null"


def test_a_response_repeats_its_format(client: TestClient) -> None:
    shape = {"type": "json_schema", "name": "p", "schema": SCHEMA, "strict": True}
    assert post(client, "/v1/responses", text={"format": shape})["text"]["format"] == shape


def test_the_reply_is_the_engine_s(client: TestClient, demo: Engine) -> None:
    expected = demo.chat(HI, seed=3, max_tokens=200, response_format=FORMAT)
    assert text_of(post(client, CHAT, response_format=FORMAT)) == expected.text
    assert expected.parsed == json.loads(expected.text)
    assert demo.chat(HI, seed=3, max_tokens=200, grammar=Grammar.json_schema(SCHEMA)).text == expected.text
