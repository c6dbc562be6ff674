"""The builder: every tensor is looked up and its shape checked when it is named."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from oxillama.errors import ModelLoadError, UnsupportedModelError
from oxillama.network import operations as op
from oxillama.network.classification import embed_segment
from oxillama.network.graph import Graph, RowSpace
from oxillama.network.models.rope import RopeScaling
from oxillama.network.models.rope_tables import Rope, RopeTables
from oxillama.network.operations import Embed, KVStore, Linear, RopeLayout


class Tensor:
    def __init__(self, shape: tuple[int, ...], type_id: int = 0) -> None:
        self.shape = shape
        self.type_id = type_id


class Tensors:
    """A file that has the tensors it is given; shapes in GGUF's order."""

    def __init__(self, **tensors: tuple[int, ...]) -> None:
        self._tensors = {name.replace("__", "."): Tensor(shape) for name, shape in tensors.items()}

    def get(self, name: str) -> Tensor | None:
        return self._tensors.get(name)

    def floats(self, name: str) -> npt.NDArray[np.float32]:
        return np.arange(self._tensors[name].shape[0], dtype=np.float32)


def test_a_product_knows_its_matrix_and_bias() -> None:
    graph = Graph(Tensors(emb__weight=(8, 5), up__weight=(8, 12), up__bias=(12,)))
    x = op.embed(graph, "emb", n_vocab=5, width=8)
    y = op.linear(graph, x, "up", width=12)
    node = graph.nodes[-1]
    assert isinstance(node, Linear)
    assert (y.width, y.space) == (12, RowSpace.TOKENS)
    (matrix,) = node.matrices
    assert (matrix.rows, matrix.k) == (12, 8)
    assert matrix.bias is not None
    assert matrix.bias.name == "up.bias"
    assert graph.used == {"emb.weight", "up.weight", "up.bias"}


def test_a_missing_tensor_is_named_with_the_shape_it_should_have() -> None:
    graph = Graph(Tensors(emb__weight=(8, 5)))
    x = op.embed(graph, "emb", n_vocab=5, width=8)
    with pytest.raises(ModelLoadError, match=r"tensor 'up.weight' is missing; expected shape \[8, 12\]"):
        op.linear(graph, x, "up", width=12)


@pytest.mark.parametrize("shape", [(12, 8), (8,), (8, 12, 2), (8, 13), ()])
def test_a_wrong_shape_is_named_with_both_shapes(shape: tuple[int, ...]) -> None:
    graph = Graph(Tensors(emb__weight=(8, 5), up__weight=shape))
    x = op.embed(graph, "emb", n_vocab=5, width=8)
    with pytest.raises(ModelLoadError) as caught:
        op.linear(graph, x, "up", width=12)
    assert str(caught.value) == f"tensor 'up.weight' has shape {list(shape)}, expected [8, 12]"


def test_dimensions_of_one_at_the_end_say_nothing() -> None:
    graph = Graph(Tensors(emb__weight=(8, 5, 1, 1)))
    assert graph.rows("emb") == 5
    assert isinstance(op.embed(graph, "emb", n_vocab=5, width=8), object)


def test_a_bias_of_the_wrong_length_is_refused() -> None:
    graph = Graph(Tensors(emb__weight=(8, 5), up__weight=(8, 12), up__bias=(11,)))
    x = op.embed(graph, "emb", n_vocab=5, width=8)
    with pytest.raises(ModelLoadError, match=r"'up.bias' has shape \[11\], expected \[12\]"):
        op.linear(graph, x, "up", width=12)


def test_attention_appends_to_the_cache_first() -> None:
    graph = Graph(Tensors(emb__weight=(8, 5)))
    q = op.embed(graph, "emb", n_vocab=5, width=8)
    store = graph.kv(n_head_kv=2, k_dim=4, v_dim=4)
    out = op.attention(graph, q, (q, q), store=store, n_heads=2, scale=1.0)
    assert isinstance(graph.nodes[-2], KVStore)
    assert out.width == 8


def test_a_matrix_used_twice_is_loaded_once() -> None:
    graph = Graph(Tensors(emb__weight=(8, 5)))
    x = op.embed(graph, "emb", n_vocab=5, width=8)
    graph.output(op.linear(graph, x, "emb", width=5))
    assert isinstance(graph.nodes[0], Embed)
    assert [matrix.name for matrix in graph.matrices()] == ["emb.weight"]


