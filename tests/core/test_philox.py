"""Philox against the known answers that its authors publish with Random123."""

from __future__ import annotations

import pytest

from oxillama._core.sampling.philox import philox4x32, random_bits

# Random123, tests/kat_vectors, the lines of philox4x32 with 10 rounds: counter, key, answer.
KNOWN_ANSWERS = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    (
        (0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF),
        (0xFFFFFFFF, 0xFFFFFFFF),
        (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD),
    ),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN_ANSWERS)
def test_known_answers(
    counter: tuple[int, int, int, int], key: tuple[int, int], answer: tuple[int, int, int, int]
) -> None:
    assert philox4x32(counter, key) == answer


def test_the_layout_of_counter_and_key() -> None:
    # Part of the reproducibility contract: changing it changes every seeded output.
    words = philox4x32((7, 3, 1, 0), (0x89ABCDEF, 0x01234567))
    assert random_bits(0x0123456789ABCDEF, 3, 7, 1) == words[1] << 32 | words[0]


def test_every_argument_matters() -> None:
    points = [(0, 0, 0, 0), (1, 0, 0, 0), (2**32, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1)]
    assert len({random_bits(*point) for point in points}) == len(points)
