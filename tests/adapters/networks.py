"""Networks with adapters at every site, run step by step without an engine."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from oxillama._core.network.adapter import AdapterSet
from oxillama._core.network.program import Program
from oxillama.adapters.packing import needed_bytes, pack, place
from oxillama.adapters.reading import read_adapter
from oxillama.config import CacheConfig, SchedulerConfig
from oxillama.gguf import GGUFFile
from oxillama.network.loader import LoadedModel, load_model
from oxillama.network.sites import Sites

BLOCK = 32
MAX_TOKENS = 96
_ids = itertools.count(1 << 40)

Rows = npt.NDArray[np.float32]


def load(path: Path, n_threads: int = 1, kv_dtype: str = "f32") -> LoadedModel:
    with GGUFFile(path) as file:
        return load_model(
            path,
            cache=CacheConfig(kv_dtype=kv_dtype, kv_cache_tokens=64 * BLOCK),
            scheduler=SchedulerConfig(max_batch_size=8, max_batch_tokens=MAX_TOKENS),
            n_threads=n_threads,
            progress=False,
            file=file,
        )


def adaptable(sites: Sites) -> list[str]:
    """The names of all tensors that an adapter may change."""
    return sorted({name for site in sites.sites for name in site.names() if name in sites.shapes})


def adapter_set(path: Path, sites: Sites, *scaled: tuple[Path, float]) -> AdapterSet:
    """A set of the adapters in these files, in the order given."""
    found = []
    for file, scale in scaled:
        adapter = read_adapter(file, sites)
        placed = place(adapter, sites)
        values = {tensor: (pair.a.values(), pair.b.values()) for tensor, pair in adapter.pairs.items()}
        made = pack(placed, values, n_sites=len(sites.sites), n_bytes=needed_bytes(placed))
        found.append((made, scale))
    return AdapterSet(found, next(_ids))


def compute(
    program: Program,
    sequences: Sequence[list[int]],
    steps: Sequence[dict[int, int]],
    applied: Sequence[AdapterSet | None],
) -> list[Rows]:
    """The logits of every token of every sequence, computed as `steps` says: tokens of each sequence per step. A
    sequence has its own blocks and slot."""
    done = [0] * len(sequences)
    rows: list[list[Rows]] = [[] for _ in sequences]
    for step in steps:
        tokens: list[int] = []
        runs = []
        for i, n in step.items():
            tokens += sequences[i][done[i] : done[i] + n]
            table = np.arange(4 * i, 4 * i + 4, dtype=np.int32)
            runs.append((n, done[i], table, i))
            done[i] += n
        wanted = np.arange(len(tokens), dtype=np.int32)[: program.max_outputs]
        found = program.forward(np.array(tokens, np.int32), runs, wanted, [applied[i] for i in step])
        row = 0
        for i, n in step.items():
            rows[i] += list(found[row : row + n])
            row += n
    return [np.array(sequence) for sequence in rows]
