"""From a GGUF file to a program that can run: checks, memory budget, packing. No tokens and no requests here."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from oxillama._core.gguf.ggml_types import GGML_TYPES
from oxillama._core.network.program import Program
from oxillama._core.network.team import Team
from oxillama._core.network.weights import PackedMatrix, WeightPacker, packed_bytes
from oxillama._core.scheduling.kv_cache import BLOCK_TOKENS, KVCache
from oxillama.config import EXACT_WEIGHTS, CacheConfig, SchedulerConfig, WeightsConfig
from oxillama.errors import ModelLoadError, UnsupportedModelError
from oxillama.gguf import GGUFFile, Metadata, TensorInfo
from oxillama.gguf.model_kind import check_kind, check_tensor_types
from oxillama.ledger import Reservation
from oxillama.network.cache_shape import CacheShape
from oxillama.network.graph import Graph, Matrix, Vector
from oxillama.network.lowering import emit, lower
from oxillama.network.memory_plan import MemoryPlan, reserve_memory
from oxillama.network.models import Architecture, read_architecture
from oxillama.network.sites import Sites, sites_of
from oxillama.progress import Progress, reporting
from oxillama.sampling.sampler import MAX_VOCAB
from oxillama.tokenizer import Tokenizer

log: logging.Logger = logging.getLogger("oxillama")

# Rows of logits that a step has room for beside one per running sequence, for the evaluation of prompts.
EVALUATION_ROWS = 32

_TYPE_IDS = {row.name: number for number, row in GGML_TYPES.items()}


@dataclass(frozen=True)
class Heads:
    """What a network gives. Widths in values, 0 for what it does not give."""

    has_logits: bool
    embedding: int
    scores: int  # of a classifier
    whole_tokens: int  # most tokens of a prompt, which is computed in one step; 0: prompts are computed in parts

    @classmethod
    def of(cls, program: Program) -> Heads:
        whole = program.max_tokens if program.whole else 0
        return cls(program.has_logits, program.hidden_width, program.n_scores, whole)


@dataclass(frozen=True)
class Model:
    """What is known of a loaded model. Its weights and its cache are not here: they end with the program."""

    name: str
    architecture: Architecture
    metadata: Metadata
    tokenizer: Tokenizer | None
    n_threads: int
    plan: MemoryPlan
    heads: Heads
    sites: Sites  # where adapters may add to it

    @property
    def n_ctx(self) -> int:
        return self.plan.n_ctx

    @property
    def max_prompt(self) -> int:
        """Tokens of the longest prompt, beside which nothing is generated."""
        most = min(self.n_ctx, self.kv_tokens)
        return min(most, self.heads.whole_tokens) if self.heads.whole_tokens else most

    @property
    def kv_tokens(self) -> int:
        """Tokens that all sequences share."""
        return self.plan.n_blocks * BLOCK_TOKENS


@dataclass(frozen=True)
class LoadedModel:
    """A model with the program that runs it, which keeps the memory promised to it for as long as it lives."""

    model: Model
    program: Program
    reservation: Reservation


def pick_rows(rows: npt.NDArray[Any], ranges: tuple[range, ...]) -> npt.NDArray[Any]:
    """These rows, one after another; a view where they are one stretch."""
    if len(ranges) == 1:
        return rows[ranges[0].start : ranges[0].stop]
    return np.concatenate([rows[part.start : part.stop] for part in ranges])


class PackedTensor(NamedTuple):
    """A tensor as the program will keep it, where that is not as the file has it."""

    shape: tuple[int, ...]
    type_id: int


class FileTensors:
    """The tensors of an open file: what the graph checks, and what the program is filled with."""

    def __init__(self, file: GGUFFile, weights: WeightsConfig = EXACT_WEIGHTS) -> None:
        self._file = file
        self._rounds_f16 = weights.f16 == "bf16"
        self._packed: dict[Matrix, PackedMatrix] = {}
        self._packer = WeightPacker(0)

    def get(self, name: str) -> TensorInfo | PackedTensor | None:
        info = self._file.tensors.get(name)
        if self._rounds_f16 and info is not None and info.type_name == "F16" and len(info.shape) > 1:
            return PackedTensor(tuple(info.shape), _TYPE_IDS["BF16"])
        return info

    def floats(self, name: str) -> npt.NDArray[np.float32]:
        info = self._file.tensor(name)
        data = info.data
        match info.type_name:
            case "F32":
                return data.view(np.float32).copy()
            case "F16":
                return data.view(np.float16).astype(np.float32)
            case "BF16":
                return (data.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
        raise UnsupportedModelError(f"tensor {name!r} is {info.type_name}, expected F32, F16 or BF16")

    def vector(self, vector: Vector) -> npt.NDArray[np.float32]:
        return pick_rows(self.floats(vector.name), vector.ranges)

    def matrix(self, matrix: Matrix) -> PackedMatrix:
        packed = self._packed.get(matrix)
        if packed is None:
            info = self._file.tensor(matrix.name)
            rows = info.data.reshape(math.prod(info.shape[1:]), -1)
            if matrix.stack == 1:
                parts = [pick_rows(rows, matrix.ranges).reshape(-1)]
            else:
                parts = [rows[part.start : part.stop].reshape(-1) for part in matrix.ranges]
            bias = self.vector(matrix.bias) if matrix.bias else None
            # A stack's factors are the operation's, which knows which of its matrices it multiplies with.
            scale = float(self.vector(matrix.scale)[0]) if matrix.scale and matrix.stack == 1 else 1.0
            packed = self._packer.add_stack(
                parts,
                matrix.type_id,
                matrix.rows,
                matrix.k,
                bias=bias,
                scale=scale,
                rounds=matrix.type_id != info.type_id,
            )
            self._packed[matrix] = packed
        return packed

    def reserve(self, n_bytes: int) -> None:
        """Makes room for the packed matrices."""
        self._packer = WeightPacker(n_bytes, consume=True)

    def pack(self, advance: Callable[[int], None], team: Team) -> None:
        """Fills the matrices that were asked for. The file's pages go as they are read: peak memory must not hold every
        weight twice."""
        self._packer.pack(advance, team)


def load_model(
    path: str | os.PathLike[str],
    *,
    cache: CacheConfig,
    scheduler: SchedulerConfig,
    weights: WeightsConfig = EXACT_WEIGHTS,
    n_threads: int,
    progress: Progress = None,
    file: GGUFFile,
) -> LoadedModel:
    """Builds the program of an open file, whose weights cannot be read afterwards if it was opened with mmap=False.

    Raises ModelLoadError for a damaged or inconsistent file or one that does not fit into memory, before weights are
    read, and UnsupportedModelError for a sound one that needs what this version does not have."""
    check_kind(file)
    tensors = FileTensors(file, weights)
    graph, architecture = describe_network(file, tensors, cache.n_ctx)
    # The model outlives the file, whose mapping or copy is of no use once the weights are packed.
    metadata = file.metadata.detached()
    tokenizer = read_tokenizer(metadata, architecture.n_vocab)
    _warn_of_length(cache.n_ctx, architecture.n_ctx_train)
    matrices = graph.matrices()
    weight_bytes = packed_weight_bytes(file, matrices)
    n_whole = (cache.n_ctx or architecture.n_ctx_train) if graph.looks_ahead else 0
    max_outputs = scheduler.max_batch_size + EVALUATION_ROWS
    lowered = lower(graph, max_tokens=scheduler.step_tokens(n_whole), max_outputs=max_outputs)
    stores = [(store.n_head_kv, store.k_dim, store.v_dim) for store in graph.stores]
    shape = CacheShape.of(graph, cache, scheduler, cache.n_ctx or architecture.n_ctx_train)
    # A name is shown and sent, so it is text, whatever bytes the path is made of.
    name = os.path.basename(os.fsencode(path)).decode("utf-8", "replace").removesuffix(".gguf")
    plan, reservation = reserve_memory(
        name,
        cache,
        n_ctx_train=architecture.n_ctx_train,
        shape=shape,
        max_batch_size=scheduler.max_batch_size,
        weight_bytes=weight_bytes,
        buffer_bytes=lowered.arena_bytes
        + 4 * (graph.state_floats * scheduler.max_batch_size + graph.kept_floats * max_outputs),
        copied_bytes=file.copied_bytes,
        snapshot_bytes=4 * graph.state_floats if scheduler.prefix_cache else 0,
    )
    if cache.n_ctx is None and plan.n_ctx < architecture.n_ctx_train:
        # Some families compute otherwise in a long context: what counts is the one that there is memory for.
        graph, architecture = describe_network(file, tensors, plan.n_ctx)
        max_tokens = scheduler.step_tokens(plan.n_ctx if graph.looks_ahead else 0)
        lowered = lower(graph, max_tokens=max_tokens, max_outputs=max_outputs)
    with (
        reservation.released_on_failure(),
        reporting(
            progress, total=sum(source_bytes(file, matrix) for matrix in matrices), label="loading", unit="B"
        ) as tell,
    ):
        try:
            kv = KVCache(
                cache.kv_dtype,
                stores=stores,
                n_blocks=plan.n_blocks,
                windowed=shape.windowed if plan.n_window_blocks else frozenset(),
                window=shape.window,
                n_window_blocks=plan.n_window_blocks,
            )
            tensors.reserve(weight_bytes)
            program = emit(
                lowered,
                tensors,
                kv=kv,
                n_threads=n_threads,
                n_slots=scheduler.max_batch_size,
                n_snapshots=plan.n_snapshots,
            )
        except MemoryError as error:
            raise ModelLoadError(f"the system refused memory that there seemed to be: {error}") from error
        plan = replace(plan, memory=replace(plan.memory, buffers=program.n_bytes))
        reservation.bind(program, plan.n_bytes)
        tensors.pack(tell, program.team)
    log.info("loaded %s: %s", name, plan)
    shapes = {tensor: tuple(info.shape) for tensor, info in file.tensors.items()}
    sites = Sites(sites_of(lowered.nodes), shapes, str(metadata["general.architecture"]), metadata)
    model = Model(name, architecture, metadata, tokenizer, n_threads, plan, Heads.of(program), sites)
    return LoadedModel(model, program, reservation)


def describe_network(file: GGUFFile, tensors: FileTensors, n_ctx: int | None) -> tuple[Graph, Architecture]:
    """The network of a file, for a context of n_ctx tokens or the one that it was trained for."""
    graph = Graph(tensors)
    architecture = read_architecture(file.metadata, graph, n_ctx=n_ctx)
    check_tensor_types(file)
    if architecture.n_vocab > MAX_VOCAB:
        raise UnsupportedModelError(
            f"the vocabulary has {architecture.n_vocab} tokens; the sampler takes at most {MAX_VOCAB}"
        )
    architecture.build(graph)
    _check_unused(file, graph)
    return graph, architecture


def read_tokenizer(metadata: Metadata, n_vocab: int) -> Tokenizer | None:
    """None for a model without one: such a model works with token ids.

    All that a text needs is built now: a vocabulary that cannot encode is no reason to fail every request."""
    model = metadata.get("tokenizer.ggml.model", "none")
    if isinstance(model, str) and model in ("none", "no_vocab"):
        return None
    tokenizer = Tokenizer(metadata)
    if tokenizer.n_vocab > n_vocab:
        raise ModelLoadError(f"the tokenizer has {tokenizer.n_vocab} tokens, the embedding {n_vocab}")
    tokenizer.prepare()
    return tokenizer


def _warn_of_length(n_ctx: int | None, n_ctx_train: int) -> None:
    if n_ctx is not None and n_ctx > n_ctx_train:
        log.warning(
            "a context of %d tokens is longer than the %d the model was trained for: text beyond gets worse and worse",
            n_ctx,
            n_ctx_train,
        )


def _check_unused(file: GGUFFile, graph: Graph) -> None:
    """A tensor that the description does not know means that the description is not this network's."""
    unused = graph.unused(file.tensors)
    if unused:
        more = f" and {len(unused) - 3} more" if len(unused) > 3 else ""
        raise UnsupportedModelError(
            f"the file has tensors this architecture does not use: {', '.join(unused[:3])}{more}"
        )


def source_bytes(file: GGUFFile, matrix: Matrix) -> int:
    info = file.tensor(matrix.name)
    return info.n_bytes // math.prod(info.shape[1:]) * matrix.rows * matrix.stack


def packed_weight_bytes(file: GGUFFile, matrices: list[Matrix]) -> int:
    total = 0
    for matrix in matrices:
        n_bytes = packed_bytes(matrix.type_id, matrix.rows, matrix.k) * matrix.stack
        if n_bytes == 0:
            type_name = file.tensor(matrix.name).type_name
            raise UnsupportedModelError(f"tensor {matrix.name!r} has type {type_name}, which is not supported")
        total += n_bytes
    return total
