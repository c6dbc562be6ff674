"""The architectures, by the name that `general.architecture` gives them. One short file per family."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from oxillama.errors import ModelLoadError, UnsupportedModelError
from oxillama.gguf import described
from oxillama.models.gemma import gemma, gemma2, gemma3
from oxillama.models.hyperparameters import Hyperparameters
from oxillama.models.llama import llama
from oxillama.models.qwen2 import qwen2, qwen2moe
from oxillama.models.qwen3 import qwen3
from oxillama.network.graph import Graph


class Architecture(Protocol):
    """What the loader needs to know of a network, and its description."""

    @property
    def n_vocab(self) -> int: ...
    @property
    def n_ctx_train(self) -> int: ...
    def build(self, graph: Graph) -> None: ...


ARCHITECTURES: dict[str, Callable[[Hyperparameters, Graph], Architecture]] = {
    "gemma": gemma,
    "gemma2": gemma2,
    "gemma3": gemma3,
    "llama": llama,
    "qwen2": qwen2,
    "qwen2moe": qwen2moe,
    "qwen3": qwen3,
    "qwen3moe": qwen3,
}


def read_architecture(metadata: Mapping[str, object], graph: Graph, *, n_ctx: int | None = None) -> Architecture:
    """The network that a file's metadata describes, for a context of n_ctx tokens: None for as many as it was trained
    for.

    Raises UnsupportedModelError for one that is not in the table, and for a key that its family does not know."""
    name = metadata.get("general.architecture")
    if not isinstance(name, str):
        raise ModelLoadError(f"general.architecture is {described(name)}, expected the name of an architecture")
    if name not in ARCHITECTURES:
        known = ", ".join(sorted(ARCHITECTURES))
        raise UnsupportedModelError(f"architecture {described(name)} is not supported; supported: {known}")
    hp = Hyperparameters(name, metadata, n_ctx=n_ctx)
    architecture = ARCHITECTURES[name](hp, graph)
    hp.check_all_read()
    return architecture


__all__ = ["ARCHITECTURES", "Architecture", "read_architecture"]
