"""Typed decisions over HTTP: the engine's own probabilities in the shape that System One clients read."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient

from oxillama import Choice, Engine, Score, YesNo
from tests.asgi.replies import error_of

STATE = "The bear was very angry, for somebody had taken his hat."
QUESTIONS: dict[str, Any] = {
    "who": {"type": "choice", "instructions": "Who is it about?", "criteria": {"fox": None, "bear": "has a hat"}},
    "angry": {"type": "noul", "instructions": "Is somebody angry?", "criteria": {"true": "someone is", "false": None}},
    "urgency": {"type": "score", "criteria": ["calm", "soon", "now"]},
}


def test_answers(client: TestClient, demo: Engine) -> None:
    reply = client.post("/v1/systemone", json={"model": "demo", "state": STATE, "questions": QUESTIONS})
    assert reply.status_code == 200, reply.text
    content = reply.json()
    expected = demo.decide(
        STATE,
        {
            "who": Choice({"fox": None, "bear": "has a hat"}, "Who is it about?"),
            "angry": YesNo("Is somebody angry?", yes="someone is"),
            "urgency": Score(0, 2, levels=["calm", "soon", "now"]),
        },
    )
    answers = content["answers"]
    assert list(answers) == list(QUESTIONS)
    assert answers["who"] == {
        "type": "choice",
        "choice": expected["who"].value,
        "probabilities": expected["who"].probabilities,
        "confidence": expected["who"].confidence,
    }
    assert answers["angry"] == {"type": "noul", "noul": expected["angry"].probabilities[True]}
    urgency = answers["urgency"]
    assert urgency["legend"] == {"0": "calm", "1": "soon", "2": "now"}
    assert urgency["score"] == expected["urgency"].value
    assert list(urgency["probabilities"].values()) == list(expected["urgency"].probabilities.values())
    assert content["usage"]["output_tokens"] == 0
    assert content["usage"]["input_tokens"] > 3 * len(demo.tokenize(STATE))


def test_a_state_may_be_any_json(client: TestClient) -> None:
    state = {"customer": 12, "message": ["it", "fails"]}
    body = {"state": state, "questions": {"angry": {"type": "noul"}}, "rotations": True}
    found = client.post("/v1/systemone", json=body).json()
    assert 0 <= found["answers"]["angry"]["noul"] <= 1


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"questions": QUESTIONS}, "state"),
        ({"state": "a"}, "questions"),
        ({"state": "a", "questions": {}}, "questions"),
        ({"state": "a", "questions": {"q": {"type": "poem"}}}, "questions[...].type"),
        ({"state": "a", "questions": {"q": {"type": "choice"}}}, "questions.q.criteria"),
        ({"state": "a", "questions": {"q": {"type": "choice", "criteria": {"one": None}}}}, "questions.q.criteria"),
        ({"state": "a", "questions": {"q": {"type": "score", "criteria": ["one"]}}}, "questions.q.criteria"),
        ({"state": "a", "questions": {"q": {"type": "noul", "criteria": {"maybe": "x"}}}}, "questions.q.criteria"),
        ({"state": "a", "questions": {"q": {"type": "noul", "colour": 1}}}, "questions[...].colour"),
        ({"state": "a", "questions": {f"q{n}": {"type": "noul"} for n in range(257)}}, "questions"),
        ({"state": "bear " * 2000, "questions": {"q": {"type": "noul"}}}, "state"),
        ({"state": "a", "questions": QUESTIONS, "colour": 1}, "colour"),
    ],
)
def test_what_is_wrong_is_named(client: TestClient, body: dict[str, Any], param: str) -> None:
    assert error_of(client.post("/v1/systemone", json=body), 400)["param"] == param


def test_the_orders_of_many_options_are_bounded(client: TestClient, demo: Engine) -> None:
    criteria = [str(option) for option in range(52)]
    questions = {f"q{n}": {"type": "choice", "criteria": criteria} for n in range(20)}
    steps = demo.stats().steps
    reply = client.post("/v1/systemone", json={"state": "a", "questions": questions, "rotations": True})
    error = error_of(reply, 400)
    assert error["param"] == "questions"
    assert "1040 prompts, at most 1024 are allowed: ask fewer, or without rotations" in error["message"]
    assert demo.stats().steps == steps


def test_whom_a_request_is_for_is_ignored(client: TestClient) -> None:
    body = {"state": STATE, "questions": {"angry": {"type": "noul"}}}
    named = client.post("/v1/systemone", json={**body, "user": "u", "metadata": {"team": "a"}}).json()
    assert named["answers"] == client.post("/v1/systemone", json=body).json()["answers"]
