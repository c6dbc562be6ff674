"""A conversation with a tool in two rounds on a real chat model, streamed through the official client."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openai import OpenAI

from oxillama import Engine
from oxillama.asgi import create_app
from tests.asgi.servers import running

pytestmark = pytest.mark.real

TOOL: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city now.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "maxLength": 30}, "unit": {"enum": ["celsius", "fahrenheit"]}},
            "required": ["city", "unit"],
            "additionalProperties": False,
        },
        "strict": True,
    },
}


def streamed(client: OpenAI, messages: list[Any], **options: Any) -> Any:
    with client.chat.completions.stream(
        model="local", messages=messages, tools=[TOOL], temperature=0, max_tokens=120, seed=1, **options
    ) as stream:
        for _ in stream:
            pass
        return stream.get_final_completion().choices[0]


def test_a_tool_is_called_and_its_result_answered(smollm2: Engine) -> None:
    app = create_app(smollm2, model_aliases=["*"], api_keys=["k"])
    with running(app) as server, OpenAI(base_url=f"{server.url}/v1", api_key="k", max_retries=0) as client:
        messages: list[Any] = [{"role": "user", "content": "What is the weather in Paris right now, in celsius?"}]
        first = streamed(client, messages, tool_choice="required", parallel_tool_calls=False)
        assert first.finish_reason == "tool_calls"
        (call,) = first.message.tool_calls
        assert call.function.name == "get_weather"
        arguments = json.loads(call.function.arguments)
        assert "Paris" in arguments["city"]
        assert arguments["unit"] in ("celsius", "fahrenheit")
        result = {"role": "tool", "tool_call_id": call.id, "content": "The weather in Paris is 21 degrees and sunny."}
        messages += [first.message.model_dump(exclude_none=True), result]
        second = streamed(client, messages, tool_choice="none")
        assert second.message.content
        assert "21" in second.message.content or "sunny" in second.message.content
