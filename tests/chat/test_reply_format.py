"""What may be asked of a chat's reply, and what its text is split by."""

from __future__ import annotations

from typing import Any

import pytest

from oxillama import Engine, GrammarError, InvalidRequestError
from oxillama.chat.conversation import ChatPrompt
from oxillama.chat.reply_format import ReplyOptions

TOOL = {"type": "function", "function": {"name": "f"}}


@pytest.mark.parametrize(
    ("tools", "response_format", "reasoning_format", "param"),
    [
        ([{"type": "web_search"}], None, "auto", "tools[0].type"),
        ([TOOL, TOOL], None, "auto", "tools[1].function.name"),
        ("search", None, "auto", "tools"),
        ([{"name": "f"}], None, "auto", "tools[0]"),
        (None, {"type": "json_schema"}, "auto", "response_format.json_schema"),
        (None, {"type": 5}, "auto", "response_format"),
        (None, "json", "auto", "response_format"),
        (None, None, "deep", "reasoning_format"),
    ],
)
def test_what_cannot_be_had_is_named(tools: Any, response_format: Any, reasoning_format: Any, param: str) -> None:
    with pytest.raises(InvalidRequestError) as error:
        ReplyOptions(tools, response_format, reasoning_format)
    assert error.value.param == param
    is_grammar = isinstance(response_format, dict) and isinstance(response_format["type"], str)
    assert isinstance(error.value, GrammarError) == is_grammar


def test_thinking_is_split_off_unless_it_is_to_stay(demo: Engine) -> None:
    conversation = demo._conversation
    assert conversation is not None
    prompt = ChatPrompt(text="", ids=[], thinking=False)
    split = ReplyOptions(None, {"type": "text"}, "auto").format(conversation, prompt, stops=["."])
    assert (split.tags, split.thinking, split.stops) == (conversation.think_tags, False, (".",))
    whole = ReplyOptions([], None, "none").format(conversation, prompt, stops=[])
    assert whole.tags is None
    assert whole.splitter().push("<think>so</think>") == ("", "<think>so</think>")
