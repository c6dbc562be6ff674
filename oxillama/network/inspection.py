"""Whether a file would run, and what stands in the way: everything that opening it checks, without its weights."""

from __future__ import annotations

from dataclasses import dataclass

from oxillama.config import CacheConfig, SchedulerConfig
from oxillama.errors import OxillamaError
from oxillama.gguf import GGUFFile
from oxillama.gguf.model_kind import check_kind
from oxillama.network.cache_shape import CacheShape
from oxillama.network.loader import EVALUATION_ROWS, FileTensors, describe_network, packed_weight_bytes, read_tokenizer
from oxillama.network.lowering import lower
from oxillama.network.memory_plan import MemoryPlan, reserve_memory


@dataclass(frozen=True)
class Inspection:
    """obstacle: what opening the file would raise here and now; None: nothing, and there is a plan of its memory."""

    obstacle: OxillamaError | None
    plan: MemoryPlan | None = None

    @property
    def runs(self) -> bool:
        return self.obstacle is None


def inspect_model(
    file: GGUFFile, *, cache: CacheConfig | None = None, scheduler: SchedulerConfig | None = None
) -> Inspection:
    """Describes and plans the network of an open file as a load would, with the memory that is free at the moment.
    Promises none of it, and reads no matrix."""
    try:
        return Inspection(None, _plan(file, cache or CacheConfig(), scheduler or SchedulerConfig()))
    except OxillamaError as error:
        return Inspection(error)


def _plan(file: GGUFFile, cache: CacheConfig, scheduler: SchedulerConfig) -> MemoryPlan:
    check_kind(file)
    graph, architecture = describe_network(file, FileTensors(file), cache.n_ctx)
    read_tokenizer(file.metadata.detached(), architecture.n_vocab)
    n_whole = (cache.n_ctx or architecture.n_ctx_train) if graph.looks_ahead else 0
    max_outputs = scheduler.max_batch_size + EVALUATION_ROWS
    lowered = lower(graph, max_tokens=scheduler.step_tokens(n_whole), max_outputs=max_outputs)
    states = graph.state_floats * scheduler.max_batch_size + graph.kept_floats * max_outputs
    plan, reservation = reserve_memory(
        file.path,
        cache,
        n_ctx_train=architecture.n_ctx_train,
        shape=CacheShape.of(graph, cache, scheduler, cache.n_ctx or architecture.n_ctx_train),
        max_batch_size=scheduler.max_batch_size,
        weight_bytes=packed_weight_bytes(file, graph.matrices()),
        buffer_bytes=lowered.arena_bytes + 4 * states,
        copied_bytes=0,
        snapshot_bytes=4 * graph.state_floats if scheduler.prefix_cache else 0,
    )
    with reservation:
        return plan
