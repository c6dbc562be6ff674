"""Items of the Responses API as messages, and errors about messages as errors about items."""

from __future__ import annotations

from typing import Any

import pytest

from oxillama import InvalidRequestError
from oxillama.asgi.errors import HTTPError
from oxillama.asgi.response_input import InputMessages
from oxillama.asgi.settings import Limits

LIMITS = Limits(max_messages=5)
USER = {"role": "user", "content": "hi"}


def messages(given: Any, instructions: str | None = None) -> list[dict[str, Any]]:
    return InputMessages(given, instructions, LIMITS).messages


def thought(text: str, key: str = "content") -> dict[str, Any]:
    kind = "reasoning_text" if key == "content" else "summary_text"
    return {"type": "reasoning", key: [{"type": kind, "text": text}]}


def test_a_text_is_a_message_of_the_user() -> None:
    assert messages("hi") == [USER]
    assert messages("hi", "be brief") == [{"role": "system", "content": "be brief"}, USER]


def test_what_was_thought_belongs_to_the_answer_behind_it() -> None:
    answer = {"type": "message", "role": "assistant", "content": "yes", "id": "msg_1", "status": "completed"}
    assert messages([USER, thought("hm"), thought(", well"), answer]) == [
        USER,
        {"role": "assistant", "content": "yes", "reasoning_content": "hm, well"},
    ]
    assert messages([USER, thought("short", "summary"), answer])[1]["reasoning_content"] == "short"


def test_a_thought_without_an_answer_is_an_answer_that_was_cut_off() -> None:
    assert messages([USER, thought("hm")])[1] == {"role": "assistant", "content": "", "reasoning_content": "hm"}


@pytest.mark.parametrize(
    ("item", "param"),
    [
        ({"role": "tool", "content": "x"}, "input[1].role"),
        ({"role": "user"}, "input[1].content"),
        ({"role": "user", "content": "x", "colour": "red"}, "input[1].colour"),
        ({"type": "file_search_call", "id": "x"}, "input[1].type"),
        ({"type": "item_reference", "id": "x"}, "input[1].type"),
        ({"type": "reasoning", "content": "hm"}, "input[1].content"),
        ({"type": "reasoning", "content": [{"type": "text", "text": "hm"}]}, "input[1].content[0]"),
        ({"type": "reasoning", "summary": [{"type": "summary_text"}]}, "input[1].summary[0]"),
    ],
)
def test_an_item_that_is_none_is_refused_by_its_place(item: dict[str, Any], param: str) -> None:
    with pytest.raises(HTTPError) as caught:
        messages([USER, item])
    assert (caught.value.status, caught.value.param) == (400, param)


def test_there_is_a_first_item_and_a_last() -> None:
    for given in ([], [USER] * 6):
        with pytest.raises(HTTPError, match="input") as caught:
            messages(given)
        assert caught.value.param == "input"


def test_an_error_about_a_message_is_one_about_its_item() -> None:
    given = InputMessages([thought("hm"), {"role": "assistant", "content": "a"}, USER], "be brief", LIMITS)
    for index, place in ((0, "instructions"), (1, "input[1].content"), (2, "input[2].content")):
        error = InvalidRequestError(f"messages[{index}].content is wrong", param=f"messages[{index}].content")
        moved = given.relocated(error)
        assert moved.param == place
        assert "messages[" not in str(moved)
    whole = given.relocated(InvalidRequestError("messages are too many", param="messages"))
    assert whole.param == "input"
    other = InvalidRequestError("no", param="temperature")
    assert given.relocated(other) is other
