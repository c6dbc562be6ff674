"""Budgets of thinking, and stop texts behind it, on an engine: exact, streamed or not, alone or in a crowd."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from oxillama import Engine, Grammar, InvalidRequestError
from oxillama.chat.messages import Message
from oxillama.results.chat import ChatCompletion, joined_deltas

TURNS = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
# Prompts open thinking, and know what closes it.
OPENING = TURNS + "{% if add_generation_prompt %}assistant:{{ '<think>\n' }}{% endif %}{# </think> #}"
DECIDING = TURNS + "{% if add_generation_prompt %}assistant: {% endif %}{# </think> #}"
ASK: list[Message] = [{"role": "user", "content": "Tell me of the fox!"}]
# Thinks for as long as it may, and says something then.
THINKING_LARK = Grammar.lark('start: "<think>" thoughts /[a-z]*/\nthoughts[lazy]: /[a-z <>\\/]*<\\/think>/')


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with Engine.demo(n_threads=2, chat_template=OPENING) as engine:
        yield engine


@pytest.fixture(scope="module")
def deciding() -> Iterator[Engine]:
    with Engine.demo(n_threads=1, chat_template=DECIDING) as engine:
        yield engine


def closers(engine: Engine) -> tuple[int, ...]:
    assert engine.tokenizer is not None
    return tuple(engine.tokenizer.encode("</think>", add_special=False))


def facts(reply: ChatCompletion) -> list[tuple[Any, ...]]:
    return [
        (one.message.content, one.message.reasoning_content, one.message.tool_calls and 1, one.token_ids, one.logprobs)
        for one in reply.choices
    ]


@pytest.mark.parametrize("budget", [0, 1, 5, 40])
@pytest.mark.parametrize("seed", [1, 2])
def test_so_many_tokens_are_thought_and_then_it_answers(engine: Engine, budget: int, seed: int) -> None:
    options: dict[str, Any] = {"seed": seed, "max_tokens": 60, "ignore_eos": True}
    free = engine.chat(ASK, **options)
    assert free.message.content == ""
    reply = engine.chat(ASK, **options, thinking_budget=budget)
    ids = reply.choices[0].token_ids
    close = closers(engine)
    assert ids[:budget] == free.choices[0].token_ids[:budget]
    assert ids[budget : budget + len(close)] == close
    assert reply.usage.reasoning_tokens == budget + len(close)
    assert reply.message.content
    assert bool(reply.message.reasoning_content) == (budget > 0)
    chunks = list(engine.stream_chat(ASK, **options, thinking_budget=budget))
    whole = joined_deltas(chunk.delta for chunk in chunks)
    assert (whole.content, whole.reasoning_content) == (reply.message.content, reply.message.reasoning_content)
    assert tuple(token for chunk in chunks for token in chunk.token_ids) == ids
    usage = chunks[-1].usage
    assert usage is not None
    assert usage.reasoning_tokens == budget + len(close)


def test_who_thinks_less_is_left_alone(engine: Engine) -> None:
    for budget in (80, 2**31 - 1):
        options: dict[str, Any] = {"seed": 3, "max_tokens": 60, "temperature": 0.9, "top_p": 0.9}
        assert facts(engine.chat(ASK, **options, thinking_budget=budget)) == facts(engine.chat(ASK, **options))


def test_what_a_model_opens_itself_is_closed(deciding: Engine) -> None:
    """And what does not begin with thinking is all answer."""
    reply = deciding.chat(ASK, seed=1, max_tokens=40, grammar=THINKING_LARK, thinking_budget=6)
    thought = reply.message.reasoning_content
    assert thought
    assert reply.message.content.isalpha() or not reply.message.content
    start = len(deciding.tokenizer.encode("<think>", add_special=False)) if deciding.tokenizer else 0
    assert reply.usage.reasoning_tokens <= start + 6 + len(closers(deciding)) + 2
    none = deciding.chat(ASK, seed=1, max_tokens=40, grammar=THINKING_LARK, thinking_budget=0)
    assert none.message.reasoning_content is None
    options: dict[str, Any] = {"seed": 5, "max_tokens": 30}
    assert facts(deciding.chat(ASK, **options, thinking_budget=0)) == facts(deciding.chat(ASK, **options))


def test_a_shape_is_held_behind_the_thinking(engine: Engine) -> None:
    schema = {
        "type": "object",
        "properties": {"n": {"enum": [1, 22]}},
        "required": ["n"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    for seed in range(3):
        reply = engine.chat(ASK, seed=seed, max_tokens=80, thinking_budget=7, response_format=form)
        assert reply.message.parsed in ({"n": 1}, {"n": 22})
        assert reply.usage.reasoning_tokens == 7 + len(closers(engine))


@pytest.mark.parametrize("budget", [0, 9])
def test_a_required_call_follows_the_thinking(engine: Engine, budget: int) -> None:
    tool = {"type": "function", "function": {"name": "get", "parameters": {
        "type": "object", "properties": {"city": {"enum": ["Bonn", "Rome"]}}, "required": ["city"],
            "additionalProperties": False}}}  # fmt: skip
    options: dict[str, Any] = {"tools": [tool], "tool_choice": "required", "parallel_tool_calls": False}
    for seed in range(3):
        reply = engine.chat(ASK, seed=seed, max_tokens=90, thinking_budget=budget, **options)
        (call,) = reply.tool_calls
        assert call.arguments["city"] in ("Bonn", "Rome")
        assert reply.finish_reason == "tool_calls"
        assert bool(reply.message.reasoning_content) == (budget > 0)
        assert reply.usage.reasoning_tokens == budget + len(closers(engine))


def test_every_choice_has_its_own_thinking_and_its_scores(engine: Engine) -> None:
    reply = engine.chat(ASK, seed=4, max_tokens=40, ignore_eos=True, n=3, logprobs=2, thinking_budget=8)
    close = closers(engine)
    assert len({choice.token_ids for choice in reply.choices}) > 1
    for choice in reply.choices:
        assert choice.token_ids[8 : 8 + len(close)] == close
        assert choice.logprobs is not None
        assert [one.token_id for one in choice.logprobs.content] == list(choice.token_ids)
        # Those of the raw logits, in which what is forced was unlikely.
        assert choice.logprobs.content[8].logprob < choice.logprobs.content[8].top[0].logprob
    assert reply.usage.reasoning_tokens == 3 * (8 + len(close))


def test_a_budget_is_the_same_in_a_crowd_preempted_and_drafted() -> None:
    options: dict[str, Any] = {"max_tokens": 70, "ignore_eos": True, "temperature": 0.7, "logprobs": 1}
    asks: list[list[Message]] = [[{"role": "user", "content": f"Tell me of {i} foxes, of foxes!"}] for i in range(8)]
    plans = [{**options, "seed": i, "thinking_budget": (i * 7) % 30} for i in range(8)]
    with Engine.demo(n_threads=1, chat_template=OPENING, speculation="off", max_batch_size=1) as alone:
        expected = [facts(alone.chat(ask, **plan)) for ask, plan in zip(asks, plans, strict=True)]
    with Engine.demo(
        n_threads=2, chat_template=OPENING, speculation="auto", n_ctx=192, kv_cache_tokens=320, max_batch_size=8
    ) as crowd:
        handles = [crowd.submit_chat(ask, **plan) for ask, plan in zip(asks, plans, strict=True)]
        assert [facts(handle.result()) for handle in handles] == expected
        assert crowd.stats().preemptions > 0


def test_a_text_goes_on_with_the_thinking_that_it_ends_in(engine: Engine) -> None:
    close = closers(engine)
    for prompt in ("Once. <think>", engine.tokenize("Once. <think>\n")):
        ids = engine.generate(prompt, seed=1, max_tokens=20, ignore_eos=True, thinking_budget=4).token_ids
        assert ids[4 : 4 + len(close)] == close
    plain = engine.generate("Once upon a time", seed=1, max_tokens=20, thinking_budget=4)
    assert plain.token_ids == engine.generate("Once upon a time", seed=1, max_tokens=20).token_ids


def test_a_budget_that_cannot_be_held_is_refused(engine: Engine) -> None:
    token = closers(engine)[0]
    for options in ({"banned_tokens": [token]}, {"logit_bias": {token: float("-inf")}}):
        with pytest.raises(InvalidRequestError) as caught:
            engine.chat(ASK, max_tokens=5, thinking_budget=1, **options)
        assert caught.value.param == "thinking_budget"
    for wrong in (-1, 1.5, True, "3"):
        with pytest.raises(InvalidRequestError) as caught:
            engine.chat(ASK, thinking_budget=wrong)  # type: ignore[arg-type]
        assert caught.value.param == "thinking_budget"


# --- stop texts


def test_stop_texts_do_not_act_in_thinking(engine: Engine) -> None:
    """Whole, streamed, with several choices, and with scores."""
    options: dict[str, Any] = {
        "seed": 6,
        "max_tokens": 90,
        "ignore_eos": True,
        "thinking_budget": 30,
        "n": 2,
        "logprobs": 0,
        "stop": ["e"],
    }
    reply = engine.chat(ASK, **options)
    for choice in reply.choices:
        assert "e" in (choice.message.reasoning_content or "")
        assert "e" not in choice.message.content
        assert (choice.finish_reason, choice.stop_reason) == ("stop", "e")
        assert choice.logprobs is not None
        assert len(choice.logprobs.content) == len(choice.token_ids)
    assert reply.usage.reasoning_tokens == 2 * (30 + len(closers(engine)))
    chunks = list(engine.stream_chat(ASK, **options))
    for choice in reply.choices:
        told = joined_deltas(chunk.delta for chunk in chunks if chunk.index == choice.index)
        assert (told.content or "", told.reasoning_content) == (
            choice.message.content, choice.message.reasoning_content)  # fmt: skip
    usage = chunks[-1].usage
    assert usage is not None
    assert usage.reasoning_tokens == reply.usage.reasoning_tokens


def test_stop_texts_act_in_thinking_if_that_is_asked_for(engine: Engine) -> None:
    options: dict[str, Any] = {"seed": 6, "max_tokens": 60, "stop": ["e"], "stop_in_thinking": True}
    reply = engine.chat(ASK, **options)
    assert (reply.finish_reason, reply.choices[0].stop_reason, reply.message.content) == ("stop", "e", "")
    assert "e" not in (reply.message.reasoning_content or "")
    told = joined_deltas(chunk.delta for chunk in engine.stream_chat(ASK, **options))
    assert told.reasoning_content == reply.message.reasoning_content


def test_the_markers_of_thinking_stop_nothing(engine: Engine, deciding: Engine) -> None:
    reply = engine.chat(ASK, seed=7, max_tokens=40, ignore_eos=True, thinking_budget=5, stop=["</think>", "<", "think"])
    assert reply.message.content
    options: dict[str, Any] = {"seed": 1, "max_tokens": 40, "thinking_budget": 5, "grammar": THINKING_LARK}
    assert facts(deciding.chat(ASK, **options, stop=["<", "think>"])) == facts(deciding.chat(ASK, **options))


def test_stop_texts_act_at_once_where_nothing_is_thought(deciding: Engine) -> None:
    options: dict[str, Any] = {"seed": 2, "max_tokens": 60, "ignore_eos": True}
    free = deciding.chat(ASK, **options).text
    reply = deciding.chat(ASK, **options, stop=[free[3:5]])
    assert reply.text == free.partition(free[3:5])[0]


def test_thinking_that_stays_in_the_content_is_thinking(engine: Engine) -> None:
    options: dict[str, Any] = {"seed": 6, "max_tokens": 90, "ignore_eos": True, "thinking_budget": 30, "stop": ["e"]}
    split = engine.chat(ASK, **options)
    whole = engine.chat(ASK, **options, reasoning_format="none")
    assert whole.choices[0].token_ids == split.choices[0].token_ids
    assert whole.message.content.endswith(f"</think>{split.message.content}") or split.message.content.strip()


def test_min_tokens_counts_the_thinking(engine: Engine) -> None:
    close = len(closers(engine))
    free = engine.chat(ASK, seed=6, max_tokens=90, ignore_eos=True, thinking_budget=5, stop=["e"])
    n = len(free.choices[0].token_ids)
    assert n > 5 + close
    same = engine.chat(ASK, seed=6, max_tokens=90, ignore_eos=True, thinking_budget=5, stop=["e"], min_tokens=5 + close)
    assert same.choices[0].token_ids == free.choices[0].token_ids
    longer = engine.chat(ASK, seed=6, max_tokens=90, ignore_eos=True, thinking_budget=5, stop=["e"], min_tokens=n + 1)
    assert len(longer.choices[0].token_ids) > n
