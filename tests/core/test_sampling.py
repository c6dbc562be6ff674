"""The C copy of the parameters: copies outlive what they were made from."""

from __future__ import annotations

import gc

import numpy as np
import pytest

from oxillama import SamplingParams
from oxillama._core.sampling.parameters import CompiledSampling
from oxillama._core.sampling.sampler import SamplerMemory

FULL = SamplingParams(
    seed=2**64 - 1,
    logit_bias={5: -2.0, 1: 3.0},
    banned_tokens=[7, 7, 2],
    stop_token_ids=[6],
    min_tokens=3,
    dry_multiplier=1.0,
    dry_allowed_length=1,
    dry_sequence_breakers=[[3], [1, 2], [4, 4, 4], [3]],
    mirostat_tau=4.5,
    mirostat=2,
)


def distribution(compiled: CompiledSampling) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    out = np.empty(9, dtype=np.float32)
    row = np.linspace(-1, 1, 9, dtype=np.float32)
    history = np.array([1, 5, 0, 5, 0, 5], dtype=np.int32)
    SamplerMemory(9, 16).probs(compiled, row, history[:2], history[2:], out, choice=0, position=1, mu=3.0)
    return out


def test_a_copy_outlives_its_source() -> None:
    source = FULL.resolve(n_vocab=9, eog_tokens=[8])
    expected = distribution(source)
    assert set(np.flatnonzero(expected == 0)) >= {2, 6, 7, 8}
    copy = source.copy().copy()
    del source
    gc.collect()
    # Parameters of the same size and other values, to take the place of the memory just freed.
    other = FULL.replace(
        logit_bias={0: 9.0, 3: 9.0},
        banned_tokens=[0, 4],
        stop_token_ids=[0],
        dry_sequence_breakers=[[5], [0, 5], [5, 5, 5]],
    )
    crowd = [other.resolve(n_vocab=9, eog_tokens=[3]).copy() for _ in range(64)]
    assert len(crowd) == 64
    np.testing.assert_array_equal(distribution(copy), expected)
    assert copy.seed == 2**64 - 1
    assert copy.mirostat == 2
    assert copy.mirostat_tau == 4.5
    assert not copy.greedy


def test_it_is_initialised_once() -> None:
    compiled = FULL.resolve(n_vocab=9)
    with pytest.raises(TypeError):
        compiled.__init__()  # type: ignore[misc]
    blank = CompiledSampling.__new__(CompiledSampling)
    with pytest.raises(TypeError, match="never initialised"):
        _ = blank.seed
    with pytest.raises(TypeError, match="never initialised"):
        blank.copy()
