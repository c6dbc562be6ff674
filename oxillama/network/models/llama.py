"""The llama family (Touvron et al. 2023, arXiv:2302.13971, and its successors): llama 1 to 3, mistral, mixtral, and
what borrows their layout."""

from __future__ import annotations

from oxillama.network.graph import Graph
from oxillama.network.models.common import Common
from oxillama.network.models.decoder import Decoder, Layer
from oxillama.network.models.feed_forward import ExpertFFN, GatedFFN
from oxillama.network.models.hyperparameters import Hyperparameters
from oxillama.network.models.mixture import read_experts
from oxillama.network.operations import RopeLayout


def llama(hp: Hyperparameters, graph: Graph) -> Decoder:
    common = Common.read(hp, graph, layout=RopeLayout.INTERLEAVED)
    return common.decoder([Layer(common.attention(), feed_forward(hp, common)) for _ in range(common.n_layers)])


def feed_forward(hp: Hyperparameters, common: Common) -> GatedFFN | ExpertFFN:
    """Gated, or with expert_count a mixture of such."""
    if not hp.integer("expert_count", 0, least=0):
        return GatedFFN(common.n_ff)
    return read_experts(hp, common, renormalises=True, is_shared=False)
