"""Reads the numbers of an architecture from GGUF metadata; a missing or senseless one is an error naming its key."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

import numpy as np

from oxillama.errors import ModelLoadError, UnsupportedModelError
from oxillama.gguf.file import described

_REQUIRED: Final = object()
# Keys that no network computes with: they describe the file, or are read elsewhere.
INFORMATIONAL: Final = frozenset(
    {
        "vocab_size",  # the embedding has as many rows
        "tensor_data_layout",  # how rows were permuted before they came into the file
        "rope.scaling.finetuned",  # but in families that switch rotations off by it
        "pooling_type",  # of embeddings: the default of a request
        "classifier.output_labels",  # names of scores
    }
)
# Keys of parts that a network does not have where they are 0.
ABSENT_AT_ZERO: Final = frozenset(
    {
        "attention.clamp_kqv",
        "attention.max_alibi_bias",
        "attention.shared_kv_layers",
        "attention.sliding_window",
        "attn_logit_softcapping",
        "embedding_length_per_layer_input",
        "expert_count",
        "expert_group_count",
        "expert_group_used_count",
        "expert_shared_count",
        "expert_shared_feed_forward_length",
        "expert_used_count",
        "final_logit_softcapping",
        "leading_dense_block_count",
        "n_deepstack_layers",
        "rope.scaling.yarn_log_multiplier",
    }
)
# Every number ends up in float32, where it must be neither zero nor infinite.
LEAST, MOST = float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max)


class Hyperparameters:
    """The keys `<architecture>.<name>` of a file's metadata, and the context that was asked for.

    A family reads every key that its files have. What nobody has read is refused, by `check_all_read`: a network that
    leaves out what its file asks for computes something else. `irrelevant` names keys that change nothing in this
    family, `expect` one of which only this value is built. n_ctx: tokens, or None for as many as it was trained for."""

    def __init__(self, architecture: str, metadata: Mapping[str, object], *, n_ctx: int | None = None) -> None:
        self.architecture = architecture
        self._metadata = metadata
        self._n_ctx = n_ctx
        self._layer: int | None = None
        self._read: set[str] = set()

    def at(self, layer: int) -> Hyperparameters:
        """The same keys for one layer: where a key has a value for each of them, this layer's."""
        one = Hyperparameters(self.architecture, self._metadata, n_ctx=self._n_ctx)
        one._layer = layer
        one._read = self._read
        return one

    def under(self, prefix: str) -> Hyperparameters:
        """The keys `<prefix>.<name>`, for what files keep without the architecture's name."""
        return Hyperparameters(prefix, self._metadata, n_ctx=self._n_ctx)

    @property
    def n_ctx(self) -> int:
        """Tokens of a sequence that the network is built for."""
        return self.integer("context_length") if self._n_ctx is None else self._n_ctx

    def integer(self, name: str, default: object = _REQUIRED, *, least: int = 1, most: int = 2**31 - 1) -> int:
        key, value = self._get(name, default)
        if self._layer is not None and isinstance(value, np.ndarray | list | tuple):
            key, value = self._by_layer(name, self._layer + 1, default)[self._layer]
        if isinstance(value, np.ndarray) and value.dtype.kind in "iu" and value.size > 1:
            # Sound for other programs: a value for each layer.
            raise UnsupportedModelError(
                f"{key} has {value.size} values: models whose layers differ in it are not supported"
            )
        return self._integer(key, value, least, most)

    def number(self, name: str, default: object = _REQUIRED, *, positive: bool = True) -> float:
        """A number within the range of float32, by default a positive one."""
        return self._number(*self._get(name, default), positive)

    def text(self, name: str, default: object = _REQUIRED) -> str:
        key, value = self._get(name, default)
        if not isinstance(value, str):
            raise ModelLoadError(f"{key} is {described(value)}, expected a string")
        return value

    def integers(
        self, name: str, n: int, default: object = _REQUIRED, *, least: int = 1, most: int = 2**31 - 1
    ) -> list[int]:
        """One integer for each of n layers; a single one stands for all of them."""
        return [self._integer(*pair, least, most) for pair in self._by_layer(name, n, default)]

    def truths(self, name: str, n: int, default: object = _REQUIRED) -> list[bool]:
        """One truth for each of n layers, also written as 0 and 1; a single one stands for all of them."""
        return [self._truth(*pair) for pair in self._by_layer(name, n, default)]

    def numbers(self, name: str, n: int, default: object = _REQUIRED, *, infinite: bool = False) -> list[float]:
        """One number for each of n layers; a single one stands for all of them."""
        return [
            value if infinite and isinstance(value, float) and math.isinf(value) else self._number(key, value, False)
            for key, value in self._by_layer(name, n, default)
        ]

    def truth(self, name: str, default: object = _REQUIRED) -> bool:
        return self._truth(*self._get(name, default))

    def is_array(self, name: str) -> bool:
        return isinstance(self._metadata.get(f"{self.architecture}.{name}"), np.ndarray | list | tuple)

    def has(self, name: str) -> bool:
        return f"{self.architecture}.{name}" in self._metadata

    def irrelevant(self, *names: str) -> None:
        """Says of keys that they change nothing in this network, whatever their values are."""
        self._read.update(f"{self.architecture}.{name}" for name in names)

    def expect(self, name: str, value: object) -> None:
        """Raises UnsupportedModelError if the file has the key with any other value."""
        key, found = self._get(name, value)
        # An array is never one value, and its comparison no truth.
        if isinstance(found, np.ndarray) or found != value:
            raise UnsupportedModelError(f"{key} is {described(found)}; supported: {value!r}")

    def unread(self) -> list[str]:
        """The keys of this architecture that nobody has asked for."""
        return sorted(
            key for key in self._metadata if key.startswith(f"{self.architecture}.") and key not in self._read
        )

    def check_all_read(self) -> None:
        """Raises UnsupportedModelError for a key that nobody has asked for, unless it is known to say nothing."""
        for key in self.unread():
            name = key.removeprefix(f"{self.architecture}.")
            value = self._metadata[key]
            is_absent = name in ABSENT_AT_ZERO and isinstance(value, int | float) and value == 0
            if name not in INFORMATIONAL and not is_absent:
                raise UnsupportedModelError(
                    f"{key} is {described(value)}; architecture {self.architecture} is not built with it"
                )

    def _by_layer(self, name: str, n: int, default: object) -> list[tuple[str, object]]:
        key, value = self._get(name, default)
        if not isinstance(value, np.ndarray | list | tuple):
            return [(key, value)] * n
        if len(value) < n:
            raise ModelLoadError(f"{key} has {len(value)} values, expected one for each of {n} layers")
        return [
            (f"{key}[{i}]", item.item() if isinstance(item, np.generic) else item) for i, item in enumerate(value[:n])
        ]

    @staticmethod
    def _integer(key: str, value: object, least: int, most: int) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise ModelLoadError(f"{key} is {described(value)}, expected an integer from {least} to {most}")
        return value

    @staticmethod
    def _truth(key: str, value: object) -> bool:
        if isinstance(value, bool) or (isinstance(value, int) and value in (0, 1)):
            return bool(value)
        raise ModelLoadError(f"{key} is {described(value)}, expected true or false")

    @staticmethod
    def _number(key: str, value: object, positive: bool) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise ModelLoadError(f"{key} is {described(value)}, expected a number")
        if positive and value <= 0:
            raise ModelLoadError(f"{key} is {value!r}, expected a positive number")
        if value and not LEAST <= abs(value) <= MOST:
            raise ModelLoadError(f"{key} is {value!r}, expected a number from {LEAST:.2g} to {MOST:.2g}")
        return float(value)

    def _get(self, name: str, default: object) -> tuple[str, object]:
        key = f"{self.architecture}.{name}"
        self._read.add(key)
        value = self._metadata.get(key, default)
        if value is _REQUIRED:
            raise ModelLoadError(f"{key} is missing from the metadata")
        return key, value
