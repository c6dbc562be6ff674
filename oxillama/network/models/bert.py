"""BERT (Devlin et al. 2018, arXiv:1810.04805) and its kin: RoBERTa and XLM-RoBERTa, which files call bert too, Nomic's
(arXiv:2402.01613, 2502.07972) and Jina's (arXiv:2310.19923, 2409.10173)."""

from __future__ import annotations

from oxillama.network.experts import Routing
from oxillama.network.graph import Graph
from oxillama.network.models.common import Common
from oxillama.network.models.decoder import Decoder, Part
from oxillama.network.models.feed_forward import ExpertFFN, GatedFFN, PlainFFN
from oxillama.network.models.heads import reading_head
from oxillama.network.models.hyperparameters import Hyperparameters
from oxillama.network.models.post_norm import PostNormLayer
from oxillama.network.operations import GELU, RopeLayout

ALIBI = 8.0  # no file says another


def bert(hp: Hyperparameters, graph: Graph) -> Decoder:
    common = Common.read(hp, graph, layout=None, norm="layer", causal=False)
    layer = PostNormLayer(common.attention(), PlainFFN(common.n_ff, GELU))
    return _encoder(hp, graph, common, [layer] * common.n_layers, n_positions=graph.rows("position_embd"))


def nomic_bert(hp: Hyperparameters, graph: Graph) -> Decoder:
    common = Common.read(hp, graph, layout=RopeLayout.HALVES, norm="layer", causal=False)
    layer = PostNormLayer(common.attention(), GatedFFN(common.n_ff))
    return _encoder(hp, graph, common, [layer] * common.n_layers)


def nomic_bert_moe(hp: Hyperparameters, graph: Graph) -> Decoder:
    """Every so many layers, from the second on, are mixtures of experts, whose weights are not renormalised."""
    common = Common.read(hp, graph, layout=RopeLayout.HALVES, norm="layer", causal=False)
    period, n_experts = hp.integer("moe_every_n_layers"), hp.integer("expert_count")
    routing = Routing(n_experts, hp.integer("expert_used_count", most=n_experts), renormalises=False)
    plain, mixture = PlainFFN(common.n_ff, GELU), ExpertFFN(routing, common.n_ff, GELU)
    ffns: list[Part] = [mixture if layer % period == 1 else plain for layer in range(common.n_layers)]
    return _encoder(hp, graph, common, [PostNormLayer(common.attention(), ffn) for ffn in ffns])


def jina_bert_v2(hp: Hyperparameters, graph: Graph) -> Decoder:
    """Distances instead of positions; those for code also normalise queries and keys, and each layer's input again."""
    common = Common.read(hp, graph, layout=None, norm="layer", causal=False)
    layers = [
        PostNormLayer(
            common.attention(alibi=ALIBI, qk_norm="row" if graph.has(f"blk.{layer}.attn_q_norm.weight") else None),
            GatedFFN(common.n_ff, GELU),
            rejoin_norm="attn_norm_2" if graph.has(f"blk.{layer}.attn_norm_2.weight") else None,
        )
        for layer in range(common.n_layers)
    ]
    return _encoder(hp, graph, common, layers)


def jina_bert_v3(hp: Hyperparameters, graph: Graph) -> Decoder:
    common = Common.read(hp, graph, layout=RopeLayout.HALVES, norm="layer", causal=False)
    layer = PostNormLayer(common.attention(), PlainFFN(common.n_ff, GELU))
    return _encoder(hp, graph, common, [layer] * common.n_layers)


def _encoder(
    hp: Hyperparameters, graph: Graph, common: Common, layers: list[PostNormLayer], *, n_positions: int = 0
) -> Decoder:
    return common.decoder(
        layers,
        n_segments=graph.rows("token_types", may_be_one=True) if graph.has("token_types.weight") else 0,
        n_positions=n_positions,
        embedding_norm="token_embd_norm",
        output_norm=None,
        head=reading_head(hp, graph),
    )
