"""What may be asked of a chat's reply, and what its text is split by."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from oxillama import Engine, GrammarError, InvalidRequestError, SamplingParams
from oxillama.chat import reply_format
from oxillama.chat.conversation import ChatPrompt
from oxillama.chat.reply_format import ReplyOptions
from oxillama.tools.syntax import ReplySyntax
from oxillama.tools.table import SYNTAXES

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
    split = ReplyOptions(None, {"type": "text"}, "auto").format(conversation, prompt, params=SamplingParams(stop=["."]))
    assert (split.tags, split.thinking, split.stops) == (conversation.think_tags, False, (".",))
    whole = ReplyOptions([], None, "none").format(conversation, prompt, params=SamplingParams())
    assert whole.tags is None
    assert whole.splitter().push("<think>so</think>") == ("", "<think>so</think>")


def test_a_marker_that_other_parts_of_a_reply_begin_with_is_not_forbidden(
    demo: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """gpt-oss begins its thoughts, its answer and its calls with one token."""
    conversation = demo._conversation
    assert conversation is not None
    table = {"<|channel|>": 7, "<|call|>": 8}
    monkeypatch.setattr(reply_format, "_controls", lambda conversation, syntax: table)
    shared = SimpleNamespace(tool_syntax=SYNTAXES["harmony"])
    assert reply_format._opening_token(cast(Any, shared)) is None
    own = ReplySyntax(name="own", codec="json", head="<|call|>", close="", think_open="<|channel|>")
    assert reply_format._opening_token(cast(Any, SimpleNamespace(tool_syntax=own))) == 8
