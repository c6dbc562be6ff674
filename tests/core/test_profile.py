"""The profile of a program: it counts every step while it is on, and only then, and changes nothing."""

from __future__ import annotations

from itertools import pairwise

import pytest

from oxillama import Engine
from oxillama._core.network.program import Program
from oxillama._core.scheduling.profile import Profile


def program_of(engine: Engine) -> Program:
    program = engine._worker.program
    assert program is not None
    return program


def written(engine: Engine, n: int) -> tuple[int, ...]:
    return tuple(engine.generate("Once upon a time", max_tokens=n, temperature=0, ignore_eos=True).token_ids)


@pytest.mark.parametrize("n_threads", [1, 2])
def test_time_is_counted_while_the_profile_is_on(n_threads: int) -> None:
    with Engine.demo(n_threads=n_threads, prefix_cache=False) as engine:
        program = program_of(engine)
        before = written(engine, 8)
        profile = program.start_profile()
        assert profile.n_steps == profile.walk_ns == profile.step_ns == 0
        assert written(engine, 8) == before
        assert profile.n_steps == 8
        found = profile.operations()
        assert len(found) == program.n_ops
        assert all(op_ns > 0 for op_ns, _ in found)
        has_waited = [wait_ns > 0 for _, wait_ns in found]
        assert any(has_waited)
        assert not all(has_waited)
        assert profile.sample_ns > 0
        inside = sum(op_ns + wait_ns for op_ns, wait_ns in found)
        assert inside <= profile.walk_ns
        assert profile.walk_ns + profile.sample_ns <= profile.step_ns
        program.stop_profile()
        written(engine, 8)
        assert profile.operations() == found
        assert program.start_profile() is profile
        written(engine, 1)
        assert profile.n_steps == 9


def test_operations_are_described() -> None:
    with Engine.demo(n_threads=1) as engine:
        described = program_of(engine).operations()
    names = [name for name, _ in described]
    assert {"embed", "norm", "quantise", "rope", "kv store", "attention", "product"} <= set(names)
    assert names.count("attention") == names.count("kv store") > 0
    products = [matrices for name, matrices in described if name == "product"]
    assert all(rows > 0 and k > 0 for matrices in products for _, rows, k in matrices)
    # Three products of one value are one operation, as the program joins them.
    assert max(len(matrices) for matrices in products) == 3
    assert ("attention", "attention") not in pairwise(names)


def test_a_profile_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one operation, found 0"):
        Profile(0)
