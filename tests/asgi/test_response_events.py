"""The events of a response, and the object that they add up to."""

from __future__ import annotations

from typing import Any

import pytest

from oxillama.asgi.response_events import Event, ResponseBuilder
from oxillama.results.chat import ChatCompletionChunk, ChatDelta
from oxillama.results.completion import Usage


def chunk(*, content: str | None = None, reasoning: str | None = None, **other: Any) -> ChatCompletionChunk:
    return ChatCompletionChunk(delta=ChatDelta(content=content, reasoning_content=reasoning), **other)


def told(*chunks: ChatCompletionChunk) -> list[Event]:
    builder = ResponseBuilder(response_id="resp_1", model="m", echo={"temperature": 1.0})
    events = list(builder.begin())
    for one in chunks:
        events += builder.push(one)
    return [*events, *builder.finish()]


def kinds(events: list[Event]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in events]


TEXT = ["output_item.added", "content_part.added"]
TEXT_END = ["output_text.done", "content_part.done", "output_item.done"]


def test_every_event_has_the_next_number() -> None:
    events = told(chunk(content="a"), chunk(content="b", finish_reason="stop"))
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert kinds(events) == [
        *("created", "in_progress"),
        *TEXT,
        *("output_text.delta", "output_text.delta"),
        *TEXT_END,
        "completed",
    ]


def test_the_deltas_are_the_text_of_the_object() -> None:
    events = told(chunk(reasoning="h"), chunk(reasoning="m"), chunk(content="y"), chunk(content="es"))
    response = events[-1]["response"]
    for kind, place in (("reasoning_text", 0), ("output_text", 1)):
        deltas = [event["delta"] for event in events if event["type"] == f"response.{kind}.delta"]
        item = response["output"][place]
        assert item["content"][0]["text"] == "".join(deltas)
        (done,) = [event for event in events if event["type"] == f"response.{kind}.done"]
        assert done["text"] == "".join(deltas)
        assert {event["item_id"] for event in events if event.get("output_index") == place and "item_id" in event} == {
            item["id"]
        }
    assert [item["type"] for item in response["output"]] == ["reasoning", "message"]


def test_an_answer_of_no_words_is_one_all_the_same() -> None:
    events = told(chunk(finish_reason="stop"))
    (item,) = events[-1]["response"]["output"]
    assert (item["type"], item["content"][0]["text"]) == ("message", "")


@pytest.mark.parametrize(("reason", "status"), [("stop", "completed"), ("length", "incomplete")])
def test_what_was_cut_off_says_so(reason: str, status: str) -> None:
    usage = Usage(prompt_tokens=3, completion_tokens=2, cached_tokens=1, reasoning_tokens=1)
    last = told(chunk(reasoning="hm"), chunk(content="a", finish_reason=reason, usage=usage))[-1]
    response = last["response"]
    assert last["type"] == f"response.{status}"
    assert response["status"] == status
    assert (response["incomplete_details"] is None) == (status == "completed")
    # Reasoning that an answer follows is whole.
    assert [item["status"] for item in response["output"]] == ["completed", status] or reason == "length"
    assert response["output"][-1]["status"] == status
    assert response["usage"]["total_tokens"] == 5
    assert response["temperature"] == 1.0


def test_before_the_end_there_is_no_output() -> None:
    for event in told(chunk(content="a"))[:2]:
        assert event["response"]["output"] == []
        assert event["response"]["usage"] is None


def test_a_failure_is_an_event_with_the_shape_of_every_error() -> None:
    builder = ResponseBuilder(response_id="resp_1", model="m", echo={})
    error = {"message": "late", "type": "timeout_error", "param": None, "code": "deadline_exceeded"}
    event = builder.error(error)
    assert (event["type"], event["message"], event["code"]) == ("error", "late", "deadline_exceeded")
    assert event["error"] == error
