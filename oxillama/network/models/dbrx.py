"""DBRX (Databricks 2024, https://huggingface.co/databricks/dbrx-base): layer norms, queries, keys and values between
bounds, experts."""

from __future__ import annotations

from oxillama.network.graph import Graph
from oxillama.network.models.common import Common
from oxillama.network.models.decoder import Decoder, Layer
from oxillama.network.models.hyperparameters import Hyperparameters
from oxillama.network.models.llama import feed_forward
from oxillama.network.operations import RopeLayout


def dbrx(hp: Hyperparameters, graph: Graph) -> Decoder:
    common = Common.read(hp, graph, layout=RopeLayout.HALVES, norm="layer")
    hp.number("attention.clamp_kqv")
    layer = Layer(common.attention(), feed_forward(hp, common), ffn_norm="attn_output_norm")
    return common.decoder([layer] * common.n_layers)
