"""The encoder of T5 (Raffel et al. 2019, arXiv:1910.10683): RMS norms before the parts, a learned bias for each
distance instead of positions, which the first layer's file has and all share, and scores that are not scaled."""

from __future__ import annotations

from dataclasses import dataclass

from oxillama.network import operations as op
from oxillama.network.graph import Graph, Value
from oxillama.network.models.decoder import Building, Decoder, Layer, Norm
from oxillama.network.models.feed_forward import GatedFFN, PlainFFN
from oxillama.network.models.heads import reading_head
from oxillama.network.models.hyperparameters import Hyperparameters
from oxillama.network.operations import GELU_TANH, Activation
from oxillama.network.relative_attention import distance_biases, relative_attention

RELU = Activation("relu")


@dataclass(frozen=True)
class BiasedAttention:
    n_heads: int
    k_dim: int
    v_dim: int
    n_buckets: int

    def build(self, building: Building, x: Value) -> Value:
        graph, block = building.graph, building.block
        n_k, n_v = self.n_heads * self.k_dim, self.n_heads * self.v_dim
        q, k, v = (
            op.linear(graph, x, f"{block}.attn_{part}", width=width)
            for part, width in zip("qkv", (n_k, n_k, n_v), strict=True)
        )
        own = f"{block}.attn_rel_b.weight"
        table = graph.array(
            own if graph.has(own) else f"{building.prefix}blk.0.attn_rel_b.weight", (self.n_heads, self.n_buckets)
        )
        h = building.leave(relative_attention(graph, q, k, v, distance_biases(table)))
        return op.linear(graph, h, f"{block}.attn_o", width=x.width)


def t5_encoder(hp: Hyperparameters, graph: Graph) -> Decoder:
    width, n_heads = hp.integer("embedding_length"), hp.integer("attention.head_count")
    hp.expect("attention.head_count_kv", n_heads)
    hp.irrelevant("attention.layer_norm_epsilon", "attention.causal")
    attention = BiasedAttention(
        n_heads,
        hp.integer("attention.key_length", width // n_heads),
        hp.integer("attention.value_length", width // n_heads),
        hp.integer("attention.relative_buckets_count"),
    )
    n_ff, n_layers = hp.integer("feed_forward_length"), hp.integer("block_count", most=1000)
    # The first version's network is plain, that of version 1.1 gated; files say it by their tensors.
    is_gated = graph.has("enc.blk.0.ffn_gate.weight")
    layer = Layer(attention, GatedFFN(n_ff, GELU_TANH) if is_gated else PlainFFN(n_ff, RELU))
    return Decoder(
        n_vocab=graph.rows("token_embd"),
        n_ctx_train=hp.integer("context_length"),
        width=width,
        norm=Norm(hp.number("attention.layer_norm_rms_epsilon")),
        layers=[layer] * n_layers,
        prefix="enc.",
        output_norm="enc.output_norm",
        head=reading_head(hp, graph),
    )
