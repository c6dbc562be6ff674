"""ModernBERT (Warner et al. 2024, arXiv:2412.13663): norms before the parts, gated feed-forward networks, and windows
in all layers but every third."""

from __future__ import annotations

from oxillama.errors import UnsupportedModelError
from oxillama.network.graph import Graph
from oxillama.network.models.common import Common
from oxillama.network.models.decoder import Decoder, Layer
from oxillama.network.models.feed_forward import GatedFFN
from oxillama.network.models.heads import has_classifier, reading_head
from oxillama.network.models.hyperparameters import Hyperparameters
from oxillama.network.operations import GELU, SILU, RopeLayout

PERIOD = 3  # of layers that attend everything, the first of them included
FUNCTIONS = {"gelu": GELU, "geglu": GELU, "silu": SILU, "swiglu": SILU}
CLS_POOLING = 2


def modern_bert(hp: Hyperparameters, graph: Graph) -> Decoder:
    common = Common.read(hp, graph, layout=RopeLayout.HALVES, norm="layer", causal=False)
    local_base = hp.number("rope.freq_base_swa", common.rope_of().base)
    local = common.attention(rope=common.rope_of(base=local_base))
    everywhere = common.attention(window=0)
    name = hp.text("hidden_activation", "gelu")
    if name not in FUNCTIONS:
        known = ", ".join(FUNCTIONS)
        raise UnsupportedModelError(f"{hp.architecture}.hidden_activation is {name!r}; supported: {known}")
    ffn = GatedFFN(common.n_ff, FUNCTIONS[name])
    layers = [
        Layer(
            local if is_local else everywhere,
            ffn,
            mixer_norm="attn_norm" if layer or graph.has("blk.0.attn_norm.weight") else None,
        )
        for layer, is_local in enumerate(_windows(hp, common))
    ]
    if has_classifier(graph):
        # One that averages tokens before it judges would need them all.
        hp.expect("classifier.pooling_type", CLS_POOLING)
        head = reading_head(hp, graph, function=GELU, epsilon=common.norm.epsilon)
    else:
        hp.irrelevant("classifier.pooling_type")
        head = reading_head(hp, graph)
    return common.decoder(layers, embedding_norm="token_embd_norm", head=head)


def _windows(hp: Hyperparameters, common: Common) -> list[bool]:
    name = "attention.sliding_window_pattern"
    if hp.is_array(name):
        return hp.truths(name, common.n_layers)
    period = hp.integer(name, PERIOD, least=0)
    return [common.window > 0 and (period == 0 or layer % period != 0) for layer in range(common.n_layers)]
