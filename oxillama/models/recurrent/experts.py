"""Routing as hybrid networks write it in their metadata."""

from __future__ import annotations

from oxillama.errors import UnsupportedModelError
from oxillama.models.hyperparameters import Hyperparameters
from oxillama.network.experts import Routing, Scores

LEAST_SUM = 6.103515625e-05  # of the weights of a token, the smallest normal number of float16
_GATING = {1: Scores.SOFTMAX, 2: Scores.SIGMOID}


def read_routing(
    hp: Hyperparameters, n_experts: int, n_used: int | None = None, *, renormalises: bool = True
) -> Routing:
    """Sigmoid scores unless `expert_gating_func` says otherwise, weights that sum to `expert_weights_scale`. n_used:
    instead of `expert_used_count`. renormalises: where the file does not say."""
    gating = hp.integer("expert_gating_func", 2)
    if gating not in _GATING:
        raise UnsupportedModelError(
            f"{hp.architecture}.expert_gating_func is {gating}, expected one of {sorted(_GATING)}"
        )
    return Routing(
        n_experts,
        hp.integer("expert_used_count", most=n_experts) if n_used is None else n_used,
        scores=_GATING[gating],
        n_groups=max(1, hp.integer("expert_group_count", 1, least=0)),
        n_groups_used=max(1, hp.integer("expert_group_used_count", 1, least=0)),
        renormalises=hp.truth("expert_weights_norm", renormalises),
        scale=hp.number("expert_weights_scale", 1.0),
        least=LEAST_SUM,
    )
