"""The Responses API: streamed and whole replies are one, items in and out, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from openai.types.responses import ResponseIncludable
from starlette.testclient import TestClient

from oxillama import Engine
from oxillama.asgi import Limits, create_app
from oxillama.asgi.request_log import RequestRecord
from tests.asgi.chain_model import write_chain_model
from tests.asgi.replies import error_of
from tests.drafting import cheap_rows
from tests.patience import growing_limits

OPTIONS = {"max_output_tokens": 12, "temperature": 0}
THINKING = ("<think>", "Let me", " see", ".", "</think>", "The answer", " is", " 42", "!")


def ask(client: TestClient, **body: Any) -> dict[str, Any]:
    reply = client.post("/v1/responses", json=body)
    assert reply.status_code == 200, reply.text
    found: dict[str, Any] = reply.json()
    return found


def events_of(client: TestClient, **body: Any) -> list[dict[str, Any]]:
    """The events of a stream; checks what every stream must keep."""
    with client.stream("POST", "/v1/responses", json={**body, "stream": True}) as reply:
        assert reply.status_code == 200
        return events_in(reply.read().decode())


def events_in(body: str) -> list[dict[str, Any]]:
    # Not by iter_lines(), which also splits at characters that only Python takes for ends of lines.
    *lines, rest = body.split("\n")
    assert rest == ""
    events = []
    for name, data, end in zip(lines[::3], lines[1::3], lines[2::3], strict=True):
        event = json.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        assert end == ""
        events.append(event)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    return events


def anonymous(value: Any) -> Any:
    """Without what differs from reply to reply."""
    if isinstance(value, dict):
        hidden = {"id", "item_id", "created_at", "completed_at"}
        return {key: anonymous(each) for key, each in value.items() if key not in hidden}
    return [anonymous(each) for each in value] if isinstance(value, list) else value


@pytest.fixture(scope="module")
def thinker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A model that thinks the same before each answer."""
    path = tmp_path_factory.mktemp("models") / "thinker.gguf"
    write_chain_model(path, THINKING)
    with Engine(path, n_threads=1, progress=False) as engine:
        yield TestClient(create_app(engine))


def test_a_text_is_a_message_of_the_user(client: TestClient, demo: Engine) -> None:
    found = ask(client, input="Tell me a story.", **OPTIONS)
    expected = demo.chat([{"role": "user", "content": "Tell me a story."}], max_tokens=12, temperature=0)
    (item,) = found["output"]
    assert item["type"] == "message"
    assert item["role"] == "assistant"
    assert item["content"] == [{"type": "output_text", "text": expected.text, "annotations": [], "logprobs": []}]
    assert found["status"] == "incomplete"
    assert found["incomplete_details"] == {"reason": "max_output_tokens"}
    assert found["usage"]["input_tokens"] == expected.usage.prompt_tokens
    assert found["usage"]["output_tokens"] == 12
    assert found["usage"]["total_tokens"] == expected.usage.prompt_tokens + 12
    assert found["store"] is False


def test_items_and_instructions_are_messages(client: TestClient, demo: Engine) -> None:
    found = ask(
        client,
        instructions="Be brief.",
        input=[
            {"role": "user", "content": "Hello"},
            {
                "type": "message",
                "id": "msg_1",
                "status": "completed",
                "role": "assistant",
                "content": [{"type": "output_text", "text": "Hi.", "annotations": [], "logprobs": []}],
            },
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "A story?"}]},
        ],
        **OPTIONS,
    )
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Hi."},
        {"role": "user", "content": "A story?"},
    ]
    expected = demo.chat(messages, max_tokens=12, temperature=0)
    assert found["output"][0]["content"][0]["text"] == expected.text
    assert found["usage"]["input_tokens"] == expected.usage.prompt_tokens
    assert found["instructions"] == "Be brief."


def test_a_stream_tells_the_whole_reply_step_by_step(client: TestClient) -> None:
    events = events_of(client, input="Tell me a story.", **OPTIONS)
    whole = ask(client, input="Tell me a story.", **OPTIONS)
    kinds = [event["type"] for event in events]
    deltas = kinds.count("response.output_text.delta")
    assert deltas > 1
    assert kinds == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        *["response.output_text.delta"] * deltas,
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.incomplete",
    ]
    text = whole["output"][0]["content"][0]["text"]
    assert "".join(event["delta"] for event in events if event["type"].endswith(".delta")) == text
    assert anonymous(events[-1]["response"]) == anonymous(whole) | {
        "usage": events[-1]["response"]["usage"]  # how much of the prompt the cache had differs
    }
    assert events[0]["response"]["status"] == "in_progress"
    assert len({event["response"]["id"] for event in events if "response" in event}) == 1
    assert len({event["item_id"] for event in events if "item_id" in event}) == 1
    assert events[-2]["item"] == events[-1]["response"]["output"][0]


