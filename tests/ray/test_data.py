"""The predictor by itself: what an actor does with a batch of rows needs no cluster."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from oxillama import Engine, InvalidRequestError
from oxillama.demo import demo_path
from oxillama.ray.data import Predictor

PROMPTS = ["Once upon a time", "One day", "The little dog"]


def rows(**columns: list[Any]) -> dict[str, np.ndarray[Any, Any]]:
    found = {}
    for name, values in columns.items():
        column = np.empty(len(values), object)
        column[:] = values
        found[name] = column
    return found


@pytest.fixture(scope="module")
def predictor() -> Iterator[Predictor]:
    options = {"n_threads": 1}
    predictor = Predictor(demo_path(), params={"max_tokens": 8}, seed_column="seed", engine_options=options)
    yield predictor
    predictor.engine.close()


def test_rows_keep_their_order_and_their_own_seeds(predictor: Predictor, demo: Engine) -> None:
    found = predictor(rows(prompt=PROMPTS, seed=[5, 6, 7]))
    texts = [
        demo.generate(prompt, max_tokens=8, seed=seed).text for prompt, seed in zip(PROMPTS, (5, 6, 7), strict=True)
    ]
    assert found["text"].tolist() == texts
    assert found["finish_reason"].tolist() == ["length"] * 3
    assert found["prompt"].tolist() == PROMPTS
    # In another batch, as after a retry, a row is the same.
    assert predictor(rows(prompt=PROMPTS[2:], seed=[7]))["text"].tolist() == texts[2:]


def test_conversations(demo: Engine) -> None:
    conversation = [{"role": "user", "content": "Tell me a story."}]
    predictor = Predictor(
        demo_path(), params={"max_tokens": 8, "temperature": 0}, column="messages", output="reply", chat=True
    )
    with predictor.engine:
        found = predictor(rows(messages=[conversation]))["reply"].tolist()
    assert found == [demo.chat(conversation, max_tokens=8, temperature=0).text]


def test_a_row_that_is_wrong_ends_the_batch_and_leaves_nothing_running(predictor: Predictor) -> None:
    with pytest.raises(InvalidRequestError):
        predictor(rows(prompt=[PROMPTS[0], []], seed=[1, 2]))
    with pytest.raises(InvalidRequestError, match="no column 'prompt'"):
        predictor(rows(text=PROMPTS))
    assert predictor(rows(prompt=PROMPTS[:1], seed=[1]))["text"].tolist()


def test_wrong_parameters_are_told_before_a_model_is_read(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequestError, match="temperature"):
        Predictor(tmp_path / "none.gguf", params={"temperature": -1})
