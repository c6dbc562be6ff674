"""Networks of layers as data: what a family says of itself, and the one loop that describes all of them to the graph.

A layer mixes tokens (attention, a recurrence) and then works on each alone (a feed-forward network). Families differ in
which parts these are, where norms stand, and a few numbers; all of that is here as fields."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from oxillama.network import operations as op
from oxillama.network.classification import embed_segment
from oxillama.network.graph import Graph, KVHandle, RowSpace, Value
from oxillama.network.models.rope_tables import RopeTables


@dataclass(frozen=True)
class Norm:
    """kind: "rms" or "layer". weights: whether the network's norms have any; some have none at all."""

    epsilon: float
    kind: str = "rms"
    weights: bool = True


@dataclass
class Building:
    """What the parts of a network share while it is described."""

    graph: Graph
    norm: Norm
    tables: RopeTables
    token_rows: Value | None = None  # the embedded tokens
    layer_inputs: Value | None = None  # what each layer reads of them besides: stretches of one width, layer by layer
    residual: Value | None = None  # what the current layer's results are added to
    is_last: bool = False  # the current layer is the last one that mixes tokens
    layer: int = 0
    prefix: str = ""  # of the layers' tensors: before `blk.N`
    stores: dict[int, KVHandle] = field(default_factory=dict)  # of the layers so far
    shared: dict[str, Value] = field(default_factory=dict)  # what a layer leaves for later ones, by what it is

    @property
    def block(self) -> str:
        return f"{self.prefix}blk.{self.layer}"

    def normalise(self, x: Value, name: str | None, *, n_heads: int = 1) -> Value:
        """The network's norm with the weights of that name."""
        apply = op.rms_norm if self.norm.kind == "rms" else op.layer_norm
        wanted = name if self.norm.weights else None
        return apply(self.graph, x, wanted, epsilon=self.norm.epsilon, n_heads=n_heads)

    def leave(self, x: Value) -> Value:
        """To be called with what a mixer made of the tokens: past the last one only rows that leave the network matter,
        here and in what the result is added to."""
        if not self.is_last or x.space is not RowSpace.TOKENS:
            return x
        x = op.select(self.graph, x)
        if self.residual is not None and self.residual.space is RowSpace.TOKENS:
            self.residual = op.select(self.graph, self.residual)
        return x


class Part(Protocol):
    """A mixer or a feed-forward network: its result is added to what runs through the network."""

    def build(self, building: Building, x: Value) -> Value: ...


@dataclass(frozen=True)
class Layer:
    """The names of norms are those of their tensors behind `blk.N.`; None where there is none.

    parallel: the feed-forward network reads what the mixer reads (through its own norm if `ffn_norm` names one), and
    both results are added. residual_scale: what is added, times this. extra: a third part, which is added last.
    output_scale: the name of a tensor with one factor for the whole layer's result, where the file has it."""

    mixer: Part
    ffn: Part | None
    mixer_norm: str | None = "attn_norm"
    mixer_post_norm: str | None = None
    ffn_norm: str | None = "ffn_norm"
    ffn_post_norm: str | None = None
    parallel: bool = False
    residual_scale: float = 1.0
    extra: Part | None = None
    output_scale: str | None = None

    def build(self, building: Building, x: Value) -> Value:
        x = self._mix_and_feed(building, x)
        if self.extra is not None:
            x = op.add(building.graph, x, self.extra.build(building, x))
        scale = f"{building.block}.{self.output_scale}"
        if self.output_scale and building.graph.has(f"{scale}.weight"):
            x = op.scale(building.graph, x, float(building.graph.constant(scale, 1)[0]))
        return x

    def _mix_and_feed(self, building: Building, x: Value) -> Value:
        block = building.block
        read = building.normalise(x, f"{block}.{self.mixer_norm}") if self.mixer_norm else x
        building.residual = x
        mixed = building.leave(self.mixer.build(building, read))
        x = building.residual
        if self.mixer_post_norm:
            mixed = building.normalise(mixed, f"{block}.{self.mixer_post_norm}")
        if self.parallel and self.ffn is not None:
            read = building.normalise(x, f"{block}.{self.ffn_norm}") if self.ffn_norm else building.leave(read)
            return self._add(building, self._add(building, x, mixed), self.ffn.build(building, read))
        x = self._add(building, x, mixed)
        if self.ffn is None:
            return x
        read = building.normalise(x, f"{block}.{self.ffn_norm}") if self.ffn_norm else x
        made = self.ffn.build(building, read)
        if self.ffn_post_norm:
            made = building.normalise(made, f"{block}.{self.ffn_post_norm}")
        return self._add(building, x, made)

    def _add(self, building: Building, x: Value, y: Value) -> Value:
        if self.residual_scale != 1.0:
            return op.add_scaled(building.graph, x, y, self.residual_scale)
        return op.add(building.graph, x, y)


