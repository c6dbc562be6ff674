"""Histories as client libraries hand them back: what they note beside a reply is nothing that the model reads."""

from __future__ import annotations

from typing import Any

import pytest
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletion, ChatCompletionChunk, ChatCompletionMessage, ParsedChatCompletionMessage
from openai.types.responses import ParsedResponseOutputMessage, Response, ResponseOutputMessage
from starlette.testclient import TestClient

from tests.asgi import events
from tests.asgi.replies import error_of

USER = {"role": "user", "content": "Tell me a story."}
SAID = "Once upon a time."
PLAIN = {"role": "assistant", "content": SAID}
CALL = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": '{"at": "sky"}'}}
ANSWER = {"role": "tool", "tool_call_id": "call_1", "content": "blue"}
CACHED = {"cache_control": {"type": "ephemeral"}}

# The same assistant message, as it comes back from each library.
REPLIES: dict[str, dict[str, Any]] = {
    "openai": ChatCompletionMessage(role="assistant", content=SAID).model_dump(),
    "openai, parsed": {**ParsedChatCompletionMessage[Any](role="assistant", content=SAID).model_dump()},
    "openai, parsed to an object": {**PLAIN, "refusal": None, "parsed": {"title": "Once"}},
    "openai, with citations": {**PLAIN, "annotations": [{"type": "url_citation", "url_citation": {"url": "x"}}]},
    "openai, stored": {**PLAIN, "id": "chatcmpl-1-0", "content_parts": None},
    "litellm": {**PLAIN, "tool_calls": None, "function_call": None, "provider_specific_fields": None},
    "litellm, of a provider": {
        **PLAIN, "tool_calls": None, "function_call": None, "provider_specific_fields": {"refusal": None},
        "thinking_blocks": [], "images": [],
    },
    "langchain": {**PLAIN, "name": None},
    "langchain, in blocks": {
        "role": "assistant",
        "content": [{"type": "text", "text": SAID, "index": 0, "id": "msg_1", "annotations": [], "phase": None}],
    },
    "vllm": {
        **PLAIN, "refusal": None, "annotations": None, "audio": None, "function_call": None, "tool_calls": [],
        "reasoning": None, "reasoning_content": None,
    },
    "openrouter": {**PLAIN, "refusal": None, "reasoning": None, "reasoning_details": [{"type": "reasoning.text"}]},
    "vercel": {**PLAIN, "reasoning_content": None, "extra_content": {"google": {"thought_signature": "x"}}},
    "anthropic's marks": {**PLAIN, **CACHED},
}  # fmt: skip


def num_prompt_tokens(client: TestClient, messages: list[dict[str, Any]]) -> int:
    reply = client.post("/v1/chat/completions", json={"messages": messages, "max_tokens": 1})
    assert reply.status_code == 200, reply.text
    return int(reply.json()["usage"]["prompt_tokens"])


@pytest.mark.parametrize("library", REPLIES)
def test_a_reply_comes_back(client: TestClient, library: str) -> None:
    expected = num_prompt_tokens(client, [USER, PLAIN, USER])
    assert num_prompt_tokens(client, [USER, REPLIES[library], USER]) == expected


def test_a_whole_conversation_of_openai_s_client(client: TestClient) -> None:
    body = {"messages": [USER], "max_tokens": 5}
    reply = ChatCompletion.model_validate(client.post("/v1/chat/completions", json=body).json())
    state: ChatCompletionStreamState[None] = ChatCompletionStreamState()
    streamed = client.post("/v1/chat/completions", json={**body, "stream": True, "stream_options": {}})
    for chunk in events.complete(streamed.text):
        state.handle_chunk(ChatCompletionChunk.model_validate(chunk))
    for message in (
        reply.choices[0].message.model_dump(),
        reply.choices[0].message.to_dict(),
        state.current_completion_snapshot.choices[0].message.model_dump(),
        ParsedChatCompletionMessage[Any].model_validate(reply.choices[0].message.model_dump()).model_dump(),
    ):
        assert num_prompt_tokens(client, [USER, message, USER]) > 0


def test_thoughts_come_back_under_either_name(client: TestClient) -> None:
    def rendered(**thought: Any) -> str:
        messages = [USER, {**PLAIN, **thought}, USER]
        return str(client.post("/apply-template", json={"messages": messages}).json()["prompt"])

    assert (
        rendered(reasoning="hm") == rendered(reasoning_content="hm") == rendered(reasoning="hm", reasoning_content="hm")
    )


