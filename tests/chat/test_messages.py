"""Messages of callers: what is wrong is named by its path, and what is right comes in one shape."""

from __future__ import annotations

from typing import Any

import pytest

from oxillama import ChatMessage, InvalidRequestError
from oxillama.chat.messages import MAX_DEPTH, Message, checked_kwargs, checked_messages, checked_tools, strings

USER: dict[Any, Any] = {"role": "user", "content": "x"}
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}


def assistant(**keys: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": "y", **keys}


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        ([], "messages"),
        ("hello", "messages"),
        (None, "messages"),
        (5, "messages"),
        (USER, "messages"),
        (ChatMessage(content="x"), "messages"),
        (["hello"], "messages[0]"),
        ([USER, None], "messages[1]"),
        ([{"content": "x"}], "messages[0].role"),
        ([{"role": "narrator", "content": "x"}], "messages[0].role"),
        ([{"role": 5, "content": "x"}], "messages[0].role"),
        ([{"role": ["user"], "content": "x"}], "messages[0].role"),
        ([{"role": "function", "name": "f", "content": "x"}], "messages[0].role"),
        ([{"role": "user"}], "messages[0].content"),
        ([{"role": "user", "content": None}], "messages[0].content"),
        ([{"role": "assistant", "content": None}], "messages[0].content"),
        ([{"role": "tool", "content": None}], "messages[0].content"),
        ([{"role": "user", "content": 5}], "messages[0].content"),
        ([{"role": "user", "content": b"x"}], "messages[0].content"),
        ([{"role": "user", "content": {"type": "text", "text": "x"}}], "messages[0].content"),
        ([{"role": "user", "content": "a\ud800"}], "messages[0].content"),
        ([{"role": "user", "content": ["x"]}], "messages[0].content[0]"),
        ([{"role": "user", "content": [{"text": "x"}]}], "messages[0].content[0].type"),
        ([USER, {"role": "user", "content": [{"type": "image_url", "image_url": {}}]}], "messages[1].content[0].type"),
        ([{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}], "messages[0].content[0].type"),
        ([{"role": "user", "content": [{"type": "file", "file": {}}]}], "messages[0].content[0].type"),
        ([{"role": "user", "content": [{"type": ["text"], "text": "x"}]}], "messages[0].content[0].type"),
        ([{"role": "user", "content": [{"type": "text"}]}], "messages[0].content[0].text"),
        ([{"role": "user", "content": [{"type": "text", "text": None}]}], "messages[0].content[0].text"),
        ([{"role": "user", "content": [{"type": "text", "text": "x", "image": 1}]}], "messages[0].content[0].image"),
        ([{**USER, "mood": "good"}], "messages[0].mood"),
        ([{**USER, "tool_calls": [CALL]}], "messages[0].tool_calls"),
        ([dict([*USER.items(), (5, "x")])], "messages[0]...."),
        ([{**USER, "name": 5}], "messages[0].name"),
        ([{"role": None, "content": "x"}], "messages[0].role"),
        ([{"role": "user", "content": [{"type": None, "text": "x"}]}], "messages[0].content[0].type"),
        ([{**USER, "parsed": {}, "reasoning": "hm"}], "messages[0].reasoning"),
        ([assistant(images=[{"url": "x"}])], "messages[0].images"),
        ([assistant(reasoning="a", reasoning_content="b")], "messages[0].reasoning"),
        ([assistant(reasoning=5)], "messages[0].reasoning"),
        ([assistant(audio={"id": "a"})], "messages[0].audio"),
        ([assistant(function_call={"name": "f"})], "messages[0].function_call"),
        ([assistant(content=None, refusal=5)], "messages[0].refusal"),
        ([assistant(reasoning_content=[])], "messages[0].reasoning_content"),
        ([assistant(tool_calls="f")], "messages[0].tool_calls"),
        ([assistant(tool_calls=["f"])], "messages[0].tool_calls[0]"),
        ([assistant(tool_calls=[{**CALL, "type": "custom"}])], "messages[0].tool_calls[0].type"),
        ([assistant(tool_calls=[{**CALL, "extra": 1}])], "messages[0].tool_calls[0].extra"),
        ([assistant(tool_calls=[{**CALL, "id": 5}])], "messages[0].tool_calls[0].id"),
        ([assistant(tool_calls=[{"id": "c", "type": "function"}])], "messages[0].tool_calls[0].function"),
        ([assistant(tool_calls=[{"function": {"arguments": ""}}])], "messages[0].tool_calls[0].function.name"),
        (
            [assistant(tool_calls=[{"function": {"name": "f", "arguments": 5}}])],
            "messages[0].tool_calls[0].function.arguments",
        ),
        (
            [assistant(tool_calls=[{"function": {"name": "f", "arguments": {"a": nested(99)}}}])],
            "messages[0].tool_calls[0].function.arguments",
        ),
        ([{"role": "tool", "content": "x", "tool_call_id": 5}], "messages[0].tool_call_id"),
    ],
)
def test_what_is_wrong_is_named_by_its_path(messages: Any, param: str) -> None:
    with pytest.raises(InvalidRequestError) as error:
        checked_messages(messages)
    assert error.value.param == param


