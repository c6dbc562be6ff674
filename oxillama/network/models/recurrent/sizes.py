"""Reads the sizes of networks with states from a file's metadata: of their recurrences, and of layers that differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from oxillama._core.network.recurrence import MAX_TAPS
from oxillama.errors import ModelLoadError, UnsupportedModelError
from oxillama.network.graph import Graph
from oxillama.network.models.common import Common, read_rope
from oxillama.network.models.decoder import Norm
from oxillama.network.models.hyperparameters import Hyperparameters
from oxillama.network.operations import RopeLayout, Span

MOST = 2**20  # of one size: products of two stay within the core's integers or fail as tensors of the wrong shape


@dataclass(frozen=True)
class StateSpace:
    """The keys `ssm.*`. rank: of the step sizes; the heads of those families that have any."""

    n_taps: int
    inner: int
    n_state: int
    rank: int
    n_groups: int

    @classmethod
    def read(cls, hp: Hyperparameters, *, grouped: bool) -> Self:
        """grouped: the values are divided into `rank` heads, the keys into `ssm.group_count`."""
        sizes = cls(
            n_taps=hp.integer("ssm.conv_kernel", most=MAX_TAPS),
            inner=hp.integer("ssm.inner_size", most=MOST),
            n_state=hp.integer("ssm.state_size", most=MOST),
            rank=hp.integer("ssm.time_step_rank", most=MOST),
            n_groups=hp.integer("ssm.group_count", most=MOST) if grouped else 1,
        )
        if grouped and (sizes.inner % sizes.rank or sizes.rank % sizes.n_groups or sizes.inner % sizes.n_groups):
            name = f"{hp.architecture}.ssm"
            raise ModelLoadError(
                f"{name}.inner_size is {sizes.inner}, {name}.time_step_rank {sizes.rank}, {name}.group_count "
                f"{sizes.n_groups}: expected each to be a multiple of the next"
            )
        return sizes


@dataclass(frozen=True)
class LayerSizes:
    """Those of one layer; zeros where it has no attention or no feed-forward network."""

    n_head: int
    n_head_kv: int
    n_ff: int


def read_layers(hp: Hyperparameters, graph: Graph, *, layout: RopeLayout | None) -> tuple[Common, list[LayerSizes]]:
    """A network whose layers differ, and the sizes of each; `Common` has the sizes of a layer with all parts. Layers
    of a draft head (`nextn_predict_layers`), which come last, are left out."""
    hp.expect("attention.causal", True)
    hp.irrelevant("attention.layer_norm_epsilon")
    if layout is None:
        names = ("dimension_count", "freq_base", "scaling.finetuned", "scaling.type", "scaling.factor")
        hp.irrelevant(*(f"rope.{name}" for name in names), "rope.scaling.original_context_length")
    n_all = hp.integer("block_count", most=1000)
    n_layers = n_all - hp.integer("nextn_predict_layers", 0, least=0, most=n_all - 1)
    width, n_ctx_train = hp.integer("embedding_length"), hp.integer("context_length")
    n_heads = hp.integers("attention.head_count", n_layers, least=0, most=MOST)
    counts = (
        hp.integers("attention.head_count_kv", n_layers, None, least=0)
        if (hp.has("attention.head_count_kv"))
        else n_heads
    )
    n_ffs = hp.integers("feed_forward_length", n_layers, 0, least=0)
    n_head = max(n_heads)
    if not n_head:
        raise ModelLoadError(f"{hp.architecture}.attention.head_count is 0, expected a positive integer")
    for n, n_kv in zip(n_heads, counts, strict=True):
        if n_kv and (n == 0 or n % n_kv):
            raise ModelLoadError(
                f"{hp.architecture}.attention.head_count is {n}, expected a multiple of "
                f"{hp.architecture}.attention.head_count_kv, {n_kv}"
            )
    k_dim = hp.integer("attention.key_length", max(1, width // n_head), most=MOST)
    common = Common(
        n_vocab=graph.rows("token_embd"),
        n_ctx_train=n_ctx_train,
        n_layers=n_layers,
        width=width,
        n_ff=max(n_ffs),
        n_head=n_head,
        n_head_kv=max(counts),
        k_dim=k_dim,
        v_dim=hp.integer("attention.value_length", max(1, width // n_head), most=MOST),
        window=hp.integer("attention.sliding_window", 0, least=0),
        norm=Norm(hp.number("attention.layer_norm_rms_epsilon")),
        rope=read_rope(hp, graph, layout, k_dim, n_ctx_train) if layout is not None else None,
        scale=hp.number("attention.scale", 0.0, positive=False) or k_dim**-0.5,
        clamp=hp.number("attention.clamp_kqv", 0.0, positive=False),
        span=Span.CAUSAL,
    )
    layers = [LayerSizes(n, n_kv, n_ff) for n, n_kv, n_ff in zip(n_heads, counts, n_ffs, strict=True)]
    graph.leave_out(*(f"blk.{layer}." for layer in range(n_layers, n_all)))
    return common, layers


def read_plain(hp: Hyperparameters, graph: Graph, *, norm: Norm) -> Common:
    """A network without attention."""
    hp.irrelevant("attention.layer_norm_epsilon" if norm.kind == "rms" else "attention.layer_norm_rms_epsilon")
    heads = hp.integer("attention.head_count", 0, least=0)
    if heads:
        raise UnsupportedModelError(f"{hp.architecture}.attention.head_count is {heads}, expected 0: no attention")
    return Common(
        n_vocab=graph.rows("token_embd"),
        n_ctx_train=hp.integer("context_length"),
        n_layers=hp.integer("block_count", most=1000),
        width=hp.integer("embedding_length"),
        n_ff=hp.integer("feed_forward_length", 0, least=0),
        n_head=1,
        n_head_kv=1,
        k_dim=1,
        v_dim=1,
        window=0,
        norm=norm,
        rope=None,
        scale=1.0,
        clamp=0.0,
        span=Span.CAUSAL,
    )
