"""What nearly all families read: sizes, rotations, and layers that are none of the network."""

from __future__ import annotations

import numpy as np
import pytest

from oxillama import ModelLoadError, UnsupportedModelError
from oxillama.network.graph import Graph
from oxillama.network.models.common import Common
from oxillama.network.models.hyperparameters import Hyperparameters
from oxillama.network.operations import RopeLayout
from tests.network.running import Array, MadeUp

SIZES: dict[str, object] = {
    "context_length": 512,
    "block_count": 3,
    "embedding_length": 32,
    "feed_forward_length": 64,
    "attention.head_count": 4,
    "attention.head_count_kv": 2,
    "attention.layer_norm_rms_epsilon": 1e-5,
}
EMBEDDING: dict[str, Array] = {"token_embd.weight": np.zeros((7, 32))}
FACTORS: dict[str, Array] = {f"rope_factors_{name}.weight": np.ones(4) for name in ("long", "short")}


def read(
    changes: dict[str, object] | None = None, *, n_ctx: int | None = None, tensors: dict[str, Array] | None = None
) -> tuple[Common, Graph]:
    values = {f"toy.{name}": value for name, value in (SIZES | (changes or {})).items()}
    graph = Graph(MadeUp(EMBEDDING | (tensors or {})))
    return Common.read(Hyperparameters("toy", values, n_ctx=n_ctx), graph, layout=RopeLayout.HALVES), graph


@pytest.mark.parametrize(("n_ctx", "name"), [(None, "long"), (128, "short"), (129, "long"), (64, "short")])
def test_the_context_chooses_the_factors_of_rotations(n_ctx: int | None, name: str) -> None:
    common, graph = read({"rope.scaling.original_context_length": 128}, n_ctx=n_ctx, tensors=FACTORS)
    assert common.rope_of().factors == f"rope_factors_{name}"
    other = {"long": "short", "short": "long"}[name]
    assert graph.unused(FACTORS) == [f"rope_factors_{name}.weight"]  # until the rotation is described
    assert graph.unused([f"rope_factors_{other}.weight"]) == []


def test_long_rope_is_all_in_its_factors() -> None:
    changes: dict[str, object] = {"rope.scaling.type": "longrope", "rope.scaling.attn_factor": 1.25}
    rope = read(changes, tensors=FACTORS)[0].rope_of()
    assert (rope.scaling.kind, rope.scaling.attention_factor) == ("longrope", 1.25)
    with pytest.raises(UnsupportedModelError, match=r"toy\.rope\.scaling\.factor is 4\.0; supported: 1\.0"):
        read(changes | {"rope.scaling.factor": 4.0}, tensors=FACTORS)


def test_layers_that_only_predict_are_left_out() -> None:
    common, graph = read({"nextn_predict_layers": 1})
    assert common.n_layers == 2
    assert graph.unused(["blk.1.attn_norm.weight", "blk.2.attn_norm.weight", "blk.20.attn_norm.weight"]) == [
        "blk.1.attn_norm.weight",
        "blk.20.attn_norm.weight",
    ]
    with pytest.raises(ModelLoadError, match=r"toy\.nextn_predict_layers is 3, expected fewer than the 3 layers"):
        read({"nextn_predict_layers": 3})


def test_a_scale_and_bounds_of_attention() -> None:
    attention = read({"attention.scale": 0.5, "attention.clamp_kqv": 3.0})[0].attention()
    assert (attention.scale, attention.clamp) == (0.5, 3.0)
    assert read()[0].attention().scale == 8**-0.5


def test_long_rope_without_factors() -> None:
    with pytest.raises(ModelLoadError, match=r"toy\.rope\.scaling\.type is longrope, but the file has no rope_factors"):
        read({"rope.scaling.type": "longrope"})
