"""Baichuan 1 and 2 (Yang et al. 2023, arXiv:2309.10305): llama, but the 13B size has distances instead of positions."""

from __future__ import annotations

from oxillama.errors import UnsupportedModelError
from oxillama.network.graph import Graph
from oxillama.network.models.common import Common
from oxillama.network.models.decoder import Decoder, Layer
from oxillama.network.models.feed_forward import GatedFFN
from oxillama.network.models.hyperparameters import Hyperparameters
from oxillama.network.operations import RopeLayout

# Nothing else in a file says which size it is.
ROTARY_LAYERS, ALIBI_LAYERS = 32, 40


def baichuan(hp: Hyperparameters, graph: Graph) -> Decoder:
    common = Common.read(hp, graph, layout=RopeLayout.INTERLEAVED)
    if common.n_layers not in (ROTARY_LAYERS, ALIBI_LAYERS):
        raise UnsupportedModelError(
            f"{hp.architecture}.block_count is {common.n_layers}; supported: {ROTARY_LAYERS}, which has rotary "
            f"positions, and {ALIBI_LAYERS}, which has ALiBi's distances"
        )
    is_rotary = common.n_layers == ROTARY_LAYERS
    attention = common.attention() if is_rotary else common.attention(rope=None, alibi=8.0)
    return common.decoder([Layer(attention, GatedFFN(common.n_ff))] * common.n_layers)
