"""The way to call as a caller gives it: by name, as a record, its fields, a file; for an engine, a chat, an app."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from oxillama import Engine, InvalidRequestError
from oxillama.asgi import create_app
from oxillama.asgi.served_model import ServedModel
from oxillama.tools.syntax import ReplySyntax
from oxillama.tools.table import SYNTAXES, given_syntax
from tests.tools.test_tool_chats import ASK, ONE, SMALL

# A form that no template of the world has.
OWN = ReplySyntax(name="own", codec="arguments", head="@@{name}:", close=";;", kinds=(("a", "string"),), declares=False)


@pytest.mark.parametrize("syntax", [OWN, *SYNTAXES.values()], ids=lambda one: one.name)
def test_a_record_is_given_in_every_form(syntax: ReplySyntax, tmp_path: Path) -> None:
    fields = syntax.to_dict()
    path = tmp_path / "syntax.json"
    path.write_text(json.dumps(fields))
    assert ReplySyntax.from_dict(fields) == syntax
    for given in (syntax, fields, json.loads(json.dumps(fields)), str(path)):
        assert given_syntax(given) == syntax


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ("nope", "tool_syntax"),
        ({"nope": 1}, "tool_syntax.nope"),
        ({"head": 5}, "tool_syntax.head"),
        ({"codec": "tagged", "kinds": "x"}, "tool_syntax.kinds"),
        ({"codec": "no"}, "tool_syntax.codec"),
        (5, "tool_syntax"),
        ("/no/such.json", "tool_syntax"),
    ],
)
def test_what_is_none_is_named(given: Any, param: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        given_syntax(given)
    assert caught.value.param == param


def test_a_file_that_is_no_record(tmp_path: Path) -> None:
    for text in ("{", "[1]"):
        path = tmp_path / "bad.json"
        path.write_text(text)
        with pytest.raises(InvalidRequestError):
            given_syntax(str(path))


def test_a_chat_may_bring_its_own(demo: Engine) -> None:
    """And the engine's next one has the model's again."""
    before = demo.tool_syntax
    own = demo.chat(ASK, **ONE, max_tokens=60, seed=1, tool_syntax=OWN)
    assert [call.name for call in own.tool_calls] == ["get"]
    assert demo.detokenize(own.token_ids).lstrip().startswith("@@get:")
    assert demo.tool_syntax == before
    assert "@@get" not in demo.detokenize(demo.chat(ASK, **ONE, max_tokens=60, seed=1).token_ids)
    tools: dict[str, Any] = {"tools": [SMALL]}
    assert "@@" in demo.render_chat(ASK, tools=[SMALL], tool_syntax=OWN)
    assert demo.count_tokens(ASK, tool_syntax=OWN, **tools) != demo.count_tokens(ASK, **tools)


def test_an_app_has_its_own_for_each_model(demo: Engine) -> None:
    body = {"messages": ASK, **ONE, "max_tokens": 60, "seed": 1}
    written = []
    for app in (
        create_app(demo, tool_syntax=OWN),
        create_app({"one": demo, "two": demo}, tool_syntax={"two": OWN.to_dict()}),
        create_app({"two": ServedModel(demo, tool_syntax=OWN), "one": demo}),
    ):
        client = TestClient(app)
        for name in ("demo", "one", "two"):
            reply = client.post("/v1/chat/completions", json={**body, "model": name})
            if reply.status_code == 200:
                assert reply.json()["choices"][0]["finish_reason"] == "tool_calls"
                prompt = client.post("/apply-template", json={"messages": ASK, "tools": [SMALL], "model": name}).json()
                written.append((name, "@@" in prompt["prompt"]))
    assert written == [("demo", True), ("one", False), ("two", True), ("one", False), ("two", True)]
    with pytest.raises(InvalidRequestError, match="tool_syntax"):
        create_app({"one": demo}, tool_syntax={"two": OWN})
    with pytest.raises(InvalidRequestError, match="tool_syntax"):
        create_app(demo, tool_syntax="nope")
