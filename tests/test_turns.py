"""Engines that take turns: one step at a time, in order, and no result differs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from oxillama import Engine, EngineClosedError, InvalidRequestError, Turns
from tests.patience import eventually
from tests.tiny_encoder import TinyEncoder

TEXTS = ["the fox ran far", "a bear who had a hat " * 9, "sea"]


@pytest.fixture
def turns() -> Turns:
    return Turns()


@contextmanager
def taken(turns: Turns) -> Iterator[None]:
    """No step runs meanwhile."""
    turns._enter()
    try:
        yield
    finally:
        turns._leave()


@pytest.fixture
def engines(turns: Turns, tmp_path: Path) -> Iterator[tuple[Engine, Engine]]:
    """A writer and a reader, with two threads each."""
    path = tmp_path / "encoder.gguf"
    TinyEncoder(type_name="Q8_0").write(path)
    with (
        Engine.demo(n_threads=2, turns=turns, progress=False) as writer,
        Engine(path, n_threads=2, turns=turns, progress=False) as reader,
    ):
        yield writer, reader


def test_no_step_runs_out_of_its_turn(engines: tuple[Engine, Engine], turns: Turns) -> None:
    writer, reader = engines
    with taken(turns):
        writing = writer.submit("Once upon a time", max_tokens=5, ignore_eos=True)
        reading = reader.submit_embedding([5, 6, 7])
        # Both workers have asked for a turn, which nobody else gives back.
        eventually(lambda: turns.n_drawn == 3)
        assert writer.stats().steps == reader.stats().steps == 0
    assert writing.result().usage.completion_tokens == 5
    assert reading.result().shape == (64,)
    assert turns.n_drawn >= 1 + writer.stats().steps + reader.stats().steps


def test_company_changes_no_bit(engines: tuple[Engine, Engine], demo: Engine) -> None:
    writer, reader = engines
    alone = reader.embed(TEXTS)
    written = [demo.generate("Once upon a time", max_tokens=40, seed=seed).text for seed in range(3)]
    writing = [writer.submit("Once upon a time", max_tokens=40, seed=seed) for seed in range(3)]
    for _ in range(20):
        np.testing.assert_array_equal(reader.embed(TEXTS).view(np.uint32), alone.view(np.uint32))
    assert [handle.result().text for handle in writing] == written


def test_an_engine_that_rests_holds_no_turn(engines: tuple[Engine, Engine], turns: Turns) -> None:
    writer, reader = engines
    writer.generate("Once", max_tokens=3)
    reader.embed(TEXTS)
    with taken(turns):
        drawn = turns.n_drawn
        assert drawn > 1
    writer.close()
    assert reader.embed(TEXTS).shape == (3, 64)


def test_closing_ends_who_waits_for_its_turn(engines: tuple[Engine, Engine], turns: Turns) -> None:
    writer, reader = engines
    with taken(turns):
        handle = writer.submit("Once upon a time", max_tokens=500, ignore_eos=True)
        eventually(lambda: turns.n_drawn == 2)
    writer.close()
    with pytest.raises(EngineClosedError):
        handle.result()
    assert reader.embed(TEXTS).shape == (3, 64)


@pytest.mark.parametrize("turns", [1, "turns", True])
def test_anything_else_is_refused(turns: Any) -> None:
    with pytest.raises(InvalidRequestError, match="turns must be a Turns or None"):
        Engine.demo(turns=turns, progress=False)


def test_turns_of_a_parent_are_refused_by_its_child(turns: Turns) -> None:
    """A worker of the parent may have a turn at that moment, which nobody gives back in the child."""
    child = os.fork()
    if child == 0:
        try:
            Engine.demo(turns=turns, progress=False)
        except InvalidRequestError as error:
            os._exit(0 if error.param == "turns" else 2)
        except BaseException:
            os._exit(3)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
