"""From graph to plan: what is fused, where the team meets, and that no two living buffers share memory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oxillama import Engine
from oxillama._core.network.operations import is_row_wise
from oxillama._core.network.program import activation_form, reads_quants, twin_bytes
from oxillama._core.testing.kernel_harness import dequantize
from oxillama.gguf import GGUFFile
from oxillama.gguf_writer import TYPE_IDS, GGUFWriter
from oxillama.network import operations as op
from oxillama.network.experts import Combine, Gather, Routing, expert_ffn, route
from oxillama.network.graph import Graph, Node, Value
from oxillama.network.loader import FileTensors
from oxillama.network.lowering import Lowered, lower
from oxillama.network.models import read_architecture
from oxillama.network.operations import (
    SILU,
    Add,
    Attention,
    Gated,
    GatedLinear,
    KVStore,
    Linear,
    RMSNorm,
    Rope,
    RopeLayout,
    Select,
)
from oxillama.network.twins import Quantize, Rest
from oxillama.testing.tiny_models import TinyModel
from tests.network.test_graph import Tensors
from tests.tiny_encoder import TinyEncoder


def lowered_of(model: TinyModel, folder: Path) -> Lowered:
    path = folder / "model.gguf"
    model.write(path)
    with GGUFFile(path) as file:
        graph = Graph(FileTensors(file))
        read_architecture(file.metadata, graph).build(graph)
        return lower(graph, max_tokens=16, max_outputs=4)


def names(lowered: Lowered) -> list[str]:
    return [type(node).__name__ for node in lowered.nodes]


def test_a_layer_is_five_products_and_an_attention(tmp_path: Path) -> None:
    found = names(lowered_of(TinyModel(n_layers=3), tmp_path))
    layer = ["RMSNorm", "Linear", "Rope", "Rope", "KVStore", "Attention", "Linear", "RMSNorm", "GatedLinear", "Linear"]
    first = [*layer[:2], "RopeTable", *layer[2:]]
    last = [*layer[:6], "Select", "Select", *layer[6:]]
    assert found == ["Embed", *first, *layer, *last, "RMSNorm", "Hidden", "Linear"]


def test_int8_products_get_a_twin_of_what_they_read_once(tmp_path: Path) -> None:
    lowered = lowered_of(TinyModel(type_name="Q8_0", n_ff=64), tmp_path)
    twins = [node.reads[0] for node in lowered.nodes if isinstance(node, Quantize)]
    assert len(twins) == len(set(twins)) == 2 * 4 + 1
    read = [node.reads[0] for node in lowered.nodes if node.products()]
    assert set(twins) == set(read)


def test_residuals_accumulate_in_place(tmp_path: Path) -> None:
    lowered = lowered_of(TinyModel(), tmp_path)
    sums = [node for node in lowered.nodes if isinstance(node, Linear) and node.accumulate]
    assert len(sums) == 2 * 2
    assert not any(isinstance(node, Add) for node in lowered.nodes)
    for node in sums:
        assert lowered.storage[node.writes[0]] is lowered.storage[node.reads[1]]


def check_phases(lowered: Lowered) -> None:
    """Inside a phase every operation works row by row on the same rows, or there is only one."""
    phases: dict[int, list[Node]] = {}
    for node, phase in zip(lowered.nodes, lowered.phases, strict=True):
        phases.setdefault(phase, []).append(node)
    assert list(phases) == list(range(len(phases)))
    for members in phases.values():
        if len(members) > 1:
            assert all(is_row_wise(node.kind) for node in members)
            assert len({(node.writes or node.reads)[0].space for node in members}) == 1
        # Rows that other threads own are read in a phase that begins with it.
        for kind in (Select, Gather, Combine):
            assert isinstance(members[0], kind) or not any(isinstance(node, kind) for node in members)


def check_memory(lowered: Lowered) -> None:
    """Whatever is alive in the same phase lies apart, and everything lies in the arena."""
    lives = [*lowered.values.values(), *lowered.twins.values()]
    for i, one in enumerate(lives):
        assert one.offset >= 0
        assert one.offset % 64 == 0
        assert one.offset + one.n_bytes <= lowered.arena_bytes
        for other in lives[:i]:
            if one.first <= other.last and other.first <= one.last:
                assert one.offset + one.n_bytes <= other.offset or other.offset + other.n_bytes <= one.offset
    for node, phase in zip(lowered.nodes, lowered.phases, strict=True):
        for value in (*node.reads, *node.writes):
            life = lowered.values[lowered.storage[value]]
            assert life.first <= phase <= life.last
        read = [node.reads[0]] if isinstance(node, Quantize) else []
        if isinstance(node, Linear | GatedLinear) and node.rest is not None:
            read += [node.reads[0], node.rest]
        for value in read:
            life = lowered.twins[lowered.storage[value]]
            assert life.first <= phase <= life.last


@pytest.mark.parametrize("type_name", ["F32", "Q4_0", "Q8_0"])
@pytest.mark.parametrize("tied", [True, False])
def test_a_model_is_planned_soundly(tmp_path: Path, type_name: str, tied: bool) -> None:
    lowered = lowered_of(TinyModel(type_name=type_name, tied=tied, n_layers=4, biases=True), tmp_path)
    check_phases(lowered)
    check_memory(lowered)
    assert lowered.arena_bytes < sum(life.n_bytes for life in lowered.values.values())


def test_a_sum_that_is_multiplied_twice_keeps_room_for_both_twins() -> None:
    tensors = Tensors(emb__weight=(32, 9), mat__weight=(32, 32))
    for name in ("emb.weight", "mat.weight"):
        tensor = tensors.get(name)
        assert tensor is not None
        tensor.type_id = 8  # Q8_0
    graph = Graph(tensors)
    x = op.embed(graph, "emb", n_vocab=9, width=32)
    y = op.linear(graph, op.linear(graph, x, "mat", width=32), "mat", width=32)
    graph.output(op.linear(graph, op.add(graph, x, y), "emb", width=9))
    lowered = lower(graph, max_tokens=8, max_outputs=2)
    assert any(isinstance(node, Linear) and node.accumulate for node in lowered.nodes)
    check_memory(lowered)


@pytest.mark.skipif(not reads_quants(TYPE_IDS["Q8_0"]), reason="this level reads float32 only")
def test_a_value_has_every_form_that_its_products_read(tmp_path: Path) -> None:
    model = TinyModel(type_name="Q8_0", v_type_name="IQ4_NL", n_ff=64)
    plain, mixed = lowered_of(replace(model, v_type_name="Q8_0"), tmp_path), lowered_of(model, tmp_path)
    found = [{lowered.forms[home] for home in lowered.twins} for lowered in (plain, mixed)]
    by_256, by_32 = (activation_form(TYPE_IDS[name]) for name in ("Q8_0", "IQ4_NL"))
    assert found == [{by_256}, {by_256, by_256 | by_32}]
    for home, twin in mixed.twins.items():
        assert twin.n_bytes == twin_bytes(home.width, mixed.rows(home), mixed.forms[home])
    assert twin_bytes(64, 16, by_256 | by_32) == 2 * twin_bytes(64, 16, by_256)
    check_memory(mixed)


def test_two_forms_of_one_value_do_not_disturb_each_other(tmp_path: Path) -> None:
    model = TinyModel(type_name="Q8_0", v_type_name="IQ4_NL", n_embd=288, n_ff=320, head_dim=72)
    model.write(tmp_path / "mixed.gguf")
    with GGUFFile(tmp_path / "mixed.gguf") as file, GGUFWriter(tmp_path / "floats.gguf") as writer:
        for key, value in file.metadata.items():
            writer.add(key, value)
        for name, tensor in file.tensors.items():
            raw = np.frombuffer(tensor.data, np.uint8).reshape(tensor.n_elements // tensor.shape[0], -1)
            values = dequantize(tensor.type_id, tensor.shape[0], raw)
            writer.add_tensor(name, values, shape=tensor.shape, type_name="F32")
    logits = []
    for name in ("mixed", "floats"):
        with Engine(tmp_path / f"{name}.gguf", kv_dtype="f32", progress=False) as engine:
            logits.append(engine.logits(list(range(40))))
    assert np.abs(logits[0] - logits[1]).mean() < 0.05 * np.abs(logits[1]).mean()


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Networks that no architecture has: any operation, on any value of the right width."""
    width = 32
    graph = Graph(Tensors(emb__weight=(width, 9), norm__weight=(width,), mat__weight=(width, width)))
    table = op.rope_table(graph, Graph(Tensors(f__weight=(8,))).constant("f", 8))
    live: list[Value] = [op.embed(graph, "emb", n_vocab=9, width=width)]
    for _ in range(draw(st.integers(1, 12))):
        x = draw(st.sampled_from(live))
        match draw(st.sampled_from(["norm", "linear", "add", "rope", "attention", "swiglu", "feed"])):
            case "norm":
                live.append(op.rms_norm(graph, x, "norm", epsilon=1e-5))
            case "linear":
                live.append(op.linear(graph, x, "mat", width=width))
            case "add":
                live.append(op.add(graph, x, draw(st.sampled_from(live))))
            case "swiglu":
                live.append(op.gated(graph, x, draw(st.sampled_from(live))))
            case "feed":
                live.append(
                    op.gated(graph, op.linear(graph, x, "mat", width=width), op.linear(graph, x, "mat", width=width))
                )
                live.append(op.add(graph, draw(st.sampled_from(live)), op.linear(graph, live[-1], "mat", width=width)))
            case "rope":
                # A rotated value must not be used again as it was.
                fresh = op.linear(graph, x, "mat", width=width)
                live.append(op.rope(graph, fresh, table, layout=RopeLayout.HALVES, n_heads=2))
            case "attention":
                store = graph.kv(n_head_kv=2, k_dim=16, v_dim=16)
                live.append(op.attention(graph, x, (x, x), store=store, n_heads=2, scale=1.0))
    chosen = op.select(graph, draw(st.sampled_from(live)))
    if draw(st.booleans()):
        chosen = op.hidden(graph, chosen)
    graph.output(op.linear(graph, chosen, "emb", width=9))
    return graph


