"""SmolLM3 (Hugging Face 2025, https://huggingface.co/HuggingFaceTB/SmolLM3-3B): llama's layers, every fourth without
positions (Yang et al. 2025, arXiv:2501.18795)."""

from __future__ import annotations

from oxillama.network.graph import Graph
from oxillama.network.models.common import Common
from oxillama.network.models.decoder import Decoder, Layer
from oxillama.network.models.feed_forward import GatedFFN
from oxillama.network.models.hyperparameters import Hyperparameters
from oxillama.network.operations import RopeLayout

PERIOD = 4


def smollm3(hp: Hyperparameters, graph: Graph) -> Decoder:
    common = Common.read(hp, graph, layout=RopeLayout.INTERLEAVED)
    return common.decoder(
        [
            Layer(common.attention() if (layer + 1) % PERIOD else common.attention(rope=None), GatedFFN(common.n_ff))
            for layer in range(common.n_layers)
        ]
    )
