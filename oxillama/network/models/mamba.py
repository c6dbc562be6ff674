"""Mamba, with FalconMamba, and Mamba-2: one mixer in each layer and nothing else."""

from __future__ import annotations

from oxillama.network.graph import Graph
from oxillama.network.models.decoder import Decoder, Layer, Norm
from oxillama.network.models.hyperparameters import Hyperparameters
from oxillama.network.models.recurrent.mamba import Mamba, Mamba2
from oxillama.network.models.recurrent.sizes import StateSpace, read_plain


def mamba(hp: Hyperparameters, graph: Graph) -> Decoder:
    common = read_plain(hp, graph, norm=Norm(hp.number("attention.layer_norm_rms_epsilon")))
    mixer = Mamba(StateSpace.read(hp, grouped=False), normalises=hp.truth("ssm.dt_b_c_rms", False))
    return common.decoder([Layer(mixer, None)] * common.n_layers)


def mamba2(hp: Hyperparameters, graph: Graph) -> Decoder:
    common = read_plain(hp, graph, norm=Norm(hp.number("attention.layer_norm_rms_epsilon")))
    mixer = Mamba2(StateSpace.read(hp, grouped=True))
    return common.decoder([Layer(mixer, None)] * common.n_layers)
