"""The language models of Qwen2-VL and Qwen3-VL (Qwen team 2024 and 2025, arXiv:2409.12191, 2502.13923): those of Qwen2
and Qwen3, whose pairs of elements rotate by time, height or width. Text has the same position in each."""

from __future__ import annotations

from oxillama.network.graph import Graph
from oxillama.network.models.decoder import Decoder
from oxillama.network.models.hyperparameters import Hyperparameters
from oxillama.network.models.qwen2 import qwen2
from oxillama.network.models.qwen3 import qwen3


def qwen2vl(hp: Hyperparameters, graph: Graph) -> Decoder:
    _take_note_of_images(hp)
    return qwen2(hp, graph)


def qwen3vl(hp: Hyperparameters, graph: Graph) -> Decoder:
    _take_note_of_images(hp)
    return qwen3(hp, graph)


def _take_note_of_images(hp: Hyperparameters) -> None:
    # Which pairs rotate by what, and how many layers take something from an image: nothing for text.
    hp.irrelevant("rope.dimension_sections", "n_deepstack_layers")
