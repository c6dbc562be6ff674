"""What the cache of a network takes: bytes of a block, and how many blocks its windowed stores get by with."""

from __future__ import annotations

from dataclasses import dataclass

from oxillama._core.scheduling.kv_cache import BLOCK_TOKENS, LEAST_BLOCK_BYTES, block_bytes
from oxillama.config import CacheConfig, SchedulerConfig
from oxillama.network.graph import Graph
from oxillama.network.operations import Attention, Span

MOST_BLOCKS = (2**31 - 1) // BLOCK_TOKENS  # positions are 32-bit integers


@dataclass(frozen=True)
class CacheShape:
    """Bytes of 32 tokens in the stores that keep them as long as their sequence, and in the `windowed` ones, which no
    token sees further back than `window` tokens, itself included.

    n_read: blocks of windowed stores that all sequences hold which may run, with those of a step. n_kept: as many
    again, where prompts may be continued."""

    whole_bytes: int
    windowed_bytes: int = 0
    windowed: frozenset[int] = frozenset()
    window: int = 0
    n_read: int = 0
    n_kept: int = 0

    @classmethod
    def of(cls, graph: Graph, cache: CacheConfig, scheduler: SchedulerConfig, n_ctx: int) -> CacheShape:
        stores = [(store.n_head_kv, store.k_dim, store.v_dim) for store in graph.stores]
        windows = _windows(graph, n_ctx)
        if not windows:
            return cls(block_bytes(cache.kv_dtype, stores))
        window = max(windows.values())
        whole = block_bytes(cache.kv_dtype, [store for i, store in enumerate(stores) if i not in windows])
        # From the first key that is seen to the next token, and one that drafts reach into.
        span = (window - 1) // BLOCK_TOKENS + 3
        n_kept = scheduler.max_batch_size * span if scheduler.prefix_cache else 0
        if cache.prefix_cache_tokens is not None:
            n_kept = min(n_kept, blocks_for(cache.prefix_cache_tokens))
        return cls(
            max(whole, LEAST_BLOCK_BYTES),
            block_bytes(cache.kv_dtype, [stores[i] for i in windows]),
            frozenset(windows),
            window,
            scheduler.max_batch_size * span + blocks_for(scheduler.step_tokens()),
            n_kept,
        )

    @property
    def block_bytes(self) -> int:
        """Of 32 tokens in all stores. A network without a cache still has a table of blocks."""
        return max(1, self.whole_bytes + self.windowed_bytes)

    def n_window_blocks(self, n_blocks: int) -> int:
        """Blocks of windowed stores beside so many of the others; 0 where giving blocks back would save nothing."""
        wanted = self.n_read + self.n_kept
        return wanted if self.windowed and wanted < n_blocks else 0

    def n_bytes(self, n_blocks: int) -> int:
        n_windows = self.n_window_blocks(n_blocks)
        if n_windows == 0:
            return n_blocks * self.block_bytes
        return n_blocks * self.whole_bytes + n_windows * self.windowed_bytes

    def most_blocks(self, n_bytes: int) -> int:
        """How many blocks fit into so many bytes."""
        n_blocks = n_bytes // self.block_bytes
        n_windows = self.n_read + self.n_kept
        if self.windowed:
            n_saving = (n_bytes - n_windows * self.windowed_bytes) // self.whole_bytes
            n_blocks = max(n_blocks, n_saving) if n_saving > n_windows else min(n_blocks, n_windows)
        return min(n_blocks, MOST_BLOCKS)


def blocks_for(n_tokens: int) -> int:
    return -(-n_tokens // BLOCK_TOKENS)


def _windows(graph: Graph, n_ctx: int) -> dict[int, int]:
    """How far back each store is seen, of those that are seen less far than the whole context."""
    if graph.looks_ahead:
        return {}
    seen: dict[int, int] = {}
    for node in graph.nodes:
        if isinstance(node, Attention):
            is_bounded = node.window > 0 and node.span is not Span.SYMMETRIC
            reach = min(node.window, n_ctx) if is_bounded else n_ctx
            seen[node.store.index] = max(seen.get(node.store.index, 0), reach)
    return {store: reach for store, reach in seen.items() if reach < n_ctx}
