"""Decisions: probabilities of labels and of whole options, the same in company, and what cannot be asked."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest

from oxillama import Choice, ContextLengthError, Engine, InvalidRequestError, Score, UnsupportedModelError, YesNo
from oxillama.decisions import Question
from oxillama.testing.tiny_models import TinyModel

STATE = "The bear was very angry, for somebody had taken his hat."
QUESTIONS: dict[str, Question] = {
    "route": Choice(["fox", "bear", "sea"], question="Who is it about?"),
    "angry": YesNo("Is somebody angry?"),
    "urgency": Score(1, 5),
}


@pytest.fixture(scope="module")
def byte_model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """Without a chat template."""
    path: Path = tmp_path_factory.mktemp("bytes") / "bytes.gguf"
    TinyModel(tokenizer=True, n_ctx=1536).write(path)
    with Engine(path, n_threads=1, progress=False) as engine:
        yield engine


def test_labels_share_what_the_model_would_say_next(demo: Engine) -> None:
    found = demo.decide(STATE, {"who": Choice({"fox": None, "bear": "the one with the hat"})})["who"]
    listed = "A. fox\nB. bear: the one with the hat\nAnswer with the letter of one of these, and nothing else."
    prompt = f"{STATE}\n\nwho\n{listed}"
    ids = demo.tokenize_chat([{"role": "user", "content": prompt}])
    logits = demo.logits(ids)[-1].astype(np.float64)
    a, b = (demo.tokenize(label, add_special=False)[0] for label in "AB")
    expected = 1 / (1 + math.exp(logits[b] - logits[a]))
    assert found.probabilities["fox"] == pytest.approx(expected, abs=1e-5)
    assert math.fsum(found.probabilities.values()) == pytest.approx(1)
    assert found.value == max(found.probabilities, key=lambda name: found.probabilities[name])


def test_the_kinds_of_answers(demo: Engine) -> None:
    found = demo.decide(STATE, QUESTIONS)
    assert list(found) == ["route", "angry", "urgency"]
    assert found["route"].value in ("fox", "bear", "sea")
    assert found["angry"].value is (found["angry"].probabilities[True] >= 0.5)
    urgency = found["urgency"]
    assert list(urgency.probabilities) == [1, 2, 3, 4, 5]
    assert urgency.value == pytest.approx(sum(level * p for level, p in urgency.probabilities.items()))
    for decision in found.values():
        assert 0 <= decision.confidence <= 1
        assert sum(decision.probabilities.values()) == pytest.approx(1)
    assert found["angry"].to_dict()["probabilities"].keys() == {"true", "false"}


@pytest.mark.parametrize("options", [{}, {"rotations": True}, {"scoring": "sequence"}])
def test_company_changes_nothing(demo: Engine, options: dict[str, Any]) -> None:
    alone = demo.decide(STATE, QUESTIONS, **options)
    writing = [demo.submit("Once upon a time", max_tokens=200, ignore_eos=True, seed=seed) for seed in range(4)]
    beside = demo.decide(STATE, QUESTIONS, **options)
    for handle in writing:
        handle.cancel()
    assert beside == alone
    assert anyio.run(lambda: demo.adecide(STATE, QUESTIONS, **options)) == alone


def test_a_decision_does_not_depend_on_its_neighbours(demo: Engine) -> None:
    together = demo.decide(STATE, QUESTIONS)
    for name, question in QUESTIONS.items():
        assert demo.decide(STATE, {name: question})[name] == together[name]


def test_rotations_are_the_mean_over_all_orders(demo: Engine) -> None:
    names = ["fox", "bear", "sea"]
    orders = [names[first:] + names[:first] for first in range(3)]
    found = demo.decide(STATE, {"who": Choice(names)}, rotations=True)["who"]
    each = [demo.decide(STATE, {"who": Choice(order)})["who"] for order in orders]
    for name in names:
        assert found.probabilities[name] == pytest.approx(np.mean([one.probabilities[name] for one in each]))


def test_sequences_add_up_their_own_tokens(demo: Engine) -> None:
    found = demo.decide(STATE, {"who": Choice(["fox", "bear"])}, scoring="sequence")["who"]
    ids = demo.tokenize_chat([{"role": "user", "content": f"{STATE}\n\nwho"}])
    sums = []
    for name in ("fox", "bear"):
        answer = demo.tokenize(name, add_special=False)
        sums.append(float(demo.logprobs(ids + answer)[-len(answer) :].astype(np.float64).sum()))
    assert found.probabilities["fox"] == pytest.approx(1 / (1 + math.exp(sums[1] - sums[0])), abs=1e-6)


def test_a_conversation_can_be_judged(demo: Engine) -> None:
    messages = [{"role": "user", "content": STATE}]
    assert demo.decide(messages, QUESTIONS) == demo.decide(STATE, QUESTIONS)
    longer = [*messages, {"role": "assistant", "content": "I see."}]
    assert demo.decide(longer, QUESTIONS).keys() == QUESTIONS.keys()


def test_what_is_judged_is_computed_once(demo: Engine) -> None:
    state = "A tale that nobody has told before: " + "the bear went far, and farther still, " * 6
    before = demo.stats()
    demo.decide(state, {str(number): YesNo(f"Is it number {number}?") for number in range(8)})
    after = demo.stats()
    shared = len(demo.tokenize(state)) // 32 * 32
    assert after.cached_tokens - before.cached_tokens >= 7 * (shared - 32)


def test_without_a_template_the_question_follows_the_text(byte_model: Engine) -> None:
    found = byte_model.decide(STATE, {"who": Choice(["a", "b"])})["who"]
    assert sum(found.probabilities.values()) == pytest.approx(1)
    with pytest.raises(UnsupportedModelError, match="no chat template"):
        byte_model.decide([{"role": "user", "content": STATE}], QUESTIONS)


def test_labels_that_nobody_would_say_have_a_probability_all_the_same(byte_model: Engine) -> None:
    # 52 labels cannot all be among the alternatives that a step tells of.
    found = byte_model.decide("a", {"which": Choice([f"option {number}" for number in range(52)])}, rotations=False)
    assert all(p > 0 for p in found["which"].probabilities.values())


def test_texts_that_do_not_fit_are_refused(byte_model: Engine) -> None:
    with pytest.raises(ContextLengthError):
        byte_model.decide("a" * 2000, QUESTIONS)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Choice(["a"]),
        lambda: Choice(["a", "a"]),
        lambda: Choice(["a", ""]),
        lambda: Choice("ab"),
        lambda: Choice([str(number) for number in range(53)]),
        lambda: Choice({"a": 1, "b": None}),  # type: ignore[dict-item]
        lambda: Score(3, 3),
        lambda: Score(0, 52),
        lambda: Score(0, 1, levels=["low"]),
        lambda: Score(0.5, 2),  # type: ignore[arg-type]
        lambda: YesNo(""),
        lambda: YesNo(yes=1),  # type: ignore[arg-type]
    ],
)
def test_questions_without_sense_are_refused(make: Any) -> None:
    with pytest.raises(InvalidRequestError):
        make()


@pytest.mark.parametrize(
    ("questions", "options"),
    [
        ({}, {}),
        ({"": YesNo()}, {}),
        ({"a": "b"}, {}),
        ({"a": YesNo()}, {"scoring": "best"}),
        ({"a": YesNo()}, {"rotations": 1}),
    ],
)
def test_calls_without_sense_are_refused(demo: Engine, questions: Any, options: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError):
        demo.decide(STATE, questions, **options)


@pytest.mark.parametrize("options", [{"rotations": True}, {"scoring": "sequence"}])
def test_the_prompts_of_one_call_are_bounded(demo: Engine, options: dict[str, Any]) -> None:
    letters = Choice([f"option {number}" for number in range(52)])
    questions = {f"q{number}": letters for number in range(79)}
    with pytest.raises(InvalidRequestError, match="become 4108 prompts, at most 4096") as caught:
        demo.prepare_decisions(STATE, questions, **options)
    assert caught.value.param == "questions"
    assert len(demo.prepare_decisions(STATE, questions).asks) == 79
    with pytest.raises(InvalidRequestError, match="2 prompts, at most 1"):
        demo.prepare_decisions(STATE, {"a": YesNo()}, max_prompts=1, **options)