def test_no_error_repeats_what_was_said() -> None:
    secret = "my secret is 12345"
    for messages in (
        [{"role": secret, "content": "x"}],
        [{"role": "user", "content": "x", secret: 1}],
        [{"role": "user", "content": [{"type": secret, "text": "x"}]}],
        [{"role": "user", "content": [{"type": "text", "text": "x", secret: 1}]}],
    ):
        with pytest.raises(InvalidRequestError) as error:
            checked_messages(messages)
        assert "secret" not in f"{error.value} {error.value.param}"


def test_a_type_of_part_that_is_not_supported_is_named() -> None:
    with pytest.raises(InvalidRequestError, match="text, input_text, output_text, refusal, found 'image_url'"):
        checked_messages([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}])


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (USER, USER),
        ({"role": "system", "content": ""}, {"role": "system", "content": ""}),
        ({"role": "user", "content": "x", "name": None}, USER),
        (assistant(annotations=[], audio=None, refusal=None, function_call=None, tool_calls=None), assistant()),
        (assistant(content=None, refusal="no"), assistant(content="no")),
        (assistant(content=None, reasoning_content="hm"), assistant(content="", reasoning_content="hm")),
        (
            assistant(content=[{"type": "output_text", "text": "a", "annotations": []}]),
            assistant(content=[{"type": "text", "text": "a"}]),
        ),
        (
            assistant(content=[{"type": "refusal", "refusal": "no"}]),
            assistant(content=[{"type": "text", "text": "no"}]),
        ),
        ({"role": "tool", "content": "4", "tool_call_id": "c"}, {"role": "tool", "content": "4", "tool_call_id": "c"}),
        (ChatMessage(content="y", reasoning_content="hm"), assistant(reasoning_content="hm")),
        ({**USER, "tool_calls": None, "mood": None, "": None}, USER),
        ({**USER, "tool_calls": [], "mood": {}}, USER),
        ({"role": "tool", "content": "4", "tool_call_id": None}, {"role": "tool", "content": "4"}),
        (assistant(parsed={"a": 1}, annotations=[{"type": "url_citation"}], id="m"), assistant()),
        (assistant(provider_specific_fields={"refusal": None}, thinking_blocks=[{"thinking": "hm"}]), assistant()),
        (assistant(content=None, reasoning="hm"), assistant(content="", reasoning_content="hm")),
        (assistant(reasoning="hm", reasoning_content="hm"), assistant(reasoning_content="hm")),
        ({**USER, "cache_control": {"type": "ephemeral"}}, USER),
        (
            {"role": "user", "content": [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}]},
            {"role": "user", "content": [{"type": "text", "text": "x"}]},
        ),
        (
            assistant(content=[{"type": "output_text", "text": "a", "parsed": None, "nope": None, "index": 0}]),
            assistant(content=[{"type": "text", "text": "a"}]),
        ),
        (
            assistant(
                tool_calls=[
                    {**CALL, "type": None, "index": 0, "nope": None, "provider_specific_fields": {}},
                    {"id": None, "function": {"name": "g", "arguments": "{}", "parsed_arguments": {}, "nope": None}},
                ]
            ),
            assistant(
                tool_calls=[
                    {"type": "function", "id": "c", "function": {"name": "f", "arguments": {"a": 1}}},
                    {"type": "function", "function": {"name": "g", "arguments": {}}},
                ]
            ),
        ),
    ],
)
def test_messages_come_in_one_shape(message: Any, expected: dict[str, Any]) -> None:
    assert checked_messages([message]) == [expected]
    assert checked_messages(iter([message])) == [expected]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ('{"a": 1}', {"a": 1}),
        ({"a": [1, None]}, {"a": [1, None]}),
        ("not json", "not json"),
        ("[1]", "[1]"),
        (None, {}),
    ],
)
def test_arguments_are_mappings_where_they_can_be(arguments: Any, expected: Any) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": arguments}}
    [checked] = checked_messages([assistant(content=None, tool_calls=[call])])
    assert checked["content"] == ""
    assert checked["tool_calls"] == [{"id": "c", "type": "function", "function": {"name": "f", "arguments": expected}}]


