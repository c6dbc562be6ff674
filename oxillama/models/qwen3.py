"""Qwen3 (Qwen team 2025, arXiv:2505.09388), the dense sizes: llama's layers, with each head of queries and keys
normalised."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from oxillama.models.llama import Llama
from oxillama.network import operations as op
from oxillama.network.graph import Graph, Value
from oxillama.network.operations import RopeLayout


@dataclass(frozen=True)
class Qwen3(Llama):
    rope_layout: ClassVar = RopeLayout.HALVES

    def _normalise(self, graph: Graph, block: str, q: Value, k: Value) -> tuple[Value, Value]:
        q = op.rms_norm(graph, q, f"{block}.attn_q_norm", epsilon=self.epsilon, n_heads=self.n_head)
        k = op.rms_norm(graph, k, f"{block}.attn_k_norm", epsilon=self.epsilon, n_heads=self.n_head_kv)
        return q, k
