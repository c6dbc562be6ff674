"""The hyperparameters that nearly all families have, and the parts that follow from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from oxillama.errors import ModelLoadError
from oxillama.network.graph import Graph
from oxillama.network.models.attention import SelfAttention
from oxillama.network.models.decoder import AnyLayer, Decoder, Head, Norm
from oxillama.network.models.heads import has_classifier, reading_head
from oxillama.network.models.hyperparameters import Hyperparameters
from oxillama.network.models.rope import read_scaling
from oxillama.network.models.rope_tables import Rope
from oxillama.network.operations import RopeLayout, Span


@dataclass(frozen=True)
class Common:
    """Sizes of a network whose layers are alike; a family changes what differs in some of them."""

    n_vocab: int
    n_ctx_train: int
    n_layers: int
    width: int
    n_ff: int
    n_head: int
    n_head_kv: int
    k_dim: int
    v_dim: int
    window: int
    norm: Norm
    rope: Rope | None
    scale: float  # of attention scores
    clamp: float  # of queries, keys and values; 0 without
    span: Span = Span.CAUSAL
    # Of a classifier in a family of networks that write: what stands in the place of its logits.
    head: Head | None = None

    @classmethod
    def read(
        cls, hp: Hyperparameters, graph: Graph, *, layout: RopeLayout | None, norm: str = "rms", causal: bool = True
    ) -> Self:
        """layout: None for a network without rotary positions. norm: "rms" or "layer". causal: whether tokens attend
        only what came before them."""
        hp.expect("attention.causal", causal)
        hp.irrelevant("attention.layer_norm_epsilon" if norm == "rms" else "attention.layer_norm_rms_epsilon")
        width, n_head = hp.integer("embedding_length"), hp.integer("attention.head_count")
        n_layers, n_predicting = hp.integer("block_count", most=1000), hp.integer("nextn_predict_layers", 0, least=0)
        if n_predicting >= n_layers:
            raise ModelLoadError(
                f"{hp.architecture}.nextn_predict_layers is {n_predicting}, expected fewer than the {n_layers} layers "
                f"of {hp.architecture}.block_count"
            )
        # The last of them guess further tokens, which the network itself does without.
        n_layers -= n_predicting
        graph.leave_out(*(f"blk.{n_layers + i}." for i in range(n_predicting)))
        n_ctx_train = hp.integer("context_length")
        k_dim = hp.integer("attention.key_length", width // n_head)
        common = cls(
            n_vocab=graph.rows("token_embd"),
            n_ctx_train=n_ctx_train,
            n_layers=n_layers,
            width=width,
            # Where every layer has experts, nothing may be said of others.
            n_ff=hp.integer("feed_forward_length", *([0] if hp.has("expert_feed_forward_length") else [])),
            n_head=n_head,
            n_head_kv=hp.integer("attention.head_count_kv", n_head),
            k_dim=k_dim,
            v_dim=hp.integer("attention.value_length", width // n_head),
            window=hp.integer("attention.sliding_window", 0, least=0),
            norm=Norm(
                hp.number("attention.layer_norm_rms_epsilon" if norm == "rms" else "attention.layer_norm_epsilon"), norm
            ),
            rope=read_rope(hp, graph, layout, k_dim, n_ctx_train) if layout is not None else None,
            scale=hp.number("attention.scale", 0.0, positive=False) or k_dim**-0.5,
            clamp=hp.number("attention.clamp_kqv", 0.0, positive=False),
            span=Span.CAUSAL if causal else Span.SYMMETRIC,
            head=reading_head(hp, graph) if has_classifier(graph) else None,
        )
        if common.n_head % common.n_head_kv:
            raise ModelLoadError(
                f"{hp.architecture}.attention.head_count is {common.n_head}, expected a multiple of "
                f"{hp.architecture}.attention.head_count_kv, {common.n_head_kv}"
            )
        return common

    def rope_of(self, **changes: Any) -> Rope:
        """The network's rotation with some of its fields changed."""
        if self.rope is None:
            raise ValueError("the network has no rotary positions")
        return replace(self.rope, **changes)

    def attention(self, **changes: Any) -> SelfAttention:
        """The attention of all layers, with some of its fields changed."""
        fields: dict[str, Any] = {
            "n_heads": self.n_head,
            "n_head_kv": self.n_head_kv,
            "k_dim": self.k_dim,
            "v_dim": self.v_dim,
            "scale": self.scale,
            "clamp": self.clamp,
            "rope": self.rope,
            "window": self.window,
            "span": self.span,
        }
        return SelfAttention(**(fields | changes))

    def decoder(self, layers: Sequence[AnyLayer], **changes: Any) -> Decoder:
        fields = {"head": self.head} | changes
        return Decoder(self.n_vocab, self.n_ctx_train, self.width, self.norm, layers, **fields)


def read_rope(hp: Hyperparameters, graph: Graph, layout: RopeLayout, head_dim: int, n_ctx_train: int) -> Rope:
    dims, base = hp.integer("rope.dimension_count", head_dim), hp.number("rope.freq_base", 10000.0)
    if base <= 1:
        raise ModelLoadError(f"{hp.architecture}.rope.freq_base is {base}, expected a number above 1")
    if dims % 2 or dims > head_dim:
        raise ModelLoadError(
            f"{hp.architecture}.rope.dimension_count is {dims}, expected an even number up to {head_dim}"
        )
    scaling = read_scaling(hp, n_ctx_train)
    factors = _factors(hp, graph, scaling.n_ctx_original)
    if scaling.kind == "longrope" and factors is None:
        raise ModelLoadError(f"{hp.architecture}.rope.scaling.type is longrope, but the file has no rope_factors_long")
    return Rope(layout, dims, base, scaling, factors)


def _factors(hp: Hyperparameters, graph: Graph, n_ctx_original: int) -> str | None:
    """The tensor that divides the frequencies. One of two goes by the size of the context, never by a sequence's
    length: a longer text would change the keys of what came before."""
    if graph.has("rope_freqs.weight"):
        return "rope_freqs"
    names = ("rope_factors_short", "rope_factors_long")
    if not any(graph.has(f"{name}.weight") for name in names):
        return None
    needed, other = reversed(names) if hp.n_ctx > n_ctx_original else names
    graph.leave_out(f"{other}.weight")
    return needed


def layers_with_window(hp: Hyperparameters, n_layers: int, *, default_period: int) -> list[bool]:
    """Which layers attend a window only: by attention.sliding_window_pattern, an array of truths or a period, of which
    the last layer attends everything."""
    name = "attention.sliding_window_pattern"
    if hp.is_array(name):
        return hp.truths(name, n_layers)
    period = hp.integer(name, default_period, least=0)
    return [period > 0 and (layer + 1) % period != 0 for layer in range(n_layers)]
