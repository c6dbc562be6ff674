"""The llama family (Touvron et al. 2023, arXiv:2302.13971, and its successors): llama 1 to 3, mistral, and what borrows
their layout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from oxillama.errors import ModelLoadError, UnsupportedModelError
from oxillama.models.hyperparameters import Hyperparameters
from oxillama.models.rope import RopeScaling, inverse_frequencies, read_scaling
from oxillama.network import operations as op
from oxillama.network.graph import Graph, Value
from oxillama.network.operations import RopeLayout


@dataclass(frozen=True)
class Llama:
    n_vocab: int
    n_ctx_train: int
    n_layers: int
    n_embd: int
    n_ff: int
    n_head: int
    n_head_kv: int
    head_dim: int
    window: int
    epsilon: float
    rope_dims: int
    rope_base: float
    rope_scaling: RopeScaling
    rope_layout: ClassVar = RopeLayout.INTERLEAVED

    @classmethod
    def from_file(cls, hp: Hyperparameters, graph: Graph) -> Self:
        if hp.integer("expert_count", 0, least=0):
            raise UnsupportedModelError(f"{hp.architecture} models with experts are not supported")
        n_embd, n_head = hp.integer("embedding_length"), hp.integer("attention.head_count")
        n_ctx_train = hp.integer("context_length")
        head_dim = hp.integer("attention.key_length", n_embd // n_head)
        config = cls(
            n_vocab=graph.rows("token_embd"),
            n_ctx_train=n_ctx_train,
            n_layers=hp.integer("block_count", most=1000),
            n_embd=n_embd,
            n_ff=hp.integer("feed_forward_length"),
            n_head=n_head,
            n_head_kv=hp.integer("attention.head_count_kv", n_head),
            head_dim=head_dim,
            window=hp.integer("attention.sliding_window", 0, least=0),
            epsilon=hp.number("attention.layer_norm_rms_epsilon"),
            rope_dims=hp.integer("rope.dimension_count", head_dim),
            rope_base=hp.number("rope.freq_base", 10000.0),
            rope_scaling=read_scaling(hp, n_ctx_train),
        )
        if config.n_head % config.n_head_kv:
            raise ModelLoadError(
                f"{hp.architecture}.attention.head_count is {config.n_head}, expected a multiple of "
                f"{hp.architecture}.attention.head_count_kv, {config.n_head_kv}"
            )
        if hp.integer("attention.value_length", head_dim) != head_dim:
            raise UnsupportedModelError(
                f"{hp.architecture} models whose values and keys differ in length are not supported"
            )
        if config.rope_base <= 1:
            raise ModelLoadError(f"{hp.architecture}.rope.freq_base is {config.rope_base}, expected a number above 1")
        if config.rope_dims % 2 or config.rope_dims > head_dim:
            raise ModelLoadError(
                f"{hp.architecture}.rope.dimension_count is {config.rope_dims}, expected an even number "
                f"up to {head_dim}"
            )
        return config

    def build(self, graph: Graph) -> None:
        factors = graph.constant("rope_freqs", self.rope_dims // 2) if graph.has("rope_freqs.weight") else None
        table = op.rope_table(graph, *inverse_frequencies(self.rope_dims, self.rope_base, self.rope_scaling, factors))
        x = op.embed(graph, "token_embd", n_vocab=self.n_vocab, width=self.n_embd)
        for layer in range(self.n_layers):
            x = self._layer(graph, layer, x, table)
        x = op.rms_norm(graph, x, "output_norm", epsilon=self.epsilon)
        # Without a matrix of its own the output is tied to the embedding.
        head = "output" if graph.has("output.weight") else "token_embd"
        graph.output(op.linear(graph, op.hidden(graph, x), head, width=self.n_vocab))

    def _layer(self, graph: Graph, layer: int, x: Value, table: Value) -> Value:
        block = f"blk.{layer}"
        h = op.rms_norm(graph, x, f"{block}.attn_norm", epsilon=self.epsilon)
        q = op.linear(graph, h, f"{block}.attn_q", width=self.n_head * self.head_dim)
        k = op.linear(graph, h, f"{block}.attn_k", width=self.n_head_kv * self.head_dim)
        v = op.linear(graph, h, f"{block}.attn_v", width=self.n_head_kv * self.head_dim)
        q, k = self._normalise(graph, block, q, k)
        q = op.rope(graph, q, table, layout=self.rope_layout, n_heads=self.n_head)
        k = op.rope(graph, k, table, layout=self.rope_layout, n_heads=self.n_head_kv)
        scale = float(1 / np.sqrt(self.head_dim))
        h = op.attention(graph, q, k, v, layer=layer, n_heads=self.n_head, scale=scale, window=self.window)
        if layer == self.n_layers - 1:
            # Past the last cache only the rows that leave the network matter.
            h, x = op.select(graph, h), op.select(graph, x)
        x = op.add(graph, x, op.linear(graph, h, f"{block}.attn_output", width=self.n_embd))
        h = op.rms_norm(graph, x, f"{block}.ffn_norm", epsilon=self.epsilon)
        gate = op.linear(graph, h, f"{block}.ffn_gate", width=self.n_ff)
        up = op.linear(graph, h, f"{block}.ffn_up", width=self.n_ff)
        return op.add(graph, x, op.linear(graph, op.gated(graph, gate, up), f"{block}.ffn_down", width=self.n_embd))

    def _normalise(self, graph: Graph, block: str, q: Value, k: Value) -> tuple[Value, Value]:
        """For families that normalise queries and keys before they are rotated."""
        return q, k
