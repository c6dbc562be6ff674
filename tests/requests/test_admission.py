"""What is wrong with a request is said before it is submitted: which value, what was expected, what was found."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from oxillama import (
    AdapterError,
    ContextLengthError,
    Engine,
    InvalidRequestError,
)

PROMPT = "Once upon a time"


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ([], "the prompt is empty"),
        (np.zeros(0, np.int32), "the prompt is empty"),
        ([5, -1], "token -1 of the prompt is not in the vocabulary of 2048"),
        ([5, 2048], "token 2048 of the prompt is not in the vocabulary of 2048"),
        ([2**40], "token 1099511627776 of the prompt"),
        ([2**70, 1], "token 1180591620717411303424 of the prompt is not in the vocabulary"),
        ([1, None], "a flat sequence of token ids, found 1 dimensions of object"),
        (None, "must be a str or a flat sequence of token ids"),
        (7, "found 0 dimensions"),
        ([1.5], "found 1 dimensions of float64"),
        ([True], "found 1 dimensions of bool"),
        ([[1, 2]], "found 2 dimensions"),
        ([[1], [1, 2]], "a flat sequence of token ids, found list"),
        (["secret"], "found 1 dimensions of <U6"),
        (b"secret", "found bytes"),
        ({1: 2}, "found 0 dimensions of object"),
        ("\ud800", "lone surrogate at index 0"),
    ],
    ids=repr,
)
def test_a_prompt_that_is_none(demo: Engine, prompt: Any, message: str) -> None:
    calls: list[Callable[..., object]] = [demo.generate, demo.stream, demo.submit, demo.astream]
    for call in calls:
        with pytest.raises(InvalidRequestError) as caught:
            call(prompt, max_tokens=1)
        assert message in str(caught.value)
        assert caught.value.param == "prompt"
        assert "secret" not in str(caught.value)
    for evaluate in (demo.logits, demo.logprobs):
        with pytest.raises(InvalidRequestError) as caught:
            evaluate(prompt)
        assert caught.value.param == "prompt"
    assert demo.stats().queue_depth == 0


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int64, np.uint64])
def test_ids_may_be_any_integers(demo: Engine, kind: type[np.integer[Any]]) -> None:
    ids = [1, 100, 7]
    expected = demo.generate(ids, max_tokens=3, temperature=0).token_ids
    assert demo.generate(np.array(ids, kind), max_tokens=3, temperature=0).token_ids == expected


def test_an_empty_text_is_a_beginning(demo: Engine) -> None:
    assert demo.generate("", max_tokens=1).usage.prompt_tokens == 1


def test_control_text_of_a_user_is_text(demo: Engine) -> None:
    assert demo.generate("<|end|>", max_tokens=1).usage.prompt_tokens > 2


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", -0.1),
        ("temperature", math.nan),
        ("temperature", "hot"),
        ("top_p", 1.1),
        ("top_k", -1),
        ("max_tokens", -1),
        ("max_tokens", 2.5),
        ("n", 0),
        ("best_of", 0),
        ("seed", 2**65),
        ("logprobs", 21),
        ("repetition_penalty", 0),
        ("mirostat", 3),
        ("stop", [""]),
        ("stop", ["\ud800"]),
        ("stop_token_ids", [2048]),
        ("banned_tokens", [-1]),
        ("logit_bias", {5000: 1.0}),
        ("logit_bias", {"more than one token": 1.0}),
        ("deadline", -1),
        ("ignore_eos", 1),
        ("queue_timeout", -1),
        ("queue_timeout", math.nan),
        ("queue_timeout", "soon"),
        ("cache_salt", b"salt"),
        ("n", 10_000),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_a_parameter_without_sense_is_named(demo: Engine, name: str, value: Any) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        demo.generate(PROMPT, **{name: value})
    assert caught.value.param == name
    assert demo.stats().queue_depth == 0


def test_parameters_that_contradict_each_other(demo: Engine) -> None:
    with pytest.raises(InvalidRequestError, match="best_of must be at least n") as caught:
        demo.generate(PROMPT, n=3, best_of=2)
    assert caught.value.param == "best_of"
    with pytest.raises(InvalidRequestError, match="min_tokens must be at most max_tokens") as caught:
        demo.generate(PROMPT, max_tokens=3, min_tokens=4)
    assert caught.value.param == "min_tokens"


def test_more_choices_than_the_queue_holds(open_long: Callable[..., Engine]) -> None:
    engine = open_long(queue_size=4)
    with pytest.raises(InvalidRequestError, match="n is 5, the queue holds 4") as caught:
        engine.generate("x", n=5)
    assert caught.value.param == "n"
    with pytest.raises(InvalidRequestError, match="best_of is 5, the queue holds 4") as caught:
        engine.generate("x", best_of=5)
    assert caught.value.param == "best_of"
    assert len(engine.generate("x", n=4, max_tokens=1).choices) == 4


def test_what_this_version_does_not_have_is_refused(demo: Engine) -> None:
    with pytest.raises(AdapterError) as adapter:
        demo.generate(PROMPT, lora="unknown")
    assert adapter.value.param == "lora"


# Context


def test_a_prompt_as_long_as_the_context_is_refused(demo: Engine) -> None:
    n_ctx = demo.n_ctx
    with pytest.raises(ContextLengthError, match=f"{n_ctx} tokens, the context holds {n_ctx}") as caught:
        demo.generate([5] * n_ctx)
    assert (caught.value.n_prompt_tokens, caught.value.n_ctx) == (n_ctx, n_ctx)
    assert (caught.value.param, caught.value.code) == ("prompt", "context_length_exceeded")
    assert demo.generate([5] * (n_ctx - 1), ignore_eos=True).usage.completion_tokens == 1


def test_an_evaluation_may_fill_the_context(demo: Engine) -> None:
    n_ctx = demo.n_ctx
    assert demo.logprobs([5] * n_ctx).shape == (n_ctx,)
    with pytest.raises(ContextLengthError) as caught:
        demo.logprobs([5] * (n_ctx + 1))
    assert (caught.value.n_prompt_tokens, caught.value.n_ctx) == (n_ctx + 1, n_ctx)


def test_a_prompt_that_the_cache_can_never_hold_is_refused(open_long: Callable[..., Engine]) -> None:
    engine = open_long(n_ctx=512, kv_cache_tokens=64)
    with pytest.raises(ContextLengthError, match="65 tokens, the context holds 512 and the KV cache 64") as caught:
        engine.generate([5] * 65, max_tokens=1)
    assert (caught.value.n_prompt_tokens, caught.value.n_ctx) == (65, 64)
    with pytest.raises(ContextLengthError):
        engine.logits([5] * 65)
    # What begins inside ends where the cache does.
    completion = engine.generate([5] * 60, max_tokens=100, ignore_eos=True)
    assert completion.finish_reason == "length"
    assert completion.usage.total_tokens in (64, 65)


# Batches


def test_a_batch_is_made_of_prompts(demo: Engine) -> None:
    for prompts in ("one text", b"bytes"):
        with pytest.raises(InvalidRequestError) as caught:
            demo.generate_batch(prompts, max_tokens=1)  # type: ignore[arg-type]
        assert caught.value.param == "prompts"
    with pytest.raises(InvalidRequestError) as caught:
        demo.generate_batch([PROMPT, []], max_tokens=1)
    assert caught.value.param == "prompts[1]"
    assert demo.generate_batch([]) == []
