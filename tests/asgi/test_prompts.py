"""Prompts as clients send them: which of a list are one prompt, and whose fault it is."""

from __future__ import annotations

from typing import Any

import pytest

from oxillama import Engine, InvalidRequestError
from oxillama.asgi.errors import HTTPError
from oxillama.asgi.prompts import at, fill_in_the_middle, require_tokenizer, split_prompts
from oxillama.asgi.settings import Limits

LIMITS = Limits(max_prompts=3)


@pytest.mark.parametrize(
    ("raw", "prompts"),
    [
        ("a", ["a"]),
        ("", [""]),
        ([1, 2], [[1, 2]]),
        ([1] * 100, [[1] * 100]),  # ids are one prompt, however many
        (["a", "b"], ["a", "b"]),
        ([[1, 2], [3]], [[1, 2], [3]]),
        (["a", [1]], ["a", [1]]),
    ],
)
def test_one_prompt_or_several(raw: Any, prompts: list[Any]) -> None:
    assert split_prompts(raw, LIMITS) == prompts


@pytest.mark.parametrize(
    ("raw", "param", "message"),
    [
        ([], "prompt", "empty"),
        (["a"] * 4, "prompt", "at most 3"),
        ([1, "a"], "prompt[1]", "mixed"),
        (["a", 1], "prompt[0]", "mixed"),
        ([[1], 2], "prompt[0]", "mixed"),
    ],
)
def test_what_is_none_is_refused_by_its_place(raw: Any, param: str, message: str) -> None:
    with pytest.raises(HTTPError, match=message) as caught:
        split_prompts(raw, LIMITS)
    assert (caught.value.status, caught.value.param) == (400, param)


def test_a_vocabulary_without_tokens_for_it_cannot_fill_in(demo: Engine) -> None:
    with pytest.raises(HTTPError, match="fill-in-the-middle") as caught:
        fill_in_the_middle(require_tokenizer(demo), [1], [2])
    assert caught.value.param == "suffix"


@pytest.mark.parametrize("param", ["prompt", "text", "ids"])
def test_an_error_of_a_prompt_names_its_place(param: str) -> None:
    assert at("prompt[2]", InvalidRequestError("no", param=param)).param == "prompt[2]"


def test_an_error_of_something_else_keeps_its_own() -> None:
    assert at("prompt[2]", InvalidRequestError("no", param="temperature")).param == "temperature"
