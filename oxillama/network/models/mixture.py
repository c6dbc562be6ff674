"""What files say of mixtures of experts: how they are chosen and weighed, how large they are, in which layers."""

from __future__ import annotations

from oxillama.errors import UnsupportedModelError
from oxillama.network.experts import Routing, Scores
from oxillama.network.models.common import Common
from oxillama.network.models.feed_forward import ExpertFFN, GatedFFN
from oxillama.network.models.hyperparameters import Hyperparameters

# expert_gating_func; 0 stands for the family's own
GATING = {1: Scores.SOFTMAX, 2: Scores.SIGMOID, 3: Scores.CHOSEN_SOFTMAX, 4: Scores.SQRT_SOFTPLUS}
LEAST_SUM = 2.0**-14  # the smallest normal number of float16, as in other programs that run these files


def read_routing(hp: Hyperparameters, *, scores: Scores = Scores.SOFTMAX, renormalises: bool = False) -> Routing:
    """scores, renormalises: of the family, where the file does not say."""
    number = hp.integer("expert_gating_func", 0, least=0)
    if number not in (0, *GATING):
        raise UnsupportedModelError(
            f"{hp.architecture}.expert_gating_func is {number}; supported: {', '.join(map(str, GATING))}"
        )
    n_experts = hp.integer("expert_count")
    n_groups = hp.integer("expert_group_count", 1, least=0) or 1
    return Routing(
        n_experts,
        hp.integer("expert_used_count", most=n_experts),
        GATING.get(number, scores),
        n_groups=n_groups,
        n_groups_used=hp.integer("expert_group_used_count", n_groups, least=0) or n_groups,
        renormalises=hp.truth("expert_weights_norm", renormalises),
        scale=hp.number("expert_weights_scale", 1.0, positive=False) or 1.0,  # 0 stands for none
        least=LEAST_SUM,
    )


def read_shared(hp: Hyperparameters, n_ff_expert: int, bound: float = 0.0) -> GatedFFN | None:
    """The expert that every token uses, by the length it has, or by how many experts it stands for."""
    n = hp.integer("expert_shared_count", 0, least=0)
    n_ff = hp.integer("expert_shared_feed_forward_length", 0, least=0) or n * n_ff_expert
    return GatedFFN(n_ff, suffix="_shexp", bound=bound) if n_ff else None


def read_experts(
    hp: Hyperparameters,
    common: Common,
    *,
    scores: Scores = Scores.SOFTMAX,
    renormalises: bool = False,
    is_shared: bool = True,
    shared_bound: float = 0.0,
) -> ExpertFFN:
    """The mixture of a layer. is_shared: the family has an expert for every token; shared_bound: of this one."""
    n_ff = hp.integer("expert_feed_forward_length", common.n_ff, least=0) or common.n_ff
    shared = read_shared(hp, n_ff, shared_bound) if is_shared else None
    return ExpertFFN(read_routing(hp, scores=scores, renormalises=renormalises), n_ff, shared=shared)


def after_dense(hp: Hyperparameters, common: Common, experts: ExpertFFN) -> list[GatedFFN | ExpertFFN]:
    """The networks of all layers: gated ones in the leading ones, experts in the others."""
    n_dense = hp.integer("leading_dense_block_count", 0, least=0)
    return [GatedFFN(common.n_ff) if layer < n_dense else experts for layer in range(common.n_layers)]
