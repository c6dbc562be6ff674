"""Decoders of 2019 to 2024 with layer norms and, most of them, feed-forward networks without gates."""

from __future__ import annotations

from oxillama.network.graph import Graph
from oxillama.network.models.common import Common
from oxillama.network.models.decoder import Decoder, Layer
from oxillama.network.models.feed_forward import GatedFFN, PlainFFN
from oxillama.network.models.hyperparameters import Hyperparameters
from oxillama.network.operations import GELU, GELU_TANH, RELU_SQUARED, RopeLayout


def gpt2(hp: Hyperparameters, graph: Graph) -> Decoder:
    """GPT-2 (Radford et al. 2019) and, with one head of keys, StarCoder (Li et al. 2023, arXiv:2305.06161): learned
    positions."""
    common = Common.read(hp, graph, layout=None, norm="layer")
    layer = Layer(common.attention(), PlainFFN(common.n_ff, GELU_TANH))
    return common.decoder([layer] * common.n_layers, n_positions=common.n_ctx_train)


def gptneox(hp: Hyperparameters, graph: Graph) -> Decoder:
    """GPT-NeoX (Black et al. 2022, arXiv:2204.06745) and Pythia: both parts read what runs through, or one the other's
    result."""
    common = Common.read(hp, graph, layout=RopeLayout.HALVES, norm="layer")
    layer = Layer(common.attention(), PlainFFN(common.n_ff, GELU), parallel=hp.truth("use_parallel_residual"))
    return common.decoder([layer] * common.n_layers)


def falcon(hp: Hyperparameters, graph: Graph) -> Decoder:
    """Falcon (Almazrouei et al. 2023, arXiv:2311.16867): both parts read the same, in the large ones through norms of
    their own."""
    common = Common.read(hp, graph, layout=RopeLayout.HALVES, norm="layer")
    mixer_norm, ffn_norm = (
        ("attn_norm_2", "attn_norm") if graph.has("blk.0.attn_norm_2.weight") else ("attn_norm", None)
    )
    ffn = PlainFFN(common.n_ff, GELU)
    layer = Layer(common.attention(), ffn, mixer_norm=mixer_norm, ffn_norm=ffn_norm, parallel=True)
    return common.decoder([layer] * common.n_layers)


def bloom(hp: Hyperparameters, graph: Graph) -> Decoder:
    """BLOOM (BigScience 2022, arXiv:2211.05100): distances instead of positions, a norm of the embedding."""
    common = Common.read(hp, graph, layout=None, norm="layer")
    layer = Layer(common.attention(alibi=8.0), PlainFFN(common.n_ff, GELU_TANH))
    return common.decoder([layer] * common.n_layers, embedding_norm="token_embd_norm")


def mpt(hp: Hyperparameters, graph: Graph) -> Decoder:
    """MPT (MosaicML 2023, https://www.databricks.com/blog/mpt-7b): distances, or learned positions."""
    common = Common.read(hp, graph, layout=None, norm="layer")
    attention = common.attention(
        alibi=hp.number("attention.max_alibi_bias", 0.0, positive=False),
        qk_norm="row" if graph.has("blk.0.attn_q_norm.weight") else None,
    )
    n_positions = common.n_ctx_train if graph.has("position_embd.weight") else 0
    return common.decoder([Layer(attention, PlainFFN(common.n_ff, GELU))] * common.n_layers, n_positions=n_positions)


def jais(hp: Hyperparameters, graph: Graph) -> Decoder:
    """Jais (Sengupta et al. 2023, arXiv:2308.16149): distances, scores over the size of a head itself, gates."""
    common = Common.read(hp, graph, layout=None, norm="layer")
    alibi = hp.number("attention.max_alibi_bias", 0.0, positive=False)
    attention = common.attention(alibi=alibi, scale=1 / common.k_dim)
    return common.decoder([Layer(attention, GatedFFN(common.n_ff))] * common.n_layers)


def starcoder2(hp: Hyperparameters, graph: Graph) -> Decoder:
    """StarCoder 2 (Lozhkov et al. 2024, arXiv:2402.19173) and CodeShell (Xie et al. 2024, arXiv:2403.15747)."""
    common = Common.read(hp, graph, layout=RopeLayout.HALVES, norm="layer")
    return common.decoder([Layer(common.attention(), PlainFFN(common.n_ff, GELU_TANH))] * common.n_layers)


def nemotron(hp: Hyperparameters, graph: Graph) -> Decoder:
    """Nemotron 4 and Minitron (Parmar et al. 2024, arXiv:2402.16819), Jais 2."""
    common = Common.read(hp, graph, layout=RopeLayout.HALVES, norm="layer")
    return common.decoder([Layer(common.attention(), PlainFFN(common.n_ff, RELU_SQUARED))] * common.n_layers)


def orion(hp: Hyperparameters, graph: Graph) -> Decoder:
    """Orion (Chen et al. 2024, arXiv:2401.12246): llama with layer norms."""
    common = Common.read(hp, graph, layout=RopeLayout.HALVES, norm="layer")
    return common.decoder([Layer(common.attention(), GatedFFN(common.n_ff))] * common.n_layers)


def stablelm(hp: Hyperparameters, graph: Graph) -> Decoder:
    """StableLM (Bellagente et al. 2024, arXiv:2402.17834): the large one feeds forward what its attention reads, and
    normalises each head of queries and keys by weights of its own."""
    common = Common.read(hp, graph, layout=RopeLayout.HALVES, norm="layer")
    parallel = not graph.has("blk.0.ffn_norm.weight")
    hp.expect("use_parallel_residual", parallel)
    layer = Layer(
        common.attention(qk_norm="each" if graph.has("blk.0.attn_q_norm.weight") else None),
        GatedFFN(common.n_ff),
        ffn_norm=None if parallel else "ffn_norm",
        parallel=parallel,
    )
    return common.decoder([layer] * common.n_layers)