class AnyLayer(Protocol):
    """Its result takes the place of what it reads."""

    def build(self, building: Building, x: Value) -> Value: ...


class Head(Protocol):
    """What becomes of the last hidden state."""

    def build(self, graph: Graph, x: Value) -> None: ...


@dataclass(frozen=True)
class Decoder:
    """A network from tokens to logits, or to what its head makes of the last hidden state.

    embedding_scale: the embedding, times this. layer_inputs: a part that makes of it what each layer reads besides.
    embedding_norm: the name of a norm of it. n_positions: rows of learned positions, 0 where there are none.
    n_segments: the same for the two texts of a pair. output_norm: the name of the last norm. logit_scale,
    logit_soft_cap: of the logits, in this order. head: instead of logits. prefix: of the layers' tensors."""

    n_vocab: int
    n_ctx_train: int
    width: int
    norm: Norm
    layers: Sequence[AnyLayer]
    embedding_scale: float = 1.0
    embedding_norm: str | None = None
    n_positions: int = 0
    n_segments: int = 0
    output_norm: str | None = "output_norm"
    logit_scale: float = 1.0
    logit_soft_cap: float = 0.0
    layer_inputs: Part | None = None
    head: Head | None = None
    prefix: str = ""

    def build(self, graph: Graph) -> None:
        building = Building(graph, self.norm, RopeTables(graph), prefix=self.prefix)
        x = self._embed(building)
        building.token_rows = x
        if self.layer_inputs is not None:
            building.layer_inputs = self.layer_inputs.build(building, x)
        for building.layer, layer in enumerate(self.layers):
            building.is_last = building.layer == len(self.layers) - 1
            x = layer.build(building, x)
        if self.output_norm:
            x = building.normalise(x, self.output_norm)
        if self.head is not None:
            # Whoever trained a network to read need not have taken away what it wrote with.
            graph.leave_out("output.weight")
            self.head.build(graph, x)
            return
        # Without a matrix of its own the output is tied to the embedding.
        head = "output" if graph.has("output.weight") else "token_embd"
        logits = op.linear(graph, op.hidden(graph, x), head, width=self.n_vocab)
        if self.logit_scale != 1.0:
            logits = op.scale(graph, logits, self.logit_scale)
        if self.logit_soft_cap:
            logits = op.activate(graph, logits, op.Activation("soft_cap", (self.logit_soft_cap,)))
        graph.output(logits)

    def _embed(self, building: Building) -> Value:
        graph = building.graph
        x = op.embed(graph, "token_embd", n_vocab=self.n_vocab, width=self.width)
        if self.embedding_scale != 1.0:
            x = op.scale(graph, x, self.embedding_scale)
        if self.n_segments:
            segments = embed_segment(graph, "token_types", n_segments=self.n_segments, width=self.width)
            x = op.add(graph, x, segments)
        if self.n_positions:
            positions = op.embed_position(graph, "position_embd", n_positions=self.n_positions, width=self.width)
            x = op.add(graph, x, positions)
        return building.normalise(x, self.embedding_norm) if self.embedding_norm else x
