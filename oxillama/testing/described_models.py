"""Tiny random model files of any architecture. Which tensors a file needs, the architecture's own description says."""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from oxillama.errors import ModelLoadError
from oxillama.gguf_writer import GGUFWriter
from oxillama.network.graph import Graph
from oxillama.network.models import read_architecture
from oxillama.testing.random_blocks import FORMATS
from oxillama.testing.tiny_models import N_BYTE_VOCAB, add_byte_vocabulary


@dataclass(frozen=True)
class _Tensor:
    shape: tuple[int, ...]
    type_id: int = 0


class _NoTensors:
    def get(self, name: str) -> None:
        return None

    def floats(self, name: str) -> npt.NDArray[np.float32]:
        raise KeyError(name)


class _Wishes(Graph):
    """A graph over a file that has whatever is asked for, and nothing of what may be absent but `options`."""

    def __init__(self, n_vocab: int, options: tuple[str, ...]) -> None:
        super().__init__(_NoTensors())
        self.shapes: dict[str, tuple[int, ...]] = {}
        self._n_vocab = n_vocab
        self._options = re.compile("|".join(options) if options else r"(?!)")

    def has(self, name: str) -> bool:
        return name in self.shapes or self._options.fullmatch(name) is not None

    def rows(self, name: str, *, may_be_one: bool = False) -> int:
        return self._n_vocab

    def constant(self, name: str, width: int) -> npt.NDArray[np.float32]:
        self._check(f"{name}.weight", (width,))
        return np.ones(width, np.float32)

    def array(self, name: str, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
        self._check(name, shape)
        return np.ones(shape[::-1], np.float32)

    def _check(self, name: str, shape: tuple[int, ...]) -> _Tensor:
        if self.shapes.setdefault(name, shape) != shape:
            raise ModelLoadError(f"tensor {name!r} is wanted with shapes {list(self.shapes[name])} and {list(shape)}")
        self.used.add(name)
        return _Tensor(shape)


@dataclass(frozen=True)
class DescribedModel:
    """A model whose metadata, without `architecture.`, are `keys`.

    options: regular expressions; a tensor that the architecture only asks for is there if one of them matches its whole
    name. type_name: of every matrix whose rows allow it. constants: what single tensors are filled with.
    others: keys of other beginnings."""

    architecture: str
    keys: Mapping[str, Any]
    options: tuple[str, ...] = ()
    type_name: str = "F32"
    seed: int = 0
    constants: Mapping[str, float] = field(default_factory=dict)
    tokenizer: bool = False
    others: Mapping[str, Any] = field(default_factory=dict)

    def tensor_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes in GGUF's order, fastest axis first."""
        wishes = _Wishes(N_BYTE_VOCAB, self.options)
        read_architecture(self._metadata(), wishes).build(wishes)
        return wishes.shapes

    def write(self, path: str | os.PathLike[str]) -> None:
        """Writes the GGUF file. A tensor's values depend on its name and the seed alone."""
        with GGUFWriter(path) as writer:
            for key, value in self._metadata().items():
                writer.add(key, value)
            if self.tokenizer:
                add_byte_vocabulary(writer)
            for name, shape in self.tensor_shapes().items():
                rng = np.random.default_rng([self.seed, zlib.crc32(name.encode())])
                if name in self.constants:
                    writer.add_tensor(name, np.full(shape[::-1], self.constants[name], np.float32))
                elif len(shape) == 1 or not name.endswith(".weight"):
                    # Norm weights near 1, biases near 0.
                    centre = 1.0 if name.endswith((".weight", ".scale")) else 0.0
                    values = centre + 0.2 * rng.standard_normal(shape[::-1])
                    writer.add_tensor(name, np.ascontiguousarray(values, np.float32))
                else:
                    self._add_matrix(writer, rng, name, shape)

    def _add_matrix(self, writer: GGUFWriter, rng: np.random.Generator, name: str, shape: tuple[int, ...]) -> None:
        k, n_rows = shape[0], int(np.prod(shape[1:]))
        # A router is never quantised.
        allowed = k % FORMATS[self.type_name].block_size == 0 and "ffn_gate_inp" not in name
        type_name = self.type_name if allowed else "F32"
        blocks = FORMATS[type_name]
        # Sharp enough that attention and logits are not flat.
        data = blocks.fill(rng, n_rows * k // blocks.block_size, 1.5 / np.sqrt(k))
        writer.add_tensor(name, np.ascontiguousarray(data), shape=shape, type_name=type_name)

    def _metadata(self) -> dict[str, Any]:
        named = {f"{self.architecture}.{key}": value for key, value in self.keys.items()}
        return {"general.architecture": self.architecture, "general.name": "tiny", **named, **self.others}
