"""K-EXAONE (LG AI Research 2026): three layers of four have a window and positions, the fourth neither; experts
behind leading dense layers."""

from __future__ import annotations

from oxillama.network.experts import Scores
from oxillama.network.graph import Graph
from oxillama.network.models.common import Common, layers_with_window
from oxillama.network.models.decoder import Decoder, Layer
from oxillama.network.models.hyperparameters import Hyperparameters
from oxillama.network.models.mixture import after_dense, read_experts
from oxillama.network.operations import RopeLayout


def exaone_moe(hp: Hyperparameters, graph: Graph) -> Decoder:
    common = Common.read(hp, graph, layout=RopeLayout.HALVES)
    near = common.attention(qk_norm="head", window=hp.integer("attention.sliding_window"))
    full = common.attention(qk_norm="head", window=0, rope=None)
    networks = after_dense(hp, common, read_experts(hp, common, scores=Scores.SIGMOID))
    has_window = layers_with_window(hp, common.n_layers, default_period=4)
    return common.decoder(
        [Layer(near if windowed else full, ffn) for windowed, ffn in zip(has_window, networks, strict=True)]
    )