def test_a_constant_is_checked_and_read() -> None:
    graph = Graph(Tensors(factors__weight=(4,)))
    np.testing.assert_array_equal(graph.constant("factors", 4), [0, 1, 2, 3])
    with pytest.raises(ModelLoadError, match="expected \\[5\\]"):
        graph.constant("factors", 5)


def test_a_part_of_a_fused_tensor_is_a_matrix_of_its_own() -> None:
    graph = Graph(Tensors(emb__weight=(8, 5), qkv__weight=(8, 12), qkv__bias=(12,)))
    x = op.embed(graph, "emb", n_vocab=5, width=8)
    y = op.linear(graph, x, "qkv", width=6, ranges=(range(2), range(8, 12)), of=12)
    node = graph.nodes[-1]
    assert isinstance(node, Linear)
    (matrix,) = node.matrices
    assert (y.width, matrix.rows, matrix.ranges) == (6, 6, (range(2), range(8, 12)))
    assert matrix.bias is not None
    assert (matrix.bias.width, matrix.bias.ranges) == (6, matrix.ranges)
    with pytest.raises(ModelLoadError, match=r"'qkv.weight' has shape \[8, 12\], expected \[8, 13\]"):
        op.linear(graph, x, "qkv", width=6, ranges=(range(6),), of=13)


@pytest.mark.parametrize("table", ["emb", "position_embd"])
def test_a_scale_of_a_table_is_never_left_out(table: str) -> None:
    graph = Graph(Tensors(**{f"{table}__weight": (8, 5), f"{table}__scale": (1,)}))
    with pytest.raises(UnsupportedModelError, match=rf"{table}\.scale"):
        op.embed(graph, table, n_vocab=5, width=8)
    with pytest.raises(UnsupportedModelError, match=rf"{table}\.scale"):
        op.embed_position(graph, table, n_positions=5, width=8)
    with pytest.raises(UnsupportedModelError, match=rf"{table}\.scale"):
        embed_segment(graph, table, n_segments=5, width=8)


@pytest.mark.parametrize(
    "ranges", [(range(3),), (range(2), range(10, 13)), (range(-1, 3),), (range(4), range(4)), None]
)
def test_a_description_that_takes_other_rows_than_it_says_is_wrong(ranges: tuple[range, ...] | None) -> None:
    graph = Graph(Tensors(mat__weight=(8, 12), mat__bias=(12,)))
    with pytest.raises(ValueError, match="rows"):
        graph.matrix("mat", k=8, rows=4, ranges=ranges, of=12)
    with pytest.raises(ValueError, match="rows"):
        graph.vector("mat.bias", 4, ranges=ranges, of=12)
    assert graph.matrix("mat", k=8, rows=4, ranges=(range(2), range(10, 12)), of=12).rows == 4


def test_rows_are_not_counted_one_by_one() -> None:
    # A file may say that it has this many.
    graph = Graph(Tensors(mat__weight=(8, 12)))
    with pytest.raises(ModelLoadError, match="shape"):
        graph.matrix("mat", k=8, rows=2**31 - 1, ranges=(range(2**31 - 1),), of=2**31 - 1)


def test_what_does_not_fit_together_is_refused() -> None:
    graph = Graph(Tensors(emb__weight=(12, 5), mat__weight=(12, 8)))
    x = op.embed(graph, "emb", n_vocab=5, width=12)
    narrow = op.linear(graph, x, "mat", width=8)
    with pytest.raises(UnsupportedModelError, match="12 values are multiplied by 8"):
        op.multiply(graph, x, narrow)
    store = graph.kv(n_head_kv=2, k_dim=6, v_dim=4)
    with pytest.raises(UnsupportedModelError, match="3 heads of 4 values attend a store of 2 heads of 6"):
        op.attention(graph, x, (x, narrow), store=store, n_heads=3, scale=1.0)
    with pytest.raises(UnsupportedModelError, match="8 and 12 wide"):
        op.attention(graph, x, (narrow, x), store=store, n_heads=2, scale=1.0)
    for rope in (
        Rope(RopeLayout.HALVES, 3, 1e4, RopeScaling.none()),
        Rope(RopeLayout.HALVES, 6, 1e4, RopeScaling.none(), offset=2),
        Rope(RopeLayout.HALVES, 8, 1e4, RopeScaling.none()),
    ):
        with pytest.raises(UnsupportedModelError, match="values of a head rotate"):
            RopeTables(graph).rotate(x, rope, n_heads=2)
