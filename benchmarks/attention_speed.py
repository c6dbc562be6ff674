"""Speed of the attention kernels alone: GB/s of KV cache when decoding, GFLOP/s when prefilling.

Run as ``python benchmarks/attention_speed.py [--levels avx2,avx512vnni] [--types f16,q8_0] [--threads 1,2]``. Threads
take KV heads, as in the engine. A read of the same arena with NumPy stands beside the figures as a bandwidth probe.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from oxillama._core.network.kernels import usable_levels
from oxillama._core.testing import attention_harness as harness

HEAD_DIM = 64
N_HEAD_KV = 8
GROUP = 4
ROUNDS = 7


class Cache:
    """A filled KV arena of one layer."""

    def __init__(self, level: str, kv_type: str, depth: int) -> None:
        rng = np.random.default_rng(1)
        self.level, self.kv_type, self.depth = level, kv_type, depth
        n_blocks = (depth + 31) // 32
        _, self.head_bytes, block_bytes = harness.kv_layout(level, kv_type, N_HEAD_KV, HEAD_DIM, HEAD_DIM)
        self.blocks = np.arange(n_blocks, dtype=np.int32)
        self.arena = harness.aligned_bytes(n_blocks * block_bytes)
        for start in range(0, depth, 4096):
            n = min(4096, depth - start)
            rows = rng.standard_normal((2, n, N_HEAD_KV, HEAD_DIM), dtype=np.float32)
            harness.kv_store(level, kv_type, rows[0], rows[1], start, self.arena, self.blocks)

    def attend(self, n_tokens: int, threads: int, repeat: int, end: int = 0) -> Callable[[int], None]:
        """The work of one thread for the last ``n_tokens`` positions of all, or of the first ``end``."""
        first = (end or self.depth) - n_tokens
        q = np.random.default_rng(2).standard_normal((n_tokens, N_HEAD_KV * GROUP, HEAD_DIM), dtype=np.float32)
        out = np.empty_like(q)
        share = N_HEAD_KV // threads

        def work(thread: int) -> None:
            harness.attention(
                self.level, self.kv_type, q, N_HEAD_KV, first, 0, HEAD_DIM**-0.5, self.arena,
                self.blocks, out, thread * share, (thread + 1) * share, repeat,
            )  # fmt: skip

        return work


def best_seconds(work: Callable[[int], None], threads: int) -> float:
    """The shortest of several rounds, in seconds for one round on all threads."""
    with ThreadPoolExecutor(threads) as pool:
        times = []
        for _ in range(ROUNDS):
            start = time.perf_counter()
            list(pool.map(work, range(threads)))
            times.append(time.perf_counter() - start)
    return min(times)


def probe(arena: NDArray[np.uint8], threads: int) -> float:
    """GB/s of summing 64-bit words of the arena."""
    words = arena[: arena.size // (8 * threads) * (8 * threads)].view(np.uint64).reshape(threads, -1)

    def work(thread: int) -> None:
        words[thread].max()

    return words.nbytes / best_seconds(work, threads) / 1e9


def decode(level: str, kv_type: str, depth: int, threads: int) -> str:
    cache = Cache(level, kv_type, depth)
    repeat = max(1, 65536 // depth)
    seconds = best_seconds(cache.attend(1, threads, repeat), threads) / repeat
    rate = cache.arena.size / seconds / 1e9
    memory = probe(cache.arena, threads)
    return f"decode at {depth:6d}: {rate:6.1f} GB/s, {seconds * 1e6:8.1f} us (probe {memory:5.1f} GB/s)"


def prefill(level: str, kv_type: str, depth: int, n_tokens: int, threads: int) -> str:
    """Of the last n_tokens of depth, in runs of 16 as the engine cuts them."""
    cache = Cache(level, kv_type, depth)
    seconds, keys = 0.0, 0
    for end in range(depth - n_tokens + 16, depth + 1, 16):
        seconds += best_seconds(cache.attend(16, threads, 1, end), threads)
        keys += sum(range(end - 15, end + 1))
    rate = 4 * HEAD_DIM * GROUP * N_HEAD_KV * keys / seconds / 1e9
    return f"prefill of {n_tokens} at {depth:5d}:  {rate:6.1f} GFLOP/s, {seconds * 1e3:8.2f} ms"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--levels", default=",".join(usable_levels()[2:]))
    parser.add_argument("--types", default="f16,q8_0")
    parser.add_argument("--threads", default="1,2")
    arguments = parser.parse_args()
    print(f"head_dim {HEAD_DIM}, {N_HEAD_KV} KV heads, group {GROUP}")
    for level in arguments.levels.split(","):
        for kv_type in arguments.types.split(","):
            for threads in map(int, arguments.threads.split(",")):
                label = f"{level:11s} {kv_type:5s} {threads} thread{'s' if threads > 1 else ' '}"
                for depth in (512, 4096, 32768):
                    print(label, decode(level, kv_type, depth, threads), flush=True)
                for depth, n_tokens in ((512, 512), (4096, 64), (12288, 64)):
                    print(label, prefill(level, kv_type, depth, n_tokens, threads), flush=True)


if __name__ == "__main__":
    main()
