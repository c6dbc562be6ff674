"""Phi 2 and 3 (Microsoft 2023 and 2024, arXiv:2404.14219): the first feeds forward what its attention reads, the second
is llama with fused tensors and, for long contexts, factors of its rotations."""

from __future__ import annotations

from oxillama.network.graph import Graph
from oxillama.network.models.common import Common
from oxillama.network.models.decoder import Decoder, Layer
from oxillama.network.models.feed_forward import GatedFFN, PlainFFN
from oxillama.network.models.hyperparameters import Hyperparameters
from oxillama.network.operations import GELU_TANH, RopeLayout


def phi2(hp: Hyperparameters, graph: Graph) -> Decoder:
    common = Common.read(hp, graph, layout=RopeLayout.HALVES, norm="layer")
    layer = Layer(common.attention(), PlainFFN(common.n_ff, GELU_TANH), ffn_norm=None, parallel=True)
    return common.decoder([layer] * common.n_layers)


def phi3(hp: Hyperparameters, graph: Graph) -> Decoder:
    common = Common.read(hp, graph, layout=RopeLayout.HALVES)
    return common.decoder([Layer(common.attention(), GatedFFN(common.n_ff))] * common.n_layers)