@settings(max_examples=150, deadline=None)
@given(graph=graphs())
def test_any_graph_is_planned_soundly(graph: Graph) -> None:
    lowered = lower(graph, max_tokens=8, max_outputs=2)
    check_phases(lowered)
    check_memory(lowered)
    # In place means for the last time.
    for place, node in enumerate(lowered.nodes):
        if isinstance(node, Linear) and node.accumulate:
            old = node.reads[1]
            assert not any(old in later.reads for later in lowered.nodes[place + 1 :])
    if graph.last_hidden is not None:
        assert lowered.values[lowered.storage[graph.last_hidden]].last > lowered.phases[-1]
        assert lowered.rows(graph.last_hidden) == 8
    assert lowered.result is not None
    assert lowered.rows(lowered.result) == 2
    kept = sum(isinstance(node, RMSNorm | Rope | KVStore | Attention | Select) for node in graph.nodes)
    assert sum(isinstance(node, RMSNorm | Rope | KVStore | Attention | Select) for node in lowered.nodes) == kept
    products = sum(len(node.matrices) for node in lowered.nodes if isinstance(node, Linear))
    products += 2 * sum(isinstance(node, GatedLinear) for node in lowered.nodes)
    assert products == len([node for node in graph.nodes if type(node).__name__ == "Linear"])
    assert all(isinstance(node, Gated) for node in lowered.nodes if type(node).__name__ == "Gated")