def test_thinking_is_an_item_of_its_own(thinker: TestClient) -> None:
    whole = ask(thinker, input="Well?")
    reasoning, message = whole["output"]
    assert reasoning["type"] == "reasoning"
    assert reasoning["content"] == [{"type": "reasoning_text", "text": "Let me see."}]
    assert reasoning["summary"] == []
    assert message["content"][0]["text"] == "The answer is 42!"
    assert whole["status"] == reasoning["status"] == message["status"] == "completed"
    assert whole["completed_at"] >= whole["created_at"]
    # The end token is one too.
    assert whole["usage"]["output_tokens"] == len(THINKING) + 1
    assert whole["usage"]["output_tokens_details"]["reasoning_tokens"] == 5


def test_thinking_is_streamed(thinker: TestClient) -> None:
    events = events_of(thinker, input="Well?")
    kinds = list(dict.fromkeys(event["type"] for event in events))
    assert kinds == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.reasoning_text.delta",
        "response.reasoning_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.output_text.delta",
        "response.output_text.done",
        "response.completed",
    ]
    for kind, text, index in (("reasoning_text", "Let me see.", 0), ("output_text", "The answer is 42!", 1)):
        deltas = [event for event in events if event["type"] == f"response.{kind}.delta"]
        assert "".join(event["delta"] for event in deltas) == text
        assert {event["output_index"] for event in deltas} == {index}
    assert anonymous(events[-1]["response"]["output"]) == anonymous(ask(thinker, input="Well?")["output"])


def test_thinking_that_is_cut_off(thinker: TestClient) -> None:
    whole = ask(thinker, input="Well?", max_output_tokens=3)
    (reasoning,) = whole["output"]
    assert reasoning["type"] == "reasoning"
    assert reasoning["status"] == whole["status"] == "incomplete"


def test_earlier_items_can_be_sent_back(thinker: TestClient) -> None:
    first = ask(thinker, input="Well?")
    again = ask(
        thinker, input=[{"role": "user", "content": "Well?"}, *first["output"], {"role": "user", "content": "?"}]
    )
    assert again["output"][1]["content"][0]["text"] == "The answer is 42!"
    assert again["usage"]["input_tokens"] > first["usage"]["input_tokens"]


def test_an_answer_without_words_is_an_empty_message(tmp_path: Path) -> None:
    write_chain_model(tmp_path / "silent.gguf", [])
    with Engine(tmp_path / "silent.gguf", n_threads=1, progress=False) as engine:
        client = TestClient(create_app(engine))
        (item,) = ask(client, input="Well?")["output"]
        assert item["content"][0]["text"] == ""
        assert [event["type"] for event in events_of(client, input="Well?")][-1] == "response.completed"


def test_logprobs(client: TestClient) -> None:
    options = {**OPTIONS, "include": ["message.output_text.logprobs"], "top_logprobs": 2}
    (part,) = ask(client, input="Tell me a story.", **options)["output"][0]["content"]
    assert "".join(entry["token"] for entry in part["logprobs"]).strip() == part["text"].strip()
    assert all(len(entry["top_logprobs"]) == 2 and entry["logprob"] <= 0 for entry in part["logprobs"])
    events = events_of(client, input="Tell me a story.", **options)
    streamed = [entry for event in events if event["type"].endswith("text.delta") for entry in event["logprobs"]]
    assert streamed == part["logprobs"]


def test_sampling_options_are_those_of_chats(client: TestClient, demo: Engine) -> None:
    messages = [{"role": "user", "content": "A story?"}]
    sampling: dict[str, Any] = {"temperature": 1.2, "top_p": 0.9, "seed": 5, "top_k": 50, "repetition_penalty": 1.1}
    found = ask(client, input="A story?", max_output_tokens=16, stop=["zzz"], **sampling)
    assert found["output"][0]["content"][0]["text"] == demo.chat(messages, max_tokens=16, **sampling).text
    assert (found["temperature"], found["top_p"]) == (1.2, 0.9)


