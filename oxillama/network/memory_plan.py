"""How much memory a model gets, decided and promised before any of it is allocated."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from oxillama._core.scheduling.kv_cache import BLOCK_TOKENS
from oxillama.config import SNAPSHOT_TOKENS, CacheConfig
from oxillama.errors import ModelLoadError
from oxillama.gguf import GGUFFile
from oxillama.ledger import LEDGER, Reservation
from oxillama.network.cache_shape import CacheShape
from oxillama.results.stats import Memory
from oxillama.values import refused

log: logging.Logger = logging.getLogger("oxillama")

# Left for everything that is not weights, cache or buffers.
RESERVE_BYTES = 64 << 20
GIB = 1 << 30
# Unless told otherwise, the cache holds so many sequences of full length, or so many tokens for each that may run.
FULL_SEQUENCES = 4
TOKENS_PER_SEQUENCE = 1024
# Kept recurrent states get one part in this many of what is left beside weights, buffers and cache, at most.
SNAPSHOT_SHARE = 4


@dataclass(frozen=True)
class MemoryPlan:
    """What a model is promised; its cache grows into `n_blocks` as it is used."""

    n_ctx: int
    n_blocks: int
    n_snapshots: int  # recurrent states that are kept beside those of running sequences
    n_kept_blocks: int  # cached beginnings are evicted before the cache grows, from so many on
    memory: Memory
    n_window_blocks: int = 0  # of windowed stores; 0: they have as many as the others
    n_kept_window_blocks: int = 0

    @property
    def n_bytes(self) -> int:
        return self.memory.promised

    def __str__(self) -> str:
        weights, cache, buffers = (n / GIB for n in (self.memory.weights, self.memory.kv_cache, self.memory.buffers))
        return (
            f"{weights:.2f} GiB of weights, {buffers:.2f} GiB of buffers, a KV cache of up to {cache:.2f} GiB for "
            f"{self.n_blocks * BLOCK_TOKENS} tokens, context {self.n_ctx}"
        )


@contextmanager
def open_model(path: str | os.PathLike[str], *, mmap: bool) -> Iterator[GGUFFile]:
    """The file, mapped or copied. A copy that memory cannot hold is a ModelLoadError before it is made."""
    if not isinstance(mmap, bool):
        raise refused("mmap", "True or False", mmap)
    with GGUFFile(path) as file:
        if mmap:
            yield file
            return
        n_bytes = sum(os.path.getsize(part) for part in file.paths)
    with LEDGER.deciding() as left:
        available = left - RESERVE_BYTES
        if n_bytes > available:
            raise ModelLoadError(
                f"the file does not fit into memory: {max(0, available):,} bytes are left, a copy needs {n_bytes:,}; "
                f"mmap=True needs none{LEDGER.others()}"
            )
        reservation = LEDGER.reserve(f"copy of {os.path.basename(os.fspath(path))}", n_bytes)
    with reservation, GGUFFile(path, mmap=False) as file:
        reservation.settle()
        yield file


def reserve_memory(
    name: str,
    cache: CacheConfig,
    *,
    n_ctx_train: int,
    shape: CacheShape,
    max_batch_size: int,
    weight_bytes: int,
    buffer_bytes: int,
    copied_bytes: int,
    snapshot_bytes: int = 0,
) -> tuple[MemoryPlan, Reservation]:
    """Decides the context and the bound of the cache and promises the memory for them, in one step for the process.

    copied_bytes: of the file, let go of while the weights are packed. snapshot_bytes: of a recurrent state, if such are
    to be kept. Raises ModelLoadError with what is left, what is needed, and who else has been promised memory."""
    with LEDGER.deciding() as left:
        available = left + copied_bytes - RESERVE_BYTES
        budget = available - weight_bytes - buffer_bytes
        if budget < 0:
            raise ModelLoadError(
                f"the model does not fit into memory: {max(0, available):,} bytes are left, "
                f"its weights need {weight_bytes:,} and its buffers {buffer_bytes:,}{LEDGER.others()}"
            )
        affordable = shape.most_blocks(budget // 2) * BLOCK_TOKENS
        n_ctx = min(n_ctx_train, affordable) if cache.n_ctx is None else cache.n_ctx
        n_tokens = cache.kv_cache_tokens
        if n_tokens is None:
            n_tokens = default_cache_tokens(n_ctx, max_batch_size)
            if not cache.has_draft:
                # What windowed stores save is room for longer texts.
                same_bytes = shape.most_blocks(-(-n_tokens // BLOCK_TOKENS) * shape.block_bytes) * BLOCK_TOKENS
                n_tokens = max(n_tokens, min(same_bytes, n_ctx * max_batch_size))
            n_tokens = max(n_ctx, min(affordable, n_tokens))
        n_blocks = -(-n_tokens // BLOCK_TOKENS)
        needed = shape.n_bytes(n_blocks)
        if budget < needed or n_ctx < 1:
            raise ModelLoadError(
                f"the model does not fit into memory: {budget:,} bytes are left beside the weights, "
                f"the KV cache of {max(n_tokens, 1)} tokens needs {max(needed, shape.block_bytes):,}{LEDGER.others()}"
            )
        kept = max(n_ctx, n_tokens // 4) if cache.prefix_cache_tokens is None else cache.prefix_cache_tokens
        n_snapshots = 0
        if snapshot_bytes:
            # Of each sequence that runs, where its prompt ends and where its output is; of what is kept, all.
            wanted = 2 * max_batch_size + kept // SNAPSHOT_TOKENS
            n_snapshots = min(wanted, (budget - needed) // SNAPSHOT_SHARE // snapshot_bytes)
        memory = Memory(weights=weight_bytes, kv_cache=needed, buffers=buffer_bytes + n_snapshots * snapshot_bytes)
        n_windows = shape.n_window_blocks(n_blocks)
        plan = MemoryPlan(
            n_ctx,
            n_blocks,
            n_snapshots,
            min(n_blocks, -(-kept // BLOCK_TOKENS)),
            memory,
            n_windows,
            min(n_windows, shape.n_kept),
        )
        reservation = LEDGER.reserve(name, plan.n_bytes)
    if cache.n_ctx is None and n_ctx < n_ctx_train:
        log.warning("context reduced from %d to %d tokens to fit into memory", n_ctx_train, n_ctx)
    return plan, reservation


def reserve_draft_memory(name: str, n_bytes: int, copied_bytes: int) -> Reservation:
    """Promises the memory of a draft model: weights, buffers, and a cache of as many blocks as the model's."""
    with LEDGER.deciding() as left:
        available = left + copied_bytes - RESERVE_BYTES
        if n_bytes > available:
            raise ModelLoadError(
                f"the draft model does not fit into memory: {max(0, available):,} bytes are left, its weights, buffers "
                f"and cache need {n_bytes:,}{LEDGER.others()}"
            )
        return LEDGER.reserve(name, n_bytes)


def default_cache_tokens(n_ctx: int, max_batch_size: int) -> int:
    """A bound that the work seldom meets: some sequences of full length, or many of ordinary length."""
    return min(n_ctx * max_batch_size, max(n_ctx * FULL_SEQUENCES, TOKENS_PER_SEQUENCE * max_batch_size))
