"""Loads a small model that guesses for a large one: of the same vocabulary, byte by byte, with as many cache blocks."""

from __future__ import annotations

import os
from dataclasses import dataclass

from oxillama._core.network.program import Program
from oxillama._core.scheduling.kv_cache import KVCache, block_bytes
from oxillama.config import EXACT_WEIGHTS, CacheConfig, SchedulerConfig, WeightsConfig
from oxillama.errors import ModelLoadError, UnsupportedModelError
from oxillama.gguf import GGUFFile
from oxillama.gguf.model_kind import check_kind
from oxillama.ledger import Reservation
from oxillama.network.graph import Graph
from oxillama.network.loader import (
    FileTensors,
    LoadedModel,
    Model,
    describe_network,
    packed_weight_bytes,
    read_tokenizer,
    source_bytes,
)
from oxillama.network.lowering import emit, lower
from oxillama.network.memory_plan import reserve_draft_memory
from oxillama.progress import Progress, reporting
from oxillama.results.stats import Memory
from oxillama.tokenizer import Tokenizer


@dataclass(frozen=True)
class DraftModel:
    """A program that takes turns with the large model's, on the same threads; n_ctx: positions that it knows."""

    program: Program
    n_ctx: int
    memory: Memory
    reservation: Reservation


def load_draft(
    path: str | os.PathLike[str],
    file: GGUFFile,
    loaded: LoadedModel,
    *,
    cache: CacheConfig,
    scheduler: SchedulerConfig,
    weights: WeightsConfig = EXACT_WEIGHTS,
    progress: Progress = None,
) -> DraftModel:
    """Builds the program of an open file, in addition to that of a loaded model.

    Raises ModelLoadError for a vocabulary that is not the model's, saying which token differs, or for want of memory,
    and UnsupportedModelError for a network that cannot draft."""
    check_kind(file)
    tensors, model = FileTensors(file, weights), loaded.model
    name = os.path.basename(os.fspath(path))
    graph, architecture = describe_network(file, tensors, None)
    _check_network(name, graph)
    check_vocabulary(name, read_tokenizer(file.metadata, architecture.n_vocab), architecture.n_vocab, model)
    matrices = graph.matrices()
    weight_bytes = packed_weight_bytes(file, matrices)
    lowered = lower(graph, max_tokens=scheduler.step_tokens(), max_outputs=scheduler.max_batch_size)
    stores = [(store.n_head_kv, store.k_dim, store.v_dim) for store in graph.stores]
    n_blocks = model.plan.n_blocks
    cache_bytes = n_blocks * block_bytes(cache.kv_dtype, stores)
    reservation = reserve_draft_memory(name, weight_bytes + lowered.arena_bytes + cache_bytes, file.copied_bytes)
    with (
        reservation.released_on_failure(),
        reporting(
            progress, total=sum(source_bytes(file, matrix) for matrix in matrices), label="loading the draft", unit="B"
        ) as tell,
    ):
        try:
            kv = KVCache(cache.kv_dtype, stores=stores, n_blocks=n_blocks)
            tensors.reserve(weight_bytes)
            program = emit(
                lowered,
                tensors,
                kv=kv,
                n_threads=loaded.program.n_threads,
                n_slots=scheduler.max_batch_size,
                team=loaded.program.team,
            )
        except MemoryError as error:
            raise ModelLoadError(f"the system refused memory that there seemed to be: {error}") from error
        memory = Memory(weights=weight_bytes, kv_cache=cache_bytes, buffers=program.n_bytes)
        reservation.bind(program, memory.promised)
        tensors.pack(tell, program.team)
    return DraftModel(program, architecture.n_ctx_train, memory, reservation)


def _check_network(name: str, graph: Graph) -> None:
    if graph.result is None:
        raise UnsupportedModelError(f"draft {name!r} writes nothing, expected a model that generates text")
    if graph.state_floats or graph.looks_ahead:
        what = "keeps recurrent states" if graph.state_floats else "reads texts as a whole"
        raise UnsupportedModelError(f"draft {name!r} {what}, expected one with keys and values only")


def check_vocabulary(name: str, tokenizer: Tokenizer | None, n_vocab: int, model: Model) -> None:
    """Raises ModelLoadError unless each token of the draft means the same bytes as the model's."""
    known = model.tokenizer
    if tokenizer is None or known is None:
        if tokenizer is not known or n_vocab != model.architecture.n_vocab:
            found = f"{n_vocab} tokens without a tokenizer" if tokenizer is None else "a tokenizer"
            expected = "a tokenizer" if known is not None else f"{model.architecture.n_vocab} tokens without one"
            raise ModelLoadError(f"draft {name!r} has {found}, expected {expected} as the model has")
        return
    if tokenizer.n_vocab != known.n_vocab:
        raise ModelLoadError(
            f"draft {name!r} has a vocabulary of {tokenizer.n_vocab} tokens, expected the model's {known.n_vocab}"
        )
    for token in range(known.n_vocab):
        own, meant = tokenizer.token_bytes(token), known.token_bytes(token)
        if own != meant:
            raise ModelLoadError(
                f"draft {name!r} has another vocabulary: its token {token} is {own!r}, expected {meant!r}"
            )
    if tokenizer.eog_ids != known.eog_ids:
        raise ModelLoadError(
            f"draft {name!r} ends texts with the tokens {sorted(tokenizer.eog_ids)}, expected {sorted(known.eog_ids)}"
        )
