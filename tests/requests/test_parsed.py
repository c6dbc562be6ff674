"""What a structured reply is worth: `.parsed`, of completions and of chats."""

from __future__ import annotations

import copy
import json
import pickle
from dataclasses import dataclass
from typing import Literal, TypedDict

import pytest

from oxillama import Engine, Grammar
from oxillama.results.chat import ChatMessage
from oxillama.results.completion import CompletionChoice

pytest.importorskip("llguidance", reason="the grammar engine is not installed")


@dataclass
class Pet:
    kind: Literal["cat", "dog"]
    legs: int
    happy: bool


class Named(TypedDict):
    name: Literal["Lily", "Tom"]


HI = [{"role": "user", "content": "Who are you?"}]


def test_a_completion_has_the_value_of_its_text(demo: Engine) -> None:
    schema = {"type": "object", "properties": {"a": {"enum": [1, 2]}}, "required": ["a"], "additionalProperties": False}
    completion = demo.generate("Once", grammar=Grammar.json_schema(schema), max_tokens=50, n=2, seed=1)
    assert completion.parsed == json.loads(completion.text)
    assert [choice.parsed["a"] in (1, 2) for choice in completion.choices] == [True, True]


def test_a_chat_gives_an_instance_of_the_type(demo: Engine) -> None:
    reply = demo.chat(HI, response_format=Pet, max_tokens=100, seed=2)
    assert isinstance(reply.parsed, Pet)
    assert reply.message.parsed == reply.parsed
    assert reply.finish_reason == "stop"
    named = demo.chat(HI, response_format=Named, max_tokens=100).message.parsed
    assert named["name"] in ("Lily", "Tom")


def test_a_pydantic_model_is_an_instance_of_itself(demo: Engine) -> None:
    pydantic = pytest.importorskip("pydantic")
    model = pydantic.create_model("Model", kind=(Literal["cat", "dog"], ...), legs=(int, pydantic.Field(ge=0, le=4)))
    reply = demo.chat(HI, response_format=model, max_tokens=100)
    assert isinstance(reply.parsed, model)


def test_texts_and_what_was_cut_have_none(demo: Engine) -> None:
    assert demo.generate("Once", max_tokens=2).parsed is None
    assert demo.generate("Once", grammar=Grammar.choice(["yes"]), max_tokens=9).parsed is None
    cut = demo.chat(HI, response_format=Pet, max_tokens=2)
    assert (cut.finish_reason, cut.parsed) == ("length", None)


def test_nothing_is_raised_until_asked(demo: Engine) -> None:
    reply = demo.chat(HI, response_format=Pet, max_tokens=100, stop=[","])
    assert reply.finish_reason == "stop"
    with pytest.raises(ValueError):  # noqa: PT011
        _ = reply.parsed


def test_results_are_equal_and_can_be_copied_whatever_made_them(demo: Engine) -> None:
    reply = demo.chat(HI, response_format=Pet, max_tokens=100, seed=2)
    assert copy.deepcopy(reply) == reply
    assert pickle.loads(pickle.dumps(reply)).parsed == reply.parsed
    assert ChatMessage(content=reply.text) == reply.message
    assert "grammar" not in repr(CompletionChoice(index=0, text="", token_ids=(), finish_reason="stop"))


def test_warnings_say_where_less_is_held(demo: Engine) -> None:
    schema = {"oneOf": [{"enum": [1, 2]}, {"enum": [2, 3]}]}
    relaxed = demo.generate("Once", grammar=Grammar.json_schema(schema, strict=False), max_tokens=9)
    assert relaxed.parsed in (1, 2, 3)
    assert "held as anyOf" in relaxed.warnings[0]
    shape = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    assert demo.chat(HI, response_format=shape, max_tokens=9).warnings == relaxed.warnings
    assert demo.generate("Once", max_tokens=1).warnings == ()


@pytest.mark.anyio
async def test_async_and_streamed_replies_are_the_same(demo: Engine) -> None:
    whole = demo.chat(HI, response_format=Pet, max_tokens=100, seed=2)
    again = await demo.achat(HI, response_format=Pet, max_tokens=100, seed=2)
    assert again.parsed == whole.parsed
    with demo.stream_chat(HI, response_format=Pet, max_tokens=100, seed=2) as stream:
        assert "".join(chunk.text for chunk in stream) == whole.text
