"""The memory of the KV cache: addresses at once, pages as blocks are given out."""

from __future__ import annotations

from pathlib import Path

import pytest

from oxillama._core.scheduling.kv_cache import BLOCK_TOKENS, KV_TYPES, KVCache, block_bytes

HUGE_PAGE = 2 << 20


def resident() -> int:
    return 1024 * int(Path("/proc/self/status").read_text().split("VmRSS:")[1].split()[0])


def test_pages_come_with_the_blocks() -> None:
    before = resident()
    cache = KVCache("f16", stores=[(3, 64, 64)] * 30, n_blocks=10_000)
    assert cache.n_bytes == 10_000 * cache.block_bytes == 10_000 * block_bytes("f16", [(3, 64, 64)] * 30) > 7e9
    assert cache.n_resident == 0
    assert resident() - before < 4 << 20
    for n_blocks in (1, 2, 40, 100):
        cache.grow(n_blocks)
        used = n_blocks * cache.block_bytes
        assert used <= cache.n_resident < used + HUGE_PAGE
        assert cache.n_resident % HUGE_PAGE == 0
    assert cache.n_resident * 0.9 < resident() - before < cache.n_resident + (8 << 20)
    grown = cache.n_resident
    cache.grow(3)  # it never shrinks
    assert cache.n_resident == grown


@pytest.mark.parametrize("kv_dtype", KV_TYPES)
def test_a_small_cache_grows_to_its_end_and_no_further(kv_dtype: str) -> None:
    cache = KVCache(kv_dtype, stores=[(1, 32, 32)], n_blocks=3)
    cache.grow(1)
    assert cache.n_resident == cache.n_bytes
    cache.grow(3)
    assert cache.n_resident == cache.n_bytes
    assert cache.n_tokens == 3 * BLOCK_TOKENS
    with pytest.raises(ValueError, match="expected 0 to 3"):
        cache.grow(4)
