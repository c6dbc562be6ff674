"""EuroBERT (Boizard et al. 2025, arXiv:2503.05500) and NeoBERT (Le Breton et al. 2025, arXiv:2502.19587): llama's
layers that look both ways."""

from __future__ import annotations

from oxillama.network.graph import Graph
from oxillama.network.models.common import Common
from oxillama.network.models.decoder import Decoder, Layer
from oxillama.network.models.feed_forward import GatedFFN
from oxillama.network.models.heads import reading_head
from oxillama.network.models.hyperparameters import Hyperparameters
from oxillama.network.operations import RopeLayout


def eurobert(hp: Hyperparameters, graph: Graph) -> Decoder:
    common = Common.read(hp, graph, layout=RopeLayout.HALVES, causal=False)
    layer = Layer(common.attention(), GatedFFN(common.n_ff))
    return common.decoder([layer] * common.n_layers, head=reading_head(hp, graph))


def neo_bert(hp: Hyperparameters, graph: Graph) -> Decoder:
    common = Common.read(hp, graph, layout=RopeLayout.INTERLEAVED, causal=False)
    layer = Layer(common.attention(), GatedFFN(common.n_ff))
    return common.decoder([layer] * common.n_layers, output_norm="enc.output_norm", head=reading_head(hp, graph))
