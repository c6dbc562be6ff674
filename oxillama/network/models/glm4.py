"""GLM-4 of 2025 (GLM team, arXiv:2406.12793): llama's layers with a part of each head rotated, and norms also behind
each part."""

from __future__ import annotations

from oxillama.network.graph import Graph
from oxillama.network.models.common import Common
from oxillama.network.models.decoder import Decoder, Layer
from oxillama.network.models.feed_forward import GatedFFN
from oxillama.network.models.hyperparameters import Hyperparameters
from oxillama.network.operations import RopeLayout


def glm4(hp: Hyperparameters, graph: Graph) -> Decoder:
    # Files for images have their rows in another order, and say which pairs rotate by what; for text it is all one.
    sections = hp.integers("rope.dimension_sections", 4, 0, least=0)
    common = Common.read(hp, graph, layout=RopeLayout.HALVES if any(sections) else RopeLayout.INTERLEAVED)
    layer = Layer(
        common.attention(),
        GatedFFN(common.n_ff),
        mixer_post_norm="post_attention_norm",
        ffn_post_norm="post_ffw_norm",
    )
    return common.decoder([layer] * common.n_layers)
