"""Random low-rank adapters of any model, for tests that need an adapter but no sense."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from oxillama.gguf import GGUFFile
from oxillama.gguf_writer import GGUFWriter
from oxillama.network.sites import TABLES


@dataclass(frozen=True)
class TinyAdapter:
    """shapes: of the base tensors that are changed, by name, in GGUF's order. strength: about how large what is added
    is beside what the base gives. type_name: F16 or F32. others: metadata."""

    architecture: str
    shapes: Mapping[str, tuple[int, ...]]
    rank: int = 4
    alpha: float | None = 8.0
    type_name: str = "F16"
    seed: int = 0
    strength: float = 1.0
    others: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, base: str | os.PathLike[str], names: Iterable[str] | None = None, **fields: Any) -> TinyAdapter:
        """Of a model file: for the tensors of these names, or for all that look like matrices of a layer."""
        with GGUFFile(base) as file:
            found = {name: tuple(info.shape) for name, info in file.tensors.items()}
            architecture = str(file.metadata["general.architecture"])
        wanted = [name for name, shape in found.items() if len(shape) > 1 and name.startswith("blk.")]
        return cls(architecture, {name: found[name] for name in (wanted if names is None else names)}, **fields)

    def pair(self, name: str) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """A and B in NumPy's order, as the file has them."""
        shape = tuple(self.shapes[name][::-1])
        shape = (1,) * (2 - len(shape)) + shape
        stack, n_out, n_in = shape[:-2], shape[-2], shape[-1]
        rng = np.random.default_rng([self.seed, self.rank, zlib.crc32(name.encode())])
        if name in TABLES:
            a, b = rng.standard_normal((n_out, self.rank)), rng.standard_normal((n_in, self.rank))
        else:
            a = rng.standard_normal((*stack, self.rank, n_in)) / np.sqrt(n_in)
            b = rng.standard_normal((*stack, n_out, self.rank))
        gain = self.gain
        dtype = np.float16 if self.type_name == "F16" else np.float32
        return a.astype(dtype), (b * (self.strength / (np.sqrt(self.rank) * gain))).astype(dtype)

    @property
    def gain(self) -> float:
        """alpha / rank, which multiplies B A."""
        return self.alpha / self.rank if self.alpha else 1.0

    def delta(self, name: str) -> npt.NDArray[np.float64]:
        """What is added to the base tensor, in NumPy's order."""
        a, b = (half.astype(np.float64) for half in self.pair(name))
        return self.gain * (a @ b.T if name in TABLES else b @ a)

    def write(self, path: str | os.PathLike[str]) -> None:
        """Writes the GGUF file. A pair's values depend on its name, the rank and the seed alone."""
        with GGUFWriter(path) as writer:
            writer.add("general.type", "adapter")
            writer.add("general.architecture", self.architecture)
            writer.add("adapter.type", "lora")
            if self.alpha is not None:
                writer.add("adapter.lora.alpha", self.alpha, "float32")
            for key, value in self.others.items():
                writer.add(key, value)
            for name in self.shapes:
                for half, values in zip(("lora_a", "lora_b"), self.pair(name), strict=True):
                    writer.add_tensor(f"{name}.{half}", np.ascontiguousarray(values))