def test_what_asks_for_nothing_is_accepted(client: TestClient) -> None:
    neutral: dict[str, Any] = {
        "store": False,
        "tools": [],
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "background": False,
        "previous_response_id": None,
        "truncation": "disabled",
        "include": [],
        "text": {"format": {"type": "text"}, "verbosity": "medium"},
        "reasoning": {"effort": "low"},
        "metadata": {"a": "b"},
        "service_tier": "auto",
        "user": "u",
        "stream_options": {"include_obfuscation": False},
    }
    assert ask(client, input="a", **OPTIONS, **neutral)["metadata"] == {"a": "b"}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, {"parallel_tool_calls": True, "tool_choice": "auto"}),
        ({"parallel_tool_calls": None, "tool_choice": None}, {"parallel_tool_calls": True, "tool_choice": "auto"}),
        ({"parallel_tool_calls": False, "tool_choice": "none"}, {"parallel_tool_calls": False, "tool_choice": "none"}),
    ],
)
def test_what_is_said_of_tools_is_given_back(client: TestClient, given: dict[str, Any], told: dict[str, Any]) -> None:
    whole = ask(client, input="a", **OPTIONS, **given)
    assert {name: whole[name] for name in told} == told
    for event in events_of(client, input="a", **OPTIONS, **given):
        if "response" in event:
            assert {name: event["response"][name] for name in told} == told


def test_the_verbosity_is_told(client: TestClient) -> None:
    assert ask(client, input="a", **OPTIONS)["text"] == {"format": {"type": "text"}, "verbosity": "medium"}


def test_what_may_be_included_of_items_that_there_never_are(client: TestClient) -> None:
    bare = ask(client, input="a", **OPTIONS)
    for name in get_args(ResponseIncludable):
        if name != "message.output_text.logprobs":
            assert (
                ask(client, input="a", include=[name], **OPTIONS)["output"][0]["content"]
                == (bare["output"][0]["content"])
            )


def test_the_effort_is_a_variable_of_the_template(open_long: Callable[..., Engine]) -> None:
    template = (
        "{{ reasoning_effort }}{{ enable_thinking }}{% for message in messages %}{{ message.content }}{% endfor %}"
    )
    client = TestClient(create_app(open_long(chat_template=template)))

    def length(**options: Any) -> int:
        found = ask(client, input="a", max_output_tokens=1, **options)
        return int(found["usage"]["input_tokens"])

    bare = length()
    assert length(reasoning={"effort": "low"}) == bare + len("low")
    assert length(reasoning={"effort": "none"}) == bare + len("noneFalse")
    assert length(reasoning={"effort": "none"}, chat_template_kwargs={"enable_thinking": True}) == bare + len(
        "noneTrue"
    )


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "input"),
        ({"input": None}, "input"),
        ({"input": []}, "input"),
        ({"input": "a", "store": True}, "store"),
        ({"input": "a", "previous_response_id": "resp_1"}, "previous_response_id"),
        ({"input": "a", "background": True}, "background"),
        ({"input": "a", "tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"input": "a", "tools": [{"type": "function", "name": "a b"}]}, "tools[0].name"),
        ({"input": "a", "tool_choice": {"type": "function", "name": "f"}}, "tool_choice"),
        ({"input": "a", "tool_choice": "required"}, "tool_choice"),
        ({"input": "a", "truncation": "auto"}, "truncation"),
        ({"input": "a", "conversation": "c"}, "conversation"),
        ({"input": "a", "text": {"format": {"type": "json_object", "schema": {}}}}, "text.format.schema"),
        ({"input": "a", "metadata": {str(number): "" for number in range(17)}}, "metadata"),
        ({"input": "a", "metadata": {"a": "x" * 513}}, "metadata"),
        ({"input": "a", "reasoning": {"mode": "pro"}}, "reasoning.mode"),
        ({"input": "a", "text": {"verbosity": "low"}}, "text.verbosity"),
        ({"input": "a", "text": {"format": {"type": "text", "strict": True}}}, "text.format.strict"),
        ({"input": "a", "text": {"format": {"type": "xml"}}}, "text.format.type"),
        ({"input": "a", "include": ["reasoning.encrypted_content", "nope"]}, "include[1]"),
        ({"input": "a", "top_logprobs": 2}, "top_logprobs"),
        ({"input": "a", "max_output_tokens": -2}, "max_output_tokens"),
        ({"input": "a", "max_tokens": 5}, "max_tokens"),
        ({"input": "a", "n": 2}, "n"),
        ({"input": "a", "temperature": -1}, "temperature"),
        ({"input": "a", "nope": 1}, "nope"),
        ({"input": "a", "chat_template_kwargs": {"messages": []}}, "chat_template_kwargs.messages"),
        ({"input": [{"role": "user"}]}, "input[0].content"),
        ({"input": [{"role": "tool", "content": "a"}]}, "input[0].role"),
        ({"input": [{"role": "user", "content": "a", "nope": 1}]}, "input[0].nope"),
        ({"input": [{"type": "function_call", "name": "f"}]}, "input[0].call_id"),
        ({"input": [{"type": "function_call_output", "call_id": "c"}]}, "input[0].output"),
        ({"input": [{"type": "web_search_call"}]}, "input[0].type"),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "input[0].type"),
        ({"input": [{"type": ["message"]}]}, "input[0].type"),
        ({"input": [{"type": "reasoning", "summary": "a"}]}, "input[0].summary"),
        ({"input": [{"type": "reasoning", "content": [{"type": "text"}]}]}, "input[0].content[0]"),
        (
            {"instructions": "x", "input": [{"role": "user", "content": [{"type": "input_image"}]}]},
            "input[0].content[0].type",
        ),
        ({"input": [{"role": "user", "content": 5}]}, "input[0].content"),
    ],
)
def test_what_is_wrong_is_named(client: TestClient, body: dict[str, Any], param: str) -> None:
    error = error_of(client.post("/v1/responses", json=body), 400)
    assert error["param"] == param
    assert "messages[" not in error["message"]


