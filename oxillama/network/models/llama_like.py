"""Families that are llama but for one thing: where pairs rotate, the name of a norm, another feed-forward network."""

from __future__ import annotations

from oxillama.network.graph import Graph
from oxillama.network.models.common import Common
from oxillama.network.models.decoder import Decoder, Layer
from oxillama.network.models.feed_forward import GatedFFN, PlainFFN
from oxillama.network.models.hyperparameters import Hyperparameters
from oxillama.network.operations import RELU_SQUARED, RopeLayout


def seed_oss(hp: Hyperparameters, graph: Graph) -> Decoder:
    """Seed-OSS (ByteDance 2025, https://huggingface.co/ByteDance-Seed)."""
    common = Common.read(hp, graph, layout=RopeLayout.HALVES)
    layer = Layer(common.attention(), GatedFFN(common.n_ff), ffn_norm="post_attention_norm")
    return common.decoder([layer] * common.n_layers)


def arcee(hp: Hyperparameters, graph: Graph) -> Decoder:
    """AFM (Arcee 2025, https://huggingface.co/arcee-ai/AFM-4.5B)."""
    common = Common.read(hp, graph, layout=RopeLayout.INTERLEAVED)
    return common.decoder([Layer(common.attention(), PlainFFN(common.n_ff, RELU_SQUARED))] * common.n_layers)


def qwen(hp: Hyperparameters, graph: Graph) -> Decoder:
    """Qwen 1 (Bai et al. 2023, arXiv:2309.16609), whose files count gate and up together."""
    common = Common.read(hp, graph, layout=RopeLayout.HALVES)
    return common.decoder([Layer(common.attention(), GatedFFN(common.n_ff // 2))] * common.n_layers)


def plamo(hp: Hyperparameters, graph: Graph) -> Decoder:
    """PLaMo 1 (Preferred Networks 2023, https://huggingface.co/pfnet/plamo-13b): both parts read the same."""
    common = Common.read(hp, graph, layout=RopeLayout.HALVES)
    layer = Layer(common.attention(), GatedFFN(common.n_ff), ffn_norm=None, parallel=True)
    return common.decoder([layer] * common.n_layers)


def refact(hp: Hyperparameters, graph: Graph) -> Decoder:
    """Refact (2023, https://huggingface.co/refactai/Refact-1_6B-fim): distances instead of positions."""
    common = Common.read(hp, graph, layout=None)
    return common.decoder([Layer(common.attention(alibi=8.0), GatedFFN(common.n_ff))] * common.n_layers)
