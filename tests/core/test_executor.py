"""How the team of a step behaves beside other programs; what it computes is tests/test_exactness.py's."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from oxillama import Engine
from oxillama.demo import demo_path
from oxillama.testing.tiny_models import TinyModel


@pytest.fixture
def busy() -> Iterator[None]:
    """A program that never rests, for each processor that this one may use."""
    programs = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in os.sched_getaffinity(0)]
    try:
        time.sleep(0.5)  # until they are what they are for
        yield
    finally:
        for program in programs:
            program.kill()
            program.wait()


def seconds_of_two_and_one(path: Path, n_sequences: int, n_tokens: int) -> tuple[float, float]:
    """What a team of two threads took, and one thread alone, by turns. Both must write the same."""
    found = set()

    def seconds(engine: Engine) -> float:
        begin = time.perf_counter()
        done = engine.generate_batch(
            ["Once upon a time"] * n_sequences, max_tokens=n_tokens, seed=3, temperature=0.8, ignore_eos=True
        )
        taken = time.perf_counter() - begin
        found.add(tuple(completion.token_ids for completion in done))
        return taken

    with Engine(path, n_threads=1, progress=False) as one, Engine(path, n_threads=2, progress=False) as two:
        seconds(two)
        pairs = [(seconds(two), seconds(one)) for _ in range(8)]
    assert len(found) == 1
    return sum(pair[0] for pair in pairs), sum(pair[1] for pair in pairs)


@pytest.mark.usefixtures("busy")
def test_a_small_model_beside_busy_programs_does_not_wait_at_barriers() -> None:
    two, one = seconds_of_two_and_one(demo_path(), 1, 100)
    # With a team for every step the sums were 8 s and 0.1 s.
    assert two < 6 * one


@pytest.mark.usefixtures("busy")
def test_nor_does_a_batch_wait_when_its_tokens_are_drawn(tmp_path: Path) -> None:
    path = tmp_path / "tiny.gguf"
    TinyModel(n_layers=1, n_embd=32, n_ff=32, n_head=2, n_head_kv=1, n_ctx=256, tokenizer=True).write(path)
    two, one = seconds_of_two_and_one(path, 16, 60)
    # With a team for the drawing of every step the first sum was 15 to 60 times the second.
    assert two < 6 * one
