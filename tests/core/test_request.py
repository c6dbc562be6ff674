"""The request: one allocation, freed with the last reference together with what it owns."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oxillama._core.testing.ring_harness import Request, RequestRing, num_destroyed
from oxillama._core.testing.scheduler_harness import KV_BLOCK


@given(st.integers(1, 200), st.integers(0, 200))
def test_tokens_and_table_have_room_for_everything(n_prompt: int, max_output: int) -> None:
    tokens, blocks = Request(0, n_prompt=n_prompt, max_output=max_output).fill()
    assert tokens == [*range(n_prompt), *range(0, -max_output, -1)]
    assert len(blocks) == -(-(n_prompt + max_output) // KV_BLOCK)
    assert blocks == list(range(len(blocks)))


@pytest.mark.parametrize(("n_prompt", "max_output"), [(0, 4), (-1, 4), (4, -1), (4, 2**31 - 1)])
def test_impossible_sizes_are_refused(n_prompt: int, max_output: int) -> None:
    with pytest.raises(ValueError, match="no request"):
        Request(0, n_prompt=n_prompt, max_output=max_output)


def test_the_last_reference_frees_it_and_what_it_owns() -> None:
    before = num_destroyed()
    request, ring = Request(1), RequestRing(4)
    assert ring.submit([request]) == 0
    assert request.num_references == 2
    del request
    assert num_destroyed() == before
    assert ring.take() == 1
    assert num_destroyed() == (before[0] + 1, before[1] + 1)


def test_cancelling_sets_a_flag_and_nothing_else() -> None:
    request = Request(1)
    assert not request.cancelled
    request.cancel()
    request.cancel()
    assert request.cancelled
    assert request.num_references == 1