def test_a_selection_behind_an_operation_on_selected_rows_begins_a_phase() -> None:
    graph = Graph(Tensors(emb__weight=(8, 5)))
    x, y = (op.embed(graph, "emb", n_vocab=5, width=8) for _ in range(2))
    first = op.scale(graph, op.select(graph, x), 2.0)
    graph.output(op.multiply(graph, first, op.select(graph, y)))
    lowered = lower(graph, max_tokens=4, max_outputs=2)
    check_phases(lowered)
    second = [isinstance(node, Select) for node in lowered.nodes].index(True, 3)
    assert lowered.phases[second] == lowered.phases[second - 1] + 1


def test_rows_of_a_single_expert_are_gathered_and_combined_behind_barriers() -> None:
    # There a token has as many rows as its router, so nothing else tells their rows apart.
    graph = Graph(
        Tensors(
            emb__weight=(8, 5),
            router__weight=(8, 4),
            b__ffn_gate_exps__weight=(8, 6, 4),
            b__ffn_up_exps__weight=(8, 6, 4),
            b__ffn_down_exps__weight=(6, 8, 4),
        )
    )
    routing = Routing(4, 1)
    x = op.scale(graph, op.embed(graph, "emb", n_vocab=5, width=8), 2.0)
    choice = route(graph, op.linear(graph, x, "router", width=4), routing)
    x = op.scale(graph, expert_ffn(graph, x, choice, "b", routing, n_ff=6, function=SILU), 2.0)
    graph.output(op.select(graph, x))
    lowered = lower(graph, max_tokens=4, max_outputs=2)
    assert {Gather, Combine} <= {type(node) for node in lowered.nodes}
    check_phases(lowered)


