"""Runs a network that a test describes, over tensors that it makes up: no file, no engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from oxillama._core.network.weights import PackedMatrix, WeightPacker, packed_bytes
from oxillama._core.scheduling.kv_cache import KVCache
from oxillama.network.graph import Graph, Matrix, Vector
from oxillama.network.lowering import emit, lower

Array = npt.NDArray[Any]
N_BLOCKS = 16


@dataclass
class Floats:
    """A float32 tensor as a file would show it: shapes in GGUF's order."""

    values: Array

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(reversed(self.values.shape))

    @property
    def type_id(self) -> int:
        return 0


class MadeUp:
    """Tensors by name: NumPy arrays in NumPy's order."""

    def __init__(self, tensors: dict[str, Array]) -> None:
        self.tensors = {name: Floats(np.ascontiguousarray(values, np.float32)) for name, values in tensors.items()}
        self.packer = WeightPacker(0)
        self._packed: dict[Matrix, PackedMatrix] = {}

    def get(self, name: str) -> Floats | None:
        return self.tensors.get(name)

    def floats(self, name: str) -> npt.NDArray[np.float32]:
        return np.asarray(self.tensors[name].values.reshape(-1), np.float32)

    def vector(self, vector: Vector) -> npt.NDArray[np.float32]:
        values = self.floats(vector.name)
        return np.concatenate([values[part.start : part.stop] for part in vector.ranges])

    def matrix(self, matrix: Matrix) -> PackedMatrix:
        if matrix not in self._packed:
            self._packed[matrix] = self._add(matrix)
        return self._packed[matrix]

    def _add(self, matrix: Matrix) -> PackedMatrix:
        rows = self.tensors[matrix.name].values.reshape(-1, matrix.k)
        parts = [rows[part.start : part.stop] for part in matrix.ranges]
        if matrix.stack == 1:
            parts = [np.concatenate(parts)]
        raws = [np.ascontiguousarray(part).view(np.uint8).reshape(-1) for part in parts]
        bias = self.vector(matrix.bias) if matrix.bias else None
        scale = float(self.vector(matrix.scale)[0]) if matrix.scale and matrix.stack == 1 else 1.0
        return self.packer.add_stack(raws, matrix.type_id, matrix.rows, matrix.k, bias=bias, scale=scale)


class Network:
    """A described network, ready to run on float32 weights and a float32 cache."""

    def __init__(
        self,
        tensors: dict[str, Array],
        describe: Callable[[Graph], None],
        *,
        max_tokens: int = 64,
        n_threads: int = 1,
        n_blocks: int = N_BLOCKS,
    ) -> None:
        self.n_blocks = n_blocks
        made_up = MadeUp(tensors)
        graph = Graph(made_up)
        describe(graph)
        lowered = lower(graph, max_tokens=max_tokens, max_outputs=max_tokens)
        n_bytes = sum(packed_bytes(m.type_id, m.rows, m.k) * m.stack for m in graph.matrices())
        made_up.packer = WeightPacker(n_bytes)
        stores = [(store.n_head_kv, store.k_dim, store.v_dim) for store in graph.stores]
        self.program = emit(
            lowered, made_up, kv=KVCache("f32", stores=stores, n_blocks=n_blocks), n_threads=n_threads, n_slots=4
        )
        made_up.packer.pack(lambda n_bytes: None)

    def run(self, *sequences: list[int], first_positions: list[int] | None = None) -> list[Array]:
        """The result's row for each token of each sequence, which continue at their first positions."""
        firsts = first_positions or [0] * len(sequences)
        per_sequence = self.n_blocks // max(1, len(sequences))
        runs = [
            (len(tokens), first, np.arange(i * per_sequence, (i + 1) * per_sequence, dtype=np.int32))
            for i, (tokens, first) in enumerate(zip(sequences, firsts, strict=True))
        ]
        tokens = np.array([token for sequence in sequences for token in sequence], np.int32)
        out = self.program.forward(tokens, runs, np.arange(len(tokens), dtype=np.int32))
        ends = np.cumsum([len(sequence) for sequence in sequences])[:-1]
        return list(np.split(out, ends))
