"""How many prompt tokens a step may add while others write: what was measured, forgotten and never undercut."""

from __future__ import annotations

import pytest

from oxillama._core.testing.scheduler_harness import KV_BLOCK
from tests.core.simulated_worker import Worker

MILLISECOND = 1_000_000


class Paced:
    """A sequence that writes, and a prompt too long for any step."""

    def __init__(self, max_step_ms: float) -> None:
        self.worker = Worker(
            4096, max_batch_tokens=4096, n_ctx=1 << 20, max_step_ns=int(max_step_ms * MILLISECOND), max_batch_size=2
        )
        self.worker.add([1, 2, 3], max_output=1000)
        self.worker.step()
        self.long = self.worker.add(list(range(10, 60_000)))

    def observe(self, ms: float, n_tokens: int, n_decode: int) -> None:
        self.worker.scheduler.observe(int(ms * MILLISECOND), n_tokens, n_decode)

    @property
    def chunk(self) -> int:
        return {item.request: item.n_tokens for item in self.worker.schedule()}[self.long]


def test_before_anything_is_known_a_chunk_is_one_block() -> None:
    assert Paced(100).chunk == KV_BLOCK


def test_what_decoding_takes_is_not_the_prompt_s() -> None:
    paced = Paced(100)
    paced.observe(20, 4, 4)
    paced.observe(100, 64, 0)  # 1.5625 ms for each token
    # 80 ms are left, for 51 tokens: one block
    assert paced.chunk == KV_BLOCK
    paced = Paced(100)
    paced.observe(20, 4, 4)
    paced.observe(50, 200, 0)
    assert paced.chunk == 320


def test_a_mixed_step_counts_beyond_the_decoding() -> None:
    paced = Paced(100)
    paced.observe(20, 4, 4)
    paced.observe(70, 104, 4)  # 50 ms for 100 tokens
    assert paced.chunk == 160
    paced = Paced(100)
    paced.observe(20, 4, 4)
    paced.observe(10, 104, 4)  # faster than decoding alone: a tenth of the step, never nothing
    assert paced.chunk == 4096 - KV_BLOCK


def test_slower_is_believed_sooner_than_faster() -> None:
    for ms, chunk in ((200, 64), (50, 96)):
        paced = Paced(100)
        paced.observe(100, 100, 0)
        paced.observe(ms, 100, 0)
        # 1.5 ms for each token by half, or 0.875 by a quarter
        assert paced.chunk == chunk


@pytest.mark.parametrize("nonsense", [(0, 100, 0), (-5, 100, 0), (100, 0, 0), (100, KV_BLOCK - 1, 0)])
def test_what_measures_nothing_is_not_taken(nonsense: tuple[float, int, int]) -> None:
    paced = Paced(100)
    paced.observe(*nonsense)
    assert paced.chunk == KV_BLOCK
