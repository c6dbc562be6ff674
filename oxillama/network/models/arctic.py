"""Arctic (Snowflake 2024): experts that read what the layer reads, beside a small dense network behind attention."""

from __future__ import annotations

from dataclasses import dataclass

from oxillama.network import operations as op
from oxillama.network.graph import Graph, Value
from oxillama.network.models.common import Common
from oxillama.network.models.decoder import Building, Decoder, Layer
from oxillama.network.models.feed_forward import ExpertFFN, GatedFFN
from oxillama.network.models.hyperparameters import Hyperparameters
from oxillama.network.models.mixture import read_experts
from oxillama.network.operations import RopeLayout


@dataclass(frozen=True)
class DenseBesideExperts:
    dense: GatedFFN
    experts: ExpertFFN

    def build(self, building: Building, x: Value) -> Value:
        made = self.dense.build(building, x)
        if building.residual is None:
            raise ValueError("the experts have nothing to read")
        read = building.normalise(building.residual, f"{building.block}.ffn_norm_exps")
        return op.add(building.graph, made, self.experts.build(building, read))


def arctic(hp: Hyperparameters, graph: Graph) -> Decoder:
    common = Common.read(hp, graph, layout=RopeLayout.INTERLEAVED)
    experts = read_experts(hp, common, renormalises=True)
    ffn = DenseBesideExperts(GatedFFN(common.width), experts)
    return common.decoder([Layer(common.attention(), ffn)] * common.n_layers)
