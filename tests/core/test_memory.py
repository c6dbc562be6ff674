"""Pages of memory: small where huge ones are dear, huge afterwards, and the same bytes all the while."""

from __future__ import annotations

import mmap
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from oxillama._core.memory import Pages

HUGE = 2 << 20
POPULATE_WRITE = 23  # a number of Linux that the mmap module does not name


def bytes_of(pages: Pages) -> npt.NDArray[np.uint8]:
    return np.frombuffer(memoryview(pages), np.uint8)


def kilobytes(pages: Pages, field: str) -> int:
    """A field of /proc/self/smaps, summed over the mappings that `pages` lies in."""
    begin = bytes_of(pages).ctypes.data
    end, found, inside = begin + pages.size, 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        name, _, rest = line.partition(" ")
        if "-" in name and ":" not in name:
            low, high = (int(side, 16) for side in name.split("-"))
            inside = low < end and begin < high
        elif inside and name == f"{field}:":
            found += int(rest.split()[0])
    return found


@pytest.mark.parametrize("size", [1, 4096, 5000, HUGE - 1, HUGE, 5 * HUGE + 12345])
@pytest.mark.parametrize("small", [False, True])
def test_every_byte_is_there_and_zero(size: int, small: bool) -> None:
    pages = Pages(size)
    pages.touch(small=small)
    found = bytes_of(pages)
    assert found.shape == (size,)
    assert not found.any()
    while pages.enlarge():
        pass
    assert not found.any()


@pytest.mark.parametrize("small", [False, True])
def test_touched_pages_are_resident_before_anybody_writes(small: bool) -> None:
    try:
        mmap.mmap(-1, mmap.PAGESIZE).madvise(POPULATE_WRITE)
    except OSError:
        pytest.skip("the kernel leaves pages to their first writer (MADV_POPULATE_WRITE, Linux 5.14)")
    pages = Pages(5 * HUGE + 12345)
    assert kilobytes(pages, "Rss") == 0
    pages.touch(small=small)
    assert kilobytes(pages, "Rss") >= pages.size / 1024


def test_small_pages_become_huge_and_keep_their_bytes() -> None:
    pages = Pages(6 * HUGE + 100_000)
    assert pages.is_settled
    pages.touch(small=True)
    assert not pages.is_settled
    assert kilobytes(pages, "AnonHugePages") == 0
    written = bytes_of(pages)
    written[:] = np.random.default_rng(0).integers(256, size=pages.size, dtype=np.uint8)
    expected = written.copy()
    rounds = 0
    while pages.enlarge():
        rounds += 1
        assert np.array_equal(written, expected)
    if rounds == 0:
        pytest.skip("the kernel cannot make pages huge (MADV_COLLAPSE, Linux 6.1)")
    assert rounds == 6
    assert pages.is_settled
    assert not pages.enlarge()
    if kilobytes(pages, "AnonHugePages") == 0:
        pytest.skip("no two megabytes of free memory lie together")
    assert kilobytes(pages, "AnonHugePages") <= 6 * HUGE / 1024


def test_memory_that_nobody_can_have() -> None:
    with pytest.raises(MemoryError):
        Pages(2**63 + 1)
