"""Qwen3-Next and Qwen 3.5 (Qwen team 2025 and 2026), dense and with experts: three gated delta nets, then attention
with gated outputs. Text has the same position in all sections of the rotation, so that it is the plain one."""

from __future__ import annotations

from oxillama._core.network.recurrence import MAX_TAPS
from oxillama.errors import ModelLoadError, UnsupportedModelError
from oxillama.network.graph import Graph
from oxillama.network.models.decoder import Decoder, Layer
from oxillama.network.models.feed_forward import ExpertFFN, GatedFFN
from oxillama.network.models.hyperparameters import Hyperparameters
from oxillama.network.models.mixture import read_routing
from oxillama.network.models.recurrent.delta_net import GatedDeltaNet
from oxillama.network.models.recurrent.sizes import MOST, read_layers
from oxillama.network.operations import RopeLayout


def qwen35(hp: Hyperparameters, graph: Graph) -> Decoder:
    return _network(hp, graph, is_tiled=True)


def qwen3next(hp: Hyperparameters, graph: Graph) -> Decoder:
    return _network(hp, graph, is_tiled=False)


def _network(hp: Hyperparameters, graph: Graph, *, is_tiled: bool) -> Decoder:
    common, sizes = read_layers(hp, graph, layout=RopeLayout.HALVES)
    hp.integers("rope.dimension_sections", 4, 0, least=0)
    if common.k_dim != common.v_dim:
        raise UnsupportedModelError(
            f"{hp.architecture}.attention.key_length is {common.k_dim}, expected {common.v_dim}, the length of values"
        )
    net = _delta_net(hp, is_tiled=is_tiled)
    layers = []
    for size, is_recurrent in zip(sizes, _recurrent_layers(hp, common.n_layers), strict=True):
        attention = common.attention(n_heads=size.n_head, n_head_kv=size.n_head_kv, qk_norm="head", gate="query")
        ffn = _feed_forward(hp, size.n_ff)
        layers.append(Layer(net if is_recurrent else attention, ffn, ffn_norm="post_attention_norm"))
    return common.decoder(layers)


def _delta_net(hp: Hyperparameters, *, is_tiled: bool) -> GatedDeltaNet:
    dim = hp.integer("ssm.state_size", most=MOST)
    n_heads, n_key_heads = hp.integer("ssm.time_step_rank", most=MOST), hp.integer("ssm.group_count", most=MOST)
    inner = hp.integer("ssm.inner_size", most=2**31 - 1)
    if n_heads % n_key_heads:
        raise ModelLoadError(
            f"{hp.architecture}.ssm.time_step_rank is {n_heads}, expected a multiple of "
            f"{hp.architecture}.ssm.group_count, {n_key_heads}"
        )
    if inner != n_heads * dim:
        raise UnsupportedModelError(
            f"{hp.architecture}.ssm.inner_size is {inner}, expected {n_heads} heads of {dim} values"
        )
    return GatedDeltaNet(hp.integer("ssm.conv_kernel", most=MAX_TAPS), n_key_heads, n_heads, dim, is_tiled)


def _recurrent_layers(hp: Hyperparameters, n_layers: int) -> list[bool]:
    """By `attention.recurrent_layers`, else all but every so many."""
    period = hp.integer("full_attention_interval", 4)
    if hp.has("attention.recurrent_layers"):
        return hp.truths("attention.recurrent_layers", n_layers)
    return [(layer + 1) % period != 0 for layer in range(n_layers)]


def _feed_forward(hp: Hyperparameters, n_ff: int) -> GatedFFN | ExpertFFN:
    n_experts = hp.integer("expert_count", 0, least=0)
    if not n_experts:
        return GatedFFN(n_ff)
    routing = read_routing(hp, renormalises=True)
    shared = GatedFFN(hp.integer("expert_shared_feed_forward_length", n_ff), suffix="_shexp")
    width = hp.integer("expert_feed_forward_length", max(1, n_ff // routing.n_used))
    return ExpertFFN(routing, width, shared=shared, shared_gate=True)