def test_tool_calls_come_back(client: TestClient) -> None:
    """As the stream helper of OpenAI's client, litellm and pydantic-ai write them."""
    plain = [USER, {"role": "assistant", "content": None, "tool_calls": [CALL]}, ANSWER]
    body = {"tools": None, "messages": plain}
    expected = client.post("/apply-template", json=body)
    noted = {
        **CALL,
        "index": 0,
        "custom": None,
        "provider_specific_fields": {"thought_signature": "x"},
        "function": {**CALL["function"], "parsed_arguments": {"at": "sky"}, "provider_specific_fields": None},  # type: ignore[dict-item]
    }
    messages = [
        {**USER, **CACHED},
        {"role": "assistant", "content": None, "parsed": None, "refusal": None, "tool_calls": [noted]},
        {**ANSWER, "name": None, "tool_calls": None},
    ]
    found = client.post("/apply-template", json={"messages": messages})
    # The embedded model's own template has no tools; whatever it says of them, it says of both.
    assert (found.status_code, found.json()) == (expected.status_code, expected.json())


@pytest.mark.parametrize("route", ["/v1/chat/completions", "/apply-template", "/tokenize"])
@pytest.mark.parametrize("given", [{}, {"tool_call_id": None}])
def test_a_tool_s_message_names_its_call(client: TestClient, route: str, given: dict[str, Any]) -> None:
    messages = [USER, {"role": "tool", "content": "blue", **given}]
    error = error_of(client.post(route, json={"messages": messages}), 400)
    assert (error["param"], error["code"]) == ("messages[1].tool_call_id", "missing_field")


def test_what_a_message_says_under_other_keys_is_not_dropped(client: TestClient) -> None:
    for message, key in ((PLAIN, "mood"), (USER, "parsed"), (PLAIN, "audio"), (PLAIN, "function_call")):
        body = {"messages": [USER, {**message, key: {"a": 1}}, USER]}
        error = error_of(client.post("/v1/chat/completions", json=body), 400)
        assert error["param"] == f"messages[1].{key}"


class TestResponses:
    def test_an_output_comes_back(self, client: TestClient) -> None:
        body = {"input": "Tell me a story.", "max_output_tokens": 5}
        raw = client.post("/v1/responses", json=body).json()
        (item,) = Response.model_validate(raw).output
        assert isinstance(item, ResponseOutputMessage)
        parsed = ParsedResponseOutputMessage[Any].model_validate(item.model_dump())
        part: dict[str, Any] = {"type": "output_text", "text": item.content[0].text, "annotations": []}  # type: ignore[union-attr]
        plain = {"role": "assistant", "content": [part]}
        expected = self.num_input_tokens(client, [USER, plain, USER])
        noted = item.model_dump()
        noted["content"][0] |= {"parsed": {"a": 1}, "nope": None}
        for each in (raw["output"][0], item.model_dump(), item.to_dict(), parsed.model_dump(), {**noted, "nope": None}):
            assert self.num_input_tokens(client, [USER, each, USER]) == expected

    def test_items_as_the_libraries_write_them(self, client: TestClient) -> None:
        expected = self.num_input_tokens(client, [USER, PLAIN, USER])
        nothing = dict.fromkeys(("encrypted_content", "content", "status"))
        thought: dict[str, Any] = {"id": "rs_1", "type": "reasoning", "summary": [], **nothing}
        text = {"type": "output_text", "text": SAID}
        for item in (
            {"role": "assistant", "content": [text], "id": "msg_1", "type": None, "status": None, "phase": None},
            {"role": "assistant", "content": [{**text, "logprobs": None, "annotations": None}], "type": "message"},
            {**PLAIN, "type": "message", "tool_calls": None},
        ):
            assert self.num_input_tokens(client, [USER, item, USER]) == expected
            assert self.num_input_tokens(client, [USER, thought, item, USER]) == expected

    def test_marks_for_caches_say_nothing(self, client: TestClient) -> None:
        part = {"type": "input_text", "text": "Tell me a story."}
        expected = self.num_input_tokens(client, [{"role": "user", "content": [part]}])
        marked = {**part, **CACHED, "prompt_cache_breakpoint": {"mode": "explicit"}}
        assert self.num_input_tokens(client, [{"role": "user", "content": [marked]}]) == expected
        assert self.num_input_tokens(client, [{"role": "user", "content": [part], **CACHED}]) == expected

    @staticmethod
    def num_input_tokens(client: TestClient, items: list[dict[str, Any]]) -> int:
        reply = client.post("/v1/responses", json={"input": items, "max_output_tokens": 1})
        assert reply.status_code == 200, reply.text
        return int(reply.json()["usage"]["input_tokens"])
