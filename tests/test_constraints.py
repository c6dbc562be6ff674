"""Constraints of one's own through the engine: nothing but what they allow, whatever else is going on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oxillama import Completion, Engine, GrammarError, SamplingParams
from oxillama._core.constraint import Constraint
from oxillama._core.testing.constraint_harness import Sieve
from oxillama.errors import InvalidRequestError, RequestCancelled

PROMPTS = ["Once upon a time there was a fox who had a hat. The fox was happy", "A b a b a b a b a b", "One day"]


class Only:
    """Tokens whose id leaves one of these remainders, and their ends."""

    def __init__(
        self, modulus: int = 2, remainders: Sequence[int] = (0,), *, ends: bool = True, **options: Any
    ) -> None:
        self.modulus, self.remainders, self.has_ends, self.options = modulus, remainders, ends, options
        self.made: list[Sieve] = []

    def constraint(self, n_vocab: int, end_tokens: Sequence[int]) -> Constraint:
        ends = end_tokens if self.has_ends else ()
        sieve = Sieve(n_vocab, modulus=self.modulus, remainders=self.remainders, ends=ends, **self.options)
        self.made.append(sieve)
        return sieve

    def allows(self, token: int) -> bool:
        return token % self.modulus in self.remainders


@cache
def engine(n_threads: int, kv_cache_tokens: int) -> Engine:
    return Engine.demo(n_threads=n_threads, kv_cache_tokens=kv_cache_tokens, n_ctx=256, progress=False)


def end_tokens(engine: Engine) -> frozenset[int]:
    assert engine.tokenizer is not None
    return engine.tokenizer.eog_ids


def facts(completion: Completion) -> list[tuple[Any, ...]]:
    """Everything of a completion that a caller may compare."""
    return [
        (choice.text, choice.token_ids, choice.finish_reason, choice.stop_reason, repr(choice.logprobs))
        for choice in completion.choices
    ]


@contextmanager
def masks_in_line(engine: Engine, in_line: bool) -> Iterator[None]:
    engine._worker.overlaps_masks = not in_line
    try:
        yield
    finally:
        engine._worker.overlaps_masks = True


def test_only_even_tokens() -> None:
    grammar = Only()
    completion = engine(2, 4096).generate(PROMPTS[0], max_tokens=40, temperature=0.8, seed=1, grammar=grammar, n=3)
    for choice in completion.choices:
        assert choice.token_ids
        assert all(token % 2 == 0 or token in end_tokens(engine(2, 4096)) for token in choice.token_ids)
    assert len(grammar.made) == 3
    assert [sieve.misuse for sieve in grammar.made] == [None] * 3


def test_a_complete_form_ends_without_an_end_token() -> None:
    """And costs no step for it."""
    demo = engine(1, 4096)
    before = demo.stats().steps
    completion = demo.generate(
        PROMPTS[0],
        max_tokens=40,
        temperature=0,
        grammar=Only(length=7),
        min_tokens=20,
        ignore_eos=True,
        cache_prompt=False,
    )
    assert (len(completion.token_ids), completion.finish_reason, completion.stop_reason) == (7, "stop", None)
    assert demo.stats().steps - before == 7
    completion = demo.generate(PROMPTS[0], max_tokens=7, temperature=0, grammar=Only(length=7))
    assert (len(completion.token_ids), completion.finish_reason) == (7, "stop")
    completion = demo.generate(PROMPTS[0], max_tokens=6, temperature=0, grammar=Only(length=7), ignore_eos=True)
    assert (len(completion.token_ids), completion.finish_reason) == (6, "length")


@pytest.mark.parametrize("options", [{"ignore_eos": True}, {"min_tokens": 9}, {"logit_bias": {2: float("-inf")}}, {}])
def test_where_only_the_end_may_follow_bans_of_it_do_not_count(options: dict[str, Any]) -> None:
    eog = end_tokens(engine(1, 4096))
    if "logit_bias" in options:
        options = {"logit_bias": {token: float("-inf") for token in eog}}
    completion = engine(1, 4096).generate(PROMPTS[1], max_tokens=9, grammar=Only(5, [], ends=True), **options)
    assert completion.finish_reason == "stop"
    assert set(completion.token_ids) <= eog


def test_no_token_left_is_a_dead_end_of_that_request_alone() -> None:
    demo = engine(2, 4096)
    expected = demo.generate(PROMPTS[1], max_tokens=30, temperature=0.7, seed=2)
    other = demo.submit(PROMPTS[1], max_tokens=30, temperature=0.7, seed=2)
    for grammar, options in (
        (Only(dead_at=3), {}),
        (Only(5, [], ends=False), {}),
        (Only(10**6, [8], ends=False), {"banned_tokens": [8]}),
        (Only(10**6, [8], ends=False), {"logit_bias": {8: float("-inf")}}),
    ):
        with pytest.raises(GrammarError, match="leave no token") as caught:
            demo.generate(PROMPTS[0], max_tokens=9, grammar=grammar, **options)
        assert (caught.value.code, caught.value.param) == ("dead_end", "grammar")
    with pytest.raises(GrammarError) as caught:
        demo.generate(PROMPTS[0], max_tokens=9, grammar=Only(fails_at=4), ignore_eos=True)
    assert caught.value.code == "grammar_limit"
    assert facts(other.result()) == facts(expected)
    with pytest.raises(InvalidRequestError) as refused:
        demo.generate(PROMPTS[0], max_tokens=9, banned_tokens=range(demo.n_vocab))
    assert refused.value.code == "no_token_left"


def test_logprobs_are_of_the_raw_logits() -> None:
    demo = engine(1, 4096)
    completion = demo.generate(
        PROMPTS[0], max_tokens=1, temperature=0, grammar=Only(10**6, [8], ends=False), logprobs=3
    )
    assert completion.token_ids == (8,)
    assert completion.logprobs is not None
    raw = demo.generate(PROMPTS[0], max_tokens=1, temperature=0, logprobs=3).logprobs
    assert raw is not None
    assert completion.logprobs.content[0].top == raw.content[0].top


def test_what_must_follow_saves_steps() -> None:
    demo = engine(1, 4096)
    expected = demo.generate(PROMPTS[0], max_tokens=40, temperature=0.8, seed=5, grammar=Only(), ignore_eos=True)
    before = demo.stats().steps
    grammar = Only(forced=expected.token_ids)
    completion = demo.generate(
        PROMPTS[0], max_tokens=40, temperature=0.8, seed=5, grammar=grammar, ignore_eos=True, cache_prompt=False
    )
    assert facts(completion) == facts(expected)
    assert demo.stats().steps - before < 8
    assert grammar.made[0].misuse is None


@pytest.mark.parametrize("value", ["text", 7, {"type": "object"}, object()])
def test_other_values_are_refused(value: Any) -> None:
    with pytest.raises(InvalidRequestError, match="grammar must be") as caught:
        SamplingParams(grammar=value)
    assert caught.value.param == "grammar"


def test_a_cancelled_request_gives_its_constraint_back() -> None:
    demo = engine(2, 4096)
    grammar = Only(3, [0, 1])
    handles = [demo.submit(PROMPTS[i % 3], max_tokens=200, ignore_eos=True, grammar=grammar) for i in range(8)]
    for handle in handles[::2]:
        handle.cancel()
    for index, handle in enumerate(handles):
        if index % 2:
            assert all(grammar.allows(token) for token in handle.result().token_ids)
        else:
            with pytest.raises(RequestCancelled):
                handle.result()
    assert [sieve.misuse for sieve in grammar.made] == [None] * 8


chains = st.fixed_dictionaries(
    {
        "temperature": st.sampled_from([0.0, 0.3, 0.8, 1.5]),
        "seed": st.integers(0, 99),
        "max_tokens": st.sampled_from([1, 2, 7, 40]),
    },
    optional={
        "min_tokens": st.just(1),
        "repetition_penalty": st.just(1.3),
        "presence_penalty": st.just(0.7),
        "frequency_penalty": st.just(0.5),
        "dry_multiplier": st.just(0.8),
        "xtc_probability": st.just(0.5),
        "dynatemp_range": st.just(0.4),
        "mirostat": st.sampled_from([1, 2]),
        "logit_bias": st.just({5: 2.0, 8: -4.0}),
        "top_p": st.just(0.9),
        "top_k": st.just(20),
        "ignore_eos": st.just(True),
        "stop": st.sampled_from([["e"], ["the", "an"], [". "]]),
        "logprobs": st.sampled_from([0, 3]),
        "prompt_logprobs": st.just(1),
        "n": st.just(2),
    },
)
forms = st.builds(
    lambda modulus, remainders, length, drafts: (modulus, [r % modulus for r in remainders], length, drafts),
    st.sampled_from([2, 3, 50, 700]),
    st.lists(st.integers(0, 700), min_size=1, max_size=4),
    st.sampled_from([-1, -1, 3, 20]),
    st.sampled_from(["none", "right", "wrong"]),
)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    requests=st.lists(st.tuples(st.sampled_from(PROMPTS), chains, forms), min_size=1, max_size=5),
    n_threads=st.sampled_from([1, 2]),
    kv_cache_tokens=st.sampled_from([160, 4096]),
    in_line=st.booleans(),
)
def test_no_company_changes_a_result(
    requests: list[tuple[str, dict[str, Any], tuple[int, list[int], int, str]]],
    n_threads: int,
    kv_cache_tokens: int,
    in_line: bool,
) -> None:
    """Each request alone, and then all at once, with what the constraint forces guessed right, wrong or not at all."""
    alone = engine(1, 4096)
    with masks_in_line(alone, True):
        expected = [
            alone.generate(prompt, **options, grammar=Only(form[0], form[1], length=form[2]))
            for prompt, options, form in requests
        ]
    together = engine(n_threads, kv_cache_tokens)
    grammars = []
    with masks_in_line(together, in_line):
        running = []
        for (prompt, options, (modulus, remainders, length, drafts)), completion in zip(
            requests, expected, strict=True
        ):
            forced = list(completion.choices[0].token_ids) if drafts == "right" else [modulus] * 9
            grammars.append(Only(modulus, remainders, length=length, forced=() if drafts == "none" else forced))
            running.append(together.submit(prompt, **options, grammar=grammars[-1]))
        found = [request.result() for request in running]
    assert [facts(completion) for completion in found] == [facts(completion) for completion in expected]
    ends = end_tokens(together)
    for grammar, completion in zip(grammars, found, strict=True):
        assert [sieve.misuse for sieve in grammar.made] == [None] * len(completion.choices)
        for choice in completion.choices:
            assert all(grammar.allows(token) or token in ends for token in choice.token_ids)
