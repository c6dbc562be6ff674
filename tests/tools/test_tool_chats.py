"""Chats with tools on an engine: what must be called is called, whole and streamed alike, and told to the next turn."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import pytest

from oxillama import Engine, InvalidRequestError
from oxillama.chat.messages import Message
from oxillama.results.chat import joined_deltas
from oxillama.tools.definitions import tool_set
from oxillama.tools.syntax import ReplySyntax
from oxillama.tools.table import SYNTAXES

ASK: list[Message] = [{"role": "user", "content": "What is the weather?"}]


def get_weather(city: Literal["Bonn", "Rome"], days: Literal[1, 2, 3] = 1) -> str:
    """The weather of a city.

    city: where it is
    """
    return f"{city}: sunny for {days} days"


@dataclass
class Note:
    """Keeps a short note."""

    kind: Literal["good", "bad"]


# The embedded model has a short context.
SMALL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get",
        "parameters": {
            "type": "object",
            "properties": {"city": {"enum": ["Bonn", "Rome"]}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}
ONE: dict[str, Any] = {"tools": [SMALL], "tool_choice": "required", "parallel_tool_calls": False}


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with Engine.demo(n_threads=1) as engine:
        yield engine


def test_functions_and_classes_become_definitions() -> None:
    weather, note = tool_set([get_weather, Note]).definitions
    assert weather["function"]["description"] == "The weather of a city."
    parameters = weather["function"]["parameters"]
    assert parameters["properties"]["city"] == {"enum": ["Bonn", "Rome"], "description": "where it is"}
    assert parameters["required"] == ["city"]
    assert note["function"]["name"] == "Note"
    assert note["function"]["parameters"]["required"] == ["kind"]


@pytest.mark.parametrize(
    ("tools", "param"),
    [
        ([{"type": "function", "function": {"name": "a b"}}], "tools[0].function.name"),
        ([{"type": "function", "function": {"name": "a", "parameters": {"type": "array"}}}],
         "tools[0].function.parameters"),
        ([{"type": "function", "function": {"name": "a", "nope": 1}}], "tools[0].function.nope"),
        ([get_weather, get_weather], "tools[1].function.name"),
        ([5], "tools[0]"),
    ],
)  # fmt: skip
def test_wrong_tools_are_named(tools: Any, param: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        tool_set(tools)
    assert caught.value.param == param


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("choice", ["required", {"name": "get"}])
def test_a_call_that_is_required_comes_valid_and_streams_the_same(engine: Engine, seed: int, choice: object) -> None:
    options: dict[str, Any] = {**ONE, "tool_choice": choice, "seed": seed, "max_tokens": 120}
    reply = engine.chat(ASK, **options)
    assert reply.finish_reason == "tool_calls"
    assert reply.message.content == ""
    (call,) = reply.tool_calls
    assert call.arguments["city"] in ("Bonn", "Rome")
    chunks = list(engine.stream_chat(ASK, **options))
    told = joined_deltas(chunk.delta for chunk in chunks).tool_calls
    assert [(one.id, one.name, one.arguments) for one in told] == [(call.id, call.name, call.arguments_json)]
    assert chunks[-1].finish_reason == "tool_calls"
    first = next(chunk.delta.tool_calls[0] for chunk in chunks if chunk.delta.tool_calls)
    assert (first.index, first.name) == (0, "get")


@pytest.mark.parametrize("name", sorted(set(SYNTAXES) - {"none", "harmony", "muse"}))
def test_every_way_to_call_holds_and_is_read_back(engine: Engine, name: str) -> None:
    with Engine.demo(n_threads=1, tool_syntax=name) as other:
        reply = other.chat(ASK, **ONE, max_tokens=150, seed=3)
    if SYNTAXES[name].starts_open:
        return  # its prompts end in the middle of what begins a call, and this template's do not
    assert [call.name for call in reply.tool_calls] == ["get"], reply.message
    assert reply.tool_calls[0].arguments["city"] in ("Bonn", "Rome")
    assert reply.finish_reason == "tool_calls"


def test_thinking_comes_before_a_call() -> None:
    hermes = SYNTAXES["hermes"].to_dict()
    thinker = ReplySyntax(**{**hermes, "think_open": "<<", "think_close": ">>"})
    with Engine.demo(n_threads=1, tool_syntax=thinker) as engine:
        replies = [
            engine.chat(ASK, **ONE, max_tokens=200, seed=seed, logit_bias={"<": 5.0, ">": 5.0}) for seed in range(3)
        ]
    for reply in replies:
        if reply.finish_reason == "tool_calls":
            assert reply.tool_calls[0].arguments["city"] in ("Bonn", "Rome")
        else:
            assert reply.finish_reason == "length"


def test_a_call_that_is_cut_is_told_with_what_there_is(engine: Engine) -> None:
    options: dict[str, Any] = {**ONE, "seed": 1}
    whole = engine.chat(ASK, max_tokens=100, **options)
    n_tokens = len(whole.token_ids)
    cut = next(
        reply
        for n in range(n_tokens - 1, 0, -1)
        if (reply := engine.chat(ASK, max_tokens=n, **options)).tool_calls
        and reply.tool_calls[0].arguments_json != whole.tool_calls[0].arguments_json
    )
    assert cut.finish_reason == "length"
    assert whole.tool_calls[0].arguments_json.startswith(cut.tool_calls[0].arguments_json)
    with pytest.raises(ValueError, match=r"."):
        _ = cut.tool_calls[0].arguments


def test_calls_and_results_are_told_to_the_next_turn(engine: Engine) -> None:
    reply = engine.chat(ASK, **ONE, max_tokens=100, seed=2)
    call = reply.tool_calls[0]
    result = {"role": "tool", "tool_call_id": call.id, "content": "sunny"}
    text = engine.render_chat([*ASK, reply.message, result], tools=[SMALL])
    assert '"name": "get"' in text
    assert "sunny" in text
    # In a second round the same seed names its calls differently.
    second = engine.chat([*ASK, reply.message, result], **ONE, max_tokens=100, seed=2)
    assert second.tool_calls[0].id != call.id
    with pytest.raises(InvalidRequestError) as caught:
        engine.chat([*ASK, reply.message, {**result, "tool_call_id": "other"}], tools=[SMALL], max_tokens=1)
    assert caught.value.param == "messages[2].tool_call_id"


def test_results_come_in_the_order_of_their_calls(engine: Engine) -> None:
    calls = [
        {
            "id": f"c{i}",
            "type": "function",
            "function": {"name": "get_weather", "arguments": json.dumps({"city": city})},
        }
        for i, city in enumerate(["Bonn", "Rome"])
    ]
    results = [{"role": "tool", "tool_call_id": f"c{i}", "content": f"result {i}"} for i in (1, 0)]
    text = engine.render_chat([*ASK, {"role": "assistant", "content": None, "tool_calls": calls}, *results])
    assert text.index("result 0") < text.index("result 1")


def test_none_of_it_without_tools(engine: Engine) -> None:
    assert engine.render_chat(ASK, tools=[]) == engine.render_chat(ASK)
    reply = engine.chat(ASK, tools=[get_weather], tool_choice="none", max_tokens=5, seed=1)
    plain = engine.chat(ASK, max_tokens=5, seed=1)
    assert reply.token_ids == plain.token_ids


def test_the_syntax_is_shown_and_can_be_given(engine: Engine) -> None:
    assert engine.tool_syntax.name == "generic"
    assert not engine.tool_syntax.declares
    with pytest.raises(InvalidRequestError) as caught:
        Engine.demo(tool_syntax="nonsense")
    assert caught.value.param == "tool_syntax"


def test_what_begins_a_call_is_banned_where_none_may_come() -> None:
    with Engine.demo(n_threads=1, tool_syntax=ReplySyntax(codec="json", head="<|user|>")) as engine:
        (opening,) = engine.tokenize("<|user|>", add_special=False, parse_special=True)
        wanted: dict[str, Any] = {"logit_bias": {opening: 100.0}, "max_tokens": 5, "seed": 1}
        assert opening in engine.chat(ASK, tools=[SMALL], **wanted).token_ids
        assert opening not in engine.chat(ASK, tools=[SMALL], tool_choice="none", **wanted).token_ids
