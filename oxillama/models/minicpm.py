"""MiniCPM 1 and 2 (Hu et al. 2024, arXiv:2404.06395): llama's layers, with scales of the embedding, of what layers add
and of the logits."""

from __future__ import annotations

from oxillama.models.common import Common
from oxillama.models.decoder import Decoder, Layer
from oxillama.models.hyperparameters import Hyperparameters
from oxillama.models.llama import feed_forward
from oxillama.network.graph import Graph
from oxillama.network.operations import RopeLayout

# What all published sizes have, and what older files do not say.
EMBEDDING_SCALE = 12.0
DEPTH_SCALE = 1.4
BASE_WIDTH = 256


def minicpm(hp: Hyperparameters, graph: Graph) -> Decoder:
    common = Common.read(hp, graph, layout=RopeLayout.INTERLEAVED)
    residual_scale = hp.number("residual_scale", DEPTH_SCALE / common.n_layers**0.5)
    layer = Layer(common.attention(), feed_forward(hp, common), residual_scale=residual_scale)
    return common.decoder(
        [layer] * common.n_layers,
        embedding_scale=hp.number("embedding_scale", EMBEDDING_SCALE),
        logit_scale=1 / hp.number("logit_scale", common.width / BASE_WIDTH),
    )
