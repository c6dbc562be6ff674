"""Apertus (Swiss AI 2025, arXiv:2509.14233): llama's layers with each head of queries and keys normalised, and xIELU
(Huang and Schlag 2024, arXiv:2411.13010) instead of gates, with numbers of its own in each layer."""

from __future__ import annotations

import math

from oxillama.network.graph import Graph
from oxillama.network.models.common import Common
from oxillama.network.models.decoder import Decoder, Layer
from oxillama.network.models.feed_forward import PlainFFN
from oxillama.network.models.hyperparameters import Hyperparameters
from oxillama.network.operations import Activation, RopeLayout


def apertus(hp: Hyperparameters, graph: Graph) -> Decoder:
    common = Common.read(hp, graph, layout=RopeLayout.HALVES)
    attention = common.attention(qk_norm="head")
    # Files keep them without the architecture's name.
    xielu = hp.under("xielu")
    names = ("alpha_p", "alpha_n", "beta", "eps")
    numbers = zip(*(xielu.numbers(name, common.n_layers) for name in names), strict=True)
    return common.decoder([Layer(attention, PlainFFN(common.n_ff, _xielu(*row))) for row in numbers])


def _xielu(alpha_p: float, alpha_n: float, beta: float, eps: float) -> Activation:
    return Activation("xielu", (_softplus(alpha_p), beta + _softplus(alpha_n), beta, eps))


def _softplus(x: float) -> float:
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))