def test_the_callers_objects_stay_theirs() -> None:
    arguments = {"a": [1]}
    message = assistant(tool_calls=[{"function": {"name": "f", "arguments": arguments}}])
    [checked] = checked_messages([message])
    checked["tool_calls"][0]["function"]["arguments"]["a"].append(2)
    assert arguments == {"a": [1]}


def test_tools_are_plain_data() -> None:
    tool = {"type": "function", "function": {"name": "f"}}
    assert checked_tools(None) is None
    assert checked_tools([]) is None
    assert checked_tools((tool,)) == [tool]
    noted = {**tool, "cache_control": {"type": "ephemeral"}, "nope": None}
    assert checked_tools([noted]) == [tool]
    schema = {"properties": {"a": {"default": None, "enum": [None]}}}
    function = {"name": "f", "parameters": schema}
    assert checked_tools([{"type": "function", "function": {**function, "strict": None}}]) == [
        {"type": "function", "function": function}
    ]
    for tools, param in (("f", "tools"), ([5], "tools[0]"), ([{}], "tools[0]"), ([tool, {"type": tool}], "tools[1]")):
        with pytest.raises(InvalidRequestError) as error:
            checked_tools(tools)
        assert error.value.param == param


def test_keywords_are_plain_data() -> None:
    assert checked_kwargs(None, frozenset()) == {}
    assert checked_kwargs({"a": (1, "b")}, frozenset()) == {"a": [1, "b"]}
    for kwargs in ([1], {"a": {1}}, {5: 1}, {"a": nested(MAX_DEPTH + 1)}):
        with pytest.raises(InvalidRequestError):
            checked_kwargs(kwargs, frozenset())
    with pytest.raises(InvalidRequestError) as error:
        checked_kwargs({"tools": 1}, frozenset({"tools"}))
    assert error.value.param == "template_kwargs.tools"


def test_strings_are_found_at_any_depth() -> None:
    assert list(strings([{"a": ["b", 1, None, {"c": "d"}]}])) == ["a", "b", "c", "d"]


def test_a_typed_conversation_holds_mappings_and_replies() -> None:
    conversation: list[Message] = [{"role": "user", "content": "Who are you?"}]
    conversation += [ChatMessage(content="A fox."), {"role": "user", "content": [{"type": "text", "text": "Really?"}]}]
    assert [message["role"] for message in checked_messages(conversation)] == ["user", "assistant", "user"]
