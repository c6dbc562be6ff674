"""Drafts change no bit of a result: whatever is guessed, how much of it, in which company, on how many threads."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oxillama import Completion, Engine
from oxillama._core.testing.drafter_harness import draft_counts
from tests.drafting import cheap_rows, drafting, facts

PROMPTS = [
    "Once upon a time there was a fox who had a hat. The fox was happy",
    "A b a b a b a b a b a b",
    "The cat. The cat. The cat. The",
]


@cache
def engine(n_threads: int, kv_cache_tokens: int) -> Engine:
    return Engine.demo(n_threads=n_threads, kv_cache_tokens=kv_cache_tokens, n_ctx=256, progress=False)


def bounded(options: dict[str, Any]) -> dict[str, Any]:
    return options | {"min_tokens": min(options["min_tokens"], options["max_tokens"])}


chains = st.fixed_dictionaries(
    {
        "min_tokens": st.sampled_from([0, 0, 5]),  # at most max_tokens
        "temperature": st.sampled_from([0.0, 0.3, 0.8, 1.5]),
        "seed": st.integers(0, 99),
        "max_tokens": st.sampled_from([1, 2, 7, 40]),
    },
    optional={
        "repetition_penalty": st.just(1.3),
        "presence_penalty": st.just(0.7),
        "frequency_penalty": st.just(0.5),
        "dry_multiplier": st.just(0.8),
        "xtc_probability": st.just(0.5),
        "mirostat": st.sampled_from([1, 2]),
        "logit_bias": st.just({5: 2.0, 9: -4.0}),
        "top_p": st.just(0.9),
        "ignore_eos": st.just(True),
        "stop": st.sampled_from([["e"], ["the", "an"], [". "]]),
        "logprobs": st.sampled_from([0, 3]),
        "prompt_logprobs": st.just(1),
        "n": st.just(2),
    },
).map(bounded)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    requests=st.lists(st.tuples(st.sampled_from(PROMPTS), chains), min_size=1, max_size=5),
    lie=st.sampled_from([None, None, 0.0, 0.1, 0.4, 1.0]),
    seed=st.integers(0, 2**32),
    n_threads=st.sampled_from([1, 2]),
    kv_cache_tokens=st.sampled_from([160, 4096]),
)
def test_no_draft_changes_a_result(
    requests: list[tuple[str, dict[str, Any]]], lie: float | None, seed: int, n_threads: int, kv_cache_tokens: int
) -> None:
    """Each request alone without drafts, then all of them at once with drafts that are right, wrong, nonsense, or (lie:
    None) looked up in their text."""
    expected = [engine(1, 4096).generate(prompt, **options) for prompt, options in requests]
    answers = [list(choice.token_ids) for completion in expected for choice in completion.choices]
    with drafting(None if lie is None else answers, lie=lie or 0.0, seed=seed) as handles:
        running = [engine(n_threads, kv_cache_tokens).submit(prompt, **options) for prompt, options in requests]
        found = [request.result() for request in running]
    assert [facts(completion) for completion in found] == [facts(completion) for completion in expected]
    for completion, other in zip(found, expected, strict=True):
        assert repr(completion.prompt_logprobs) == repr(other.prompt_logprobs)
        assert completion.usage.completion_tokens == other.usage.completion_tokens
    assert all(min(draft_counts(handle)) >= 0 for handle in handles)


def steps_of(engine: Engine, answers: list[list[int]], **options: Any) -> tuple[Completion, int, tuple[int, int]]:
    """A completion, how many steps it took, and its accepted and rejected drafts."""
    before = engine.stats().steps
    with drafting(answers, lie=0.0, seed=3) as handles:
        completion = engine.generate(PROMPTS[0], cache_prompt=False, **options)
    return completion, engine.stats().steps - before, draft_counts(handles[0])


def test_right_drafts_save_steps() -> None:
    demo = engine(1, 4096)
    expected = demo.generate(PROMPTS[0], max_tokens=60, temperature=0.8, seed=5, ignore_eos=True)
    answer = list(expected.choices[0].token_ids)
    completion, n_steps, (n_accepted, n_rejected) = steps_of(
        demo, [answer], max_tokens=60, temperature=0.8, seed=5, ignore_eos=True
    )
    assert facts(completion) == facts(expected)
    assert n_steps == 60 - n_accepted
    assert n_accepted > 30
    assert n_rejected <= 1, "what is drawn last was drafted, too"


@pytest.mark.parametrize("options", [{"stop": ["hat"]}, {"stop_token_ids": True}, {"max_tokens": 23}])
def test_an_end_amid_right_drafts_is_the_end(options: dict[str, Any]) -> None:
    demo = engine(1, 4096)
    whole = demo.generate(PROMPTS[0], max_tokens=60, temperature=0.8, seed=5, ignore_eos=True)
    answer = list(whole.choices[0].token_ids)
    if "stop_token_ids" in options:
        options = {"stop_token_ids": [answer[20]]}
    elif "stop" in options:
        options = {"stop": [whole.text[40:44]]}
    options = {"max_tokens": 60, "temperature": 0.8, "seed": 5, "ignore_eos": True, **options}
    expected = demo.generate(PROMPTS[0], **options)
    assert len(expected.choices[0].token_ids) < 60
    for seed in range(5):
        with drafting([answer], lie=0.0, seed=seed):
            found = demo.generate(PROMPTS[0], **options)
        assert facts(found) == facts(expected)
        assert found.usage.completion_tokens == expected.usage.completion_tokens


def test_tokens_of_one_step_stream_one_by_one() -> None:
    demo = engine(1, 4096)
    options: dict[str, Any] = {"max_tokens": 30, "temperature": 0.8, "seed": 5, "logprobs": 2}
    expected = list(demo.stream(PROMPTS[0], **options))
    answer = [token for chunk in expected for token in chunk.token_ids]
    with drafting([answer], lie=0.1, seed=1):
        found = list(demo.stream(PROMPTS[0], **options))
    assert [(chunk.text, chunk.token_ids, repr(chunk.logprobs)) for chunk in found] == [
        (chunk.text, chunk.token_ids, repr(chunk.logprobs)) for chunk in expected
    ]


@pytest.mark.parametrize("bad", [-1, 2**30])
def test_a_drafter_cannot_reach_beyond_the_vocabulary(bad: int) -> None:
    demo = engine(1, 4096)
    expected = demo.generate(PROMPTS[1], max_tokens=20, temperature=0)
    with drafting([[bad] * 20], lie=0.0, seed=1) as handles:
        assert facts(demo.generate(PROMPTS[1], max_tokens=20, temperature=0)) == facts(expected)
    assert draft_counts(handles[0]) == (0, 0), "such drafts are not computed"


def test_what_an_engine_looks_up_changes_nothing_and_is_counted() -> None:
    demo = engine(1, 4096)
    options: dict[str, Any] = {"max_tokens": 60, "temperature": 0.0, "ignore_eos": True, "repetition_penalty": 1.0}
    expected = demo.generate(PROMPTS[2], **options)
    before = demo.stats()
    with drafting(None):
        found = demo.generate(PROMPTS[2], **options)
    after = demo.stats()
    assert facts(found) == facts(expected)
    accepted, rejected = found.usage.accepted_prediction_tokens, found.usage.rejected_prediction_tokens
    assert accepted > 0, "a story that repeats itself"
    assert found.usage.to_dict()["completion_tokens_details"] == {
        "reasoning_tokens": 0,
        "accepted_prediction_tokens": accepted,
        "rejected_prediction_tokens": rejected,
    }
    assert after.accepted_draft_tokens - before.accepted_draft_tokens == accepted
    assert after.rejected_draft_tokens - before.rejected_draft_tokens == rejected
    assert after.steps - before.steps == 60 - accepted


def test_an_engine_that_speculates_gives_the_same() -> None:
    with Engine.demo(speculation="auto", n_threads=1, n_ctx=256, progress=False) as speculating:
        for seed in range(4):
            options: dict[str, Any] = {"max_tokens": 50, "temperature": seed / 4, "seed": seed}
            expected = engine(1, 4096).generate(PROMPTS[2], **options)
            assert facts(speculating.generate(PROMPTS[2], **options)) == facts(expected)


class TestPrediction:
    """A text that the caller expects: no bit of the result depends on it."""

    @settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(
        requests=st.lists(st.tuples(st.sampled_from(PROMPTS), chains), min_size=1, max_size=4),
        edits=st.lists(st.tuples(st.integers(0, 200), st.text(max_size=4)), max_size=4),
        n_threads=st.sampled_from([1, 2]),
        kv_cache_tokens=st.sampled_from([160, 4096]),
    )
    def test_right_and_wrong_ones_change_nothing(
        self,
        requests: list[tuple[str, dict[str, Any]]],
        edits: list[tuple[int, str]],
        n_threads: int,
        kv_cache_tokens: int,
    ) -> None:
        expected = [engine(1, 4096).generate(prompt, **options) for prompt, options in requests]
        running = []
        with cheap_rows():
            for (prompt, options), completion in zip(requests, expected, strict=True):
                text = completion.text
                for place, inserted in edits:
                    text = text[:place] + inserted + text[place + 1 :]
                running.append(engine(n_threads, kv_cache_tokens).submit(prompt, prediction=text, **options))
        found = [request.result() for request in running]
        assert [facts(completion) for completion in found] == [facts(completion) for completion in expected]

    def test_a_right_one_saves_steps_and_is_counted(self) -> None:
        options: dict[str, Any] = {"max_tokens": 60, "temperature": 0.8, "seed": 5, "ignore_eos": True}
        demo = engine(1, 4096)
        expected = demo.generate(PROMPTS[0], **options)
        before = demo.stats()
        with cheap_rows():
            found = demo.generate(PROMPTS[0], prediction=expected.text, **options)
        after = demo.stats()
        assert facts(found) == facts(expected)
        accepted = found.usage.accepted_prediction_tokens
        assert after.steps - before.steps == 60 - accepted
        assert accepted > 30
        assert after.tokens_per_pass > 1
        assert 0 < after.draft_acceptance <= 1

    def test_an_empty_one_and_a_long_one_are_as_good_as_none(self) -> None:
        demo = engine(1, 4096)
        expected = demo.generate(PROMPTS[1], max_tokens=20, temperature=0)
        for text in ("", "x " * 20000):
            assert facts(demo.generate(PROMPTS[1], prediction=text, max_tokens=20, temperature=0)) == facts(expected)
