"""RWKV-6 and RWKV-7: recurrent networks without attention."""

from __future__ import annotations

from oxillama.errors import ModelLoadError, UnsupportedModelError
from oxillama.network.graph import Graph
from oxillama.network.models.common import Common
from oxillama.network.models.decoder import Decoder, Norm
from oxillama.network.models.hyperparameters import Hyperparameters
from oxillama.network.models.recurrent.rwkv import ChannelMix6, ChannelMix7, TimeMix6, TimeMix7, TokenShiftLayer
from oxillama.network.models.recurrent.sizes import read_plain


def rwkv6(hp: Hyperparameters, graph: Graph) -> Decoder:
    common, n_heads = _read(hp, graph)
    mixer = TimeMix6(n_heads, hp.integer("time_mix_extra_dim"), hp.integer("time_decay_extra_dim"))
    period = hp.integer("rescale_every_n_layers", 0, least=0)
    layers = [
        TokenShiftLayer(
            mixer, ChannelMix6(common.n_ff), ffn_norm="attn_norm_2", halves=period > 0 and (i + 1) % period == 0
        )
        for i in range(common.n_layers)
    ]
    return common.decoder(layers, embedding_norm="token_embd_norm")


def rwkv7(hp: Hyperparameters, graph: Graph) -> Decoder:
    common, n_heads = _read(hp, graph)
    ranks = {
        name: hp.integer(f"attention.{key}_lora_rank", *default, least=0 if default else 1)
        for name, key, default in (
            ("decay_rank", "decay", ()),
            ("rate_rank", "iclr", ()),
            ("value_rank", "value_residual_mix", ()),
            ("gate_rank", "gate", (0,)),
        )
    }
    layer = TokenShiftLayer(TimeMix7(n_heads, **ranks), ChannelMix7(common.n_ff), ffn_norm="attn_norm_2")
    return common.decoder([layer] * common.n_layers, embedding_norm="token_embd_norm")


def _read(hp: Hyperparameters, graph: Graph) -> tuple[Common, int]:
    common = read_plain(hp, graph, norm=Norm(hp.number("attention.layer_norm_epsilon"), "layer"))
    size = hp.integer("wkv.head_size", most=common.width)
    if common.width % size:
        raise ModelLoadError(
            f"{hp.architecture}.embedding_length is {common.width}, expected a multiple of "
            f"{hp.architecture}.wkv.head_size, {size}"
        )
    shifts = hp.integer("token_shift_count", 2)
    if shifts != 2:
        raise UnsupportedModelError(f"{hp.architecture}.token_shift_count is {shifts}, expected 2")
    if not common.n_ff:
        raise ModelLoadError(f"{hp.architecture}.feed_forward_length is 0, expected a positive integer")
    return common, common.width // size
