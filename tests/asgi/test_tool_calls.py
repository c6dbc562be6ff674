"""Tool calls over HTTP, in the official client's shapes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openai.types.responses import Response
from starlette.testclient import TestClient

from tests.asgi import events
from tests.asgi.replies import error_of

BAD = {"name": "a", "parameters": {"properties": {"x": {"type": "no"}}}}
HI = [{"role": "user", "content": "What is the weather?"}]
TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"enum": ["Bonn", "Rome"]}},
            "required": ["city"],
            "additionalProperties": False,
        },
        "strict": True,
    },
}
BODY: dict[str, Any] = {
    "messages": HI, "tools": [TOOL], "tool_choice": "required", "parallel_tool_calls": False,
    "seed": 1, "max_tokens": 150,
}  # fmt: skip


def test_a_call_whole_and_streamed(client: TestClient) -> None:
    whole = client.post("/v1/chat/completions", json=BODY).json()["choices"][0]
    assert whole["finish_reason"] == "tool_calls"
    assert whole["message"]["content"] is None
    (call,) = whole["message"]["tool_calls"]
    assert call["type"] == "function"
    assert json.loads(call["function"]["arguments"])["city"] in ("Bonn", "Rome")

    chunks = events.complete(client.post("/v1/chat/completions", json={**BODY, "stream": True}).text)
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks if chunk["choices"]]
    told = [one for delta in deltas for one in delta.get("tool_calls", [])]
    assert told[0]["id"] == call["id"]
    assert told[0]["function"]["name"] == "get_weather"
    assert all("id" not in one and "name" not in one["function"] for one in told[1:])
    assert "".join(one["function"]["arguments"] for one in told) == call["function"]["arguments"]
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"


def test_a_second_round_takes_call_and_result(client: TestClient) -> None:
    message = client.post("/v1/chat/completions", json=BODY).json()["choices"][0]["message"]
    result = {"role": "tool", "tool_call_id": message["tool_calls"][0]["id"], "content": "sunny"}
    body = {**BODY, "messages": [*HI, message, result], "tool_choice": "none", "max_tokens": 5}
    choice = client.post("/v1/chat/completions", json=body).json()["choices"][0]
    assert isinstance(choice["message"]["content"], str)


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"tool_choice": {"type": "function", "function": {"name": "other"}}}, "tool_choice"),
        ({"tools": None}, "tool_choice"),
        ({"tools": [{"type": "function", "function": BAD}]},
         "tools[0].function.parameters"),
        ({"parallel_tool_calls": "yes"}, "parallel_tool_calls"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(client: TestClient, change: dict[str, Any], param: str) -> None:
    error = error_of(client.post("/v1/chat/completions", json={**BODY, **change}), 400)
    assert error["param"].startswith(param)


# Responses

FLAT = {"type": "function", **TOOL["function"]}
RESPONSE: dict[str, Any] = {
    "input": "What is the weather?", "tools": [FLAT], "tool_choice": "required", "parallel_tool_calls": False,
    "seed": 1, "max_output_tokens": 150,
}  # fmt: skip


def test_a_response_has_the_call_as_an_item(client: TestClient) -> None:
    whole = client.post("/v1/responses", json=RESPONSE).json()
    assert Response.model_validate(whole).status == "completed"
    (item,) = whole["output"]
    assert (item["type"], item["name"], item["status"]) == ("function_call", "get_weather", "completed")
    assert json.loads(item["arguments"])["city"] in ("Bonn", "Rome")
    assert whole["tools"] == [FLAT]

    told = named_events(client.post("/v1/responses", json={**RESPONSE, "stream": True}).text)
    assert [each["sequence_number"] for each in told] == list(range(len(told)))
    types = [each["type"] for each in told]
    assert types[:3] == ["response.created", "response.in_progress", "response.output_item.added"]
    assert types[-3:] == [
        "response.function_call_arguments.done", "response.output_item.done", "response.completed",
    ]  # fmt: skip
    deltas = [each["delta"] for each in told if each["type"] == "response.function_call_arguments.delta"]
    assert "".join(deltas) == item["arguments"]
    assert told[-1]["response"]["output"][0]["call_id"] == item["call_id"]


def test_a_response_takes_the_call_and_its_output(client: TestClient) -> None:
    (item,) = client.post("/v1/responses", json=RESPONSE).json()["output"]
    output = {"type": "function_call_output", "call_id": item["call_id"], "output": "sunny"}
    asked = {"role": "user", "content": "What is the weather?"}
    body = {**RESPONSE, "input": [asked, item, output], "tool_choice": "none", "max_output_tokens": 5}
    found = client.post("/v1/responses", json=body).json()
    assert found["output"][0]["type"] == "message"
    wrong = {**body, "input": [asked, item, {**output, "call_id": "other"}]}
    assert error_of(client.post("/v1/responses", json=wrong), 400)["param"] == "input[2].call_id"


def named_events(text: str) -> list[dict[str, Any]]:
    lines = [line for line in text.splitlines() if line.startswith("data: ")]
    return [json.loads(line.removeprefix("data: ")) for line in lines]
