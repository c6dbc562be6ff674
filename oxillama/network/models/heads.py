"""What becomes of the last hidden state of a network that writes no text: embeddings, scores of a classifier."""

from __future__ import annotations

from dataclasses import dataclass

from oxillama.errors import ModelLoadError
from oxillama.network import operations as op
from oxillama.network.classification import softmax
from oxillama.network.graph import Graph, Value
from oxillama.network.models.decoder import Head
from oxillama.network.models.hyperparameters import Hyperparameters
from oxillama.network.operations import Activation

TANH = Activation("tanh")


@dataclass(frozen=True)
class Embedder:
    """The last hidden state as it is. dense: (name, width) of products that it goes through besides, each token's
    before they are pooled, which is the same."""

    dense: tuple[tuple[str, int], ...] = ()

    def build(self, graph: Graph, x: Value) -> None:
        for name, width in self.dense:
            x = op.linear(graph, x, name, width=width)
        op.show_hidden(graph, x)


@dataclass(frozen=True)
class Classifier:
    """Scores of a hidden state: output(f(pooler x)), or one product of it. pooler: `cls` where there is `cls.output`
    too; one of them alone is the output. function: the pooler's; norm: the epsilon of a norm behind it, where the file
    has one. is_probability: softmax of the scores."""

    function: Activation = TANH
    epsilon: float = 1e-5
    is_probability: bool = False

    def build(self, graph: Graph, x: Value) -> None:
        rows = op.hidden(graph, x)
        if graph.has("cls.weight") and graph.has("cls.output.weight"):
            rows = op.linear(graph, rows, "cls", width=graph.rows("cls"))
            rows = op.activate(graph, rows, self.function)
            if graph.has("cls.norm.weight"):
                rows = op.layer_norm(graph, rows, "cls.norm", epsilon=self.epsilon)
        name = "cls.output" if graph.has("cls.output.weight") else "cls"
        scores = op.linear(graph, rows, name, width=graph.rows(name, may_be_one=True))
        graph.scores = softmax(graph, scores) if self.is_probability else scores


def has_classifier(graph: Graph) -> bool:
    return graph.has("cls.weight") or graph.has("cls.output.weight")


def reading_head(hp: Hyperparameters, graph: Graph, **classifier: object) -> Head:
    """The head of a network that only reads: what its file has tensors for."""
    if has_classifier(graph):
        return Classifier(**classifier)  # type: ignore[arg-type]  # fields by their names
    dense = []
    for name in ("dense_2", "dense_3"):
        if graph.has(f"{name}.weight"):
            width = graph.rows(name)
            hp.irrelevant(f"{name}_feat_in")  # the shape of the tensor is checked
            if (told := hp.integer(f"{name}_feat_out", width)) != width:
                raise ModelLoadError(f"{hp.architecture}.{name}_feat_out is {told}, tensor {name!r} has {width} rows")
            dense.append((name, width))
    return Embedder(tuple(dense))
