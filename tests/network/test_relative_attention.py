"""The biases of distances, against torch's buckets, and what has no sense as such."""

from __future__ import annotations

import numpy as np
import pytest

from oxillama import UnsupportedModelError
from oxillama.network.relative_attention import FARTHEST, bucket_of, distance_biases
from tests.network.models import tiny_t5 as tiny


def test_buckets_are_torch_s() -> None:
    expected = np.load(tiny.RECORDED)["buckets"].tolist()
    assert [bucket_of(distance, tiny.N_BUCKETS) for distance in range(-200, 201)] == expected


def test_a_bias_stands_at_its_distance() -> None:
    table = np.arange(64, dtype=np.float32).reshape(32, 2)
    biases = distance_biases(table)
    assert biases.shape == (2, 2 * FARTHEST + 1)
    for distance in (-FARTHEST, -9, -1, 0, 1, 8, FARTHEST):
        np.testing.assert_array_equal(biases[:, FARTHEST + distance], table[bucket_of(distance, 32)])


@pytest.mark.parametrize("n_buckets", [0, 2, 30, 260])
def test_numbers_of_buckets_without_sense_are_refused(n_buckets: int) -> None:
    with pytest.raises(UnsupportedModelError, match="relative buckets"):
        bucket_of(1, n_buckets)