def test_too_long_an_input_is_told_before_the_stream(client: TestClient, demo: Engine) -> None:
    error = error_of(client.post("/v1/responses", json={"input": "story " * 2000, "stream": True}), 400)
    assert (error["code"], error["param"]) == ("context_length_exceeded", "input")
    assert error["n_ctx"] == demo.n_ctx


def test_the_number_of_items_is_limited(demo: Engine) -> None:
    client = TestClient(create_app(demo, limits=Limits(max_messages=1)))
    item = {"role": "user", "content": "a"}
    assert ask(client, input=[item], **OPTIONS)["output"]
    assert error_of(client.post("/v1/responses", json={"input": [item, item]}), 400)["param"] == "input"


def test_a_failure_within_a_stream_is_one_last_event(open_long: Callable[..., Engine]) -> None:
    template = "{% for message in messages %}{{ message.content }}{% endfor %}"
    client = TestClient(create_app(open_long(chat_template=template)))
    for deadline in growing_limits():
        reply = client.post(
            "/v1/responses", json={"input": "A story?", "ignore_eos": True, "stream": True, "deadline": deadline}
        )
        assert reply.status_code in (200, 504)
        events = events_in(reply.text) if reply.status_code == 200 else []
        if any(event["type"] == "response.output_text.delta" for event in events):
            break
    assert [event["type"] for event in events[:2]] == ["response.created", "response.in_progress"]
    assert "response.output_text.delta" in {event["type"] for event in events}
    last = events[-1]
    assert last["type"] == "error"
    assert last["code"] == last["error"]["code"] == "deadline_exceeded"
    assert last["error"]["type"] == "timeout_error"
    assert "error" not in {event["type"] for event in events[:-1]}


def test_counts_reach_the_record(demo: Engine) -> None:
    own = create_app(demo)
    records: list[RequestRecord] = []
    own.state.service.observers.append(records.append)
    client = TestClient(own)
    ask(client, input="A story?", **OPTIONS)
    events_of(client, input="A story?", **OPTIONS)
    for record in records:
        assert record.route == "/v1/responses"
        assert [usage.completion_tokens for usage in record.usages] == [12]
        assert record.finish_reasons == ["length"]
        assert len(record.timings) == 1
    assert [record.stream for record in records] == [False, True]


def test_a_predicted_text_changes_nothing_and_is_counted(client: TestClient) -> None:
    options = {"input": "One day", "max_output_tokens": 40, "temperature": 0}
    expected = ask(client, **options)["output"][0]["content"][0]["text"]
    with cheap_rows():
        found = ask(client, **options, prediction={"type": "content", "content": expected})
    assert found["output"][0]["content"][0]["text"] == expected
    details = found["usage"]["output_tokens_details"]
    assert details["accepted_prediction_tokens"] > 10
    assert details["rejected_prediction_tokens"] >= 0