def test_only_selected_rows_can_be_the_last_hidden_state() -> None:
    graph = Graph(Tensors(emb__weight=(8, 5)))
    with pytest.raises(ValueError, match="selected rows"):
        op.hidden(graph, op.embed(graph, "emb", n_vocab=5, width=8))


def encoder_of(type_name: str, folder: Path, architecture: str = "bert") -> Lowered:
    path = folder / "encoder.gguf"
    TinyEncoder(architecture, type_name=type_name, n_ff=128).write(path)
    with GGUFFile(path) as file:
        graph = Graph(FileTensors(file))
        read_architecture(file.metadata, graph).build(graph)
        return lower(graph, max_tokens=16, max_outputs=4)


@pytest.mark.skipif(not reads_quants(TYPE_IDS["Q8_0"]), reason="this level reads float32 only")
@pytest.mark.parametrize("architecture", ["bert", "jina-bert-v2"])
def test_an_encoders_exact_weights_meet_what_rounding_leaves_over(tmp_path: Path, architecture: str) -> None:
    lowered = encoder_of("Q8_0", tmp_path, architecture)
    products = [node for node in lowered.nodes if isinstance(node, Linear | GatedLinear)]
    assert products
    for node in products:
        # What attention gives are means, in which no channel stands out.
        if any("attn_output" in matrix.name for matrix in node.products()):
            assert node.rest is None
            continue
        assert node.rest is node.reads[-1]
        assert node.rest in lowered.twins
    check_phases(lowered)
    check_memory(lowered)


@pytest.mark.parametrize("type_name", ["F32", "F16", "Q4_0"])
def test_other_weights_of_an_encoder_do_not(tmp_path: Path, type_name: str) -> None:
    assert not any(isinstance(node, Rest) for node in encoder_of(type_name, tmp_path).nodes)


def test_decoders_keep_their_speed(tmp_path: Path) -> None:
    assert not any(isinstance(node, Rest) for node in lowered_of(TinyModel(type_name="Q8_0"), tmp_path).nodes)


def test_a_graph_without_output_is_refused() -> None:
    with pytest.raises(ValueError, match="no output"):
        lower(Graph(Tensors()), max_tokens=1, max_outputs=1)
