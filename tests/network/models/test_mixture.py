"""What is read of mixtures of experts, and what is refused."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from oxillama import Engine, ModelLoadError, UnsupportedModelError
from oxillama.gguf import GGUFFile
from oxillama.gguf_writer import GGUFWriter
from oxillama.network.experts import Routing, Scores
from oxillama.network.graph import Graph
from oxillama.network.loader import FileTensors
from oxillama.network.models import read_architecture
from oxillama.network.models.hyperparameters import Hyperparameters
from oxillama.network.models.mixture import LEAST_SUM, read_routing
from tests.network.models.described import MODELS

ABSURD = [0, 1, 3, -1, 7, 255, 2**31 - 1, 2**40, float("nan"), float("inf"), -0.5, 1e30, "text", True, [1, 2], [0] * 99]


def routing(**keys: object) -> Routing:
    named = {f"toy.{key}": value for key, value in {"expert_count": 8, "expert_used_count": 2, **keys}.items()}
    return read_routing(Hyperparameters("toy", named), scores=Scores.SIGMOID)


def test_a_family_says_what_the_file_does_not() -> None:
    assert routing() == Routing(8, 2, Scores.SIGMOID, renormalises=False, least=LEAST_SUM)


def test_what_the_file_says() -> None:
    found = routing(
        expert_gating_func=3,
        expert_weights_norm=True,
        expert_weights_scale=2.5,
        expert_group_count=4,
        expert_group_used_count=2,
    )
    assert found == Routing(8, 2, Scores.CHOSEN_SOFTMAX, 4, 2, True, 2.5, LEAST_SUM)


def test_zeros_stand_for_nothing() -> None:
    keys = ("expert_gating_func", "expert_weights_scale", "expert_group_count", "expert_group_used_count")
    assert routing(**dict.fromkeys(keys, 0)) == routing()


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"expert_gating_func": 9}, r"toy\.expert_gating_func is 9; supported: 1, 2, 3, 4"),
        ({"expert_used_count": 9}, r"toy\.expert_used_count is 9, expected an integer from 1 to 8"),
        ({"expert_group_count": 3, "expert_group_used_count": 2}, "in 2 of 3 groups: expected groups of one size"),
        ({"expert_group_count": 2, "expert_group_used_count": 4}, "in 4 of 2 groups"),
    ],
)
def test_what_no_router_does(keys: dict[str, object], message: str) -> None:
    with pytest.raises((ModelLoadError, UnsupportedModelError), match=message):
        routing(**keys)


def describe(path: Path, **changes: Any) -> None:
    """The description of a file's network, with some keys of its family changed."""
    with GGUFFile(path) as file:
        name = file.metadata["general.architecture"]
        metadata = {key: file.metadata[key] for key in file.metadata if not key.startswith("tokenizer.")}
        graph = Graph(FileTensors(file))
        named = {f"{name}.{key}": value for key, value in changes.items()}
        read_architecture({**metadata, **named}, graph).build(graph)


@pytest.mark.parametrize("name", MODELS)
def test_absurd_numbers_are_named_errors(tmp_path: Path, name: str) -> None:
    path = tmp_path / "model.gguf"
    MODELS[name].write(path)
    describe(path)
    n_built = 0
    for key in MODELS[name].keys:
        for value in ABSURD:
            with suppress(ModelLoadError, UnsupportedModelError):
                describe(path, **{key: np.array(value) if isinstance(value, list) else value})
                n_built += 1
    assert n_built < len(ABSURD) * len(MODELS[name].keys) // 2


def with_tensors(name: str, path: Path, extra: dict[str, np.ndarray[Any, Any]], **keys: object) -> None:
    """A model's file with more tensors and other keys."""
    old = path.with_name("old.gguf")
    MODELS[name].write(old)
    with GGUFFile(old) as file, GGUFWriter(path) as writer:
        architecture = file.metadata["general.architecture"]
        metadata = {key: file.metadata[key] for key in file.metadata}
        metadata |= {f"{architecture}.{key}": value for key, value in keys.items()}
        for key, value in metadata.items():
            writer.add(key, value)
        for tensor, info in file.tensors.items():
            writer.add_tensor(tensor, info.data.copy(), shape=info.shape, type_name=info.type_name)
        for tensor, values in extra.items():
            writer.add_tensor(tensor, values)


def test_blocks_that_predict_further_tokens_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    zeros = np.zeros((64, 128), np.float32)
    with_tensors("glm4moe", path, {"blk.4.nextn.eh_proj.weight": zeros}, block_count=5, nextn_predict_layers=1)
    with Engine(path.with_name("old.gguf"), progress=False) as plain, Engine(path, progress=False) as engine:
        assert np.array_equal(engine.logits([5, 6, 7]), plain.logits([5, 6, 7]))
    with pytest.raises(ModelLoadError, match="nextn_predict_layers is 5"):
        describe(path, nextn_predict_layers=5)


def test_factors_of_products(tmp_path: Path) -> None:
    path, name = tmp_path / "model.gguf", "blk.1.ffn_up_exps"
    factors = np.linspace(-1, 2, 6).astype(np.float32)
    extra = {f"{name}.scale": factors, f"{name}.input_scale": factors, "blk.0.attn_v.scale": factors[:1]}
    with_tensors("mixtral", path, extra)
    with GGUFFile(path.with_name("old.gguf")) as file:
        weights = {tensor: file.tensors[tensor].data.view(np.float32).copy() for tensor in file.tensors}
    weights[f"{name}.weight"] *= np.repeat(factors, weights[f"{name}.weight"].size // 6)
    weights["blk.0.attn_v.weight"] *= factors[0]
    multiplied = path.with_name("multiplied.gguf")
    with GGUFFile(path.with_name("old.gguf")) as file, GGUFWriter(multiplied) as writer:
        for key in file.metadata:
            writer.add(key, file.metadata[key])
        for tensor, info in file.tensors.items():
            writer.add_tensor(tensor, weights[tensor], shape=info.shape, type_name="F32")
    with Engine(path, progress=False) as engine, Engine(multiplied, progress=False) as other:
        assert np.abs(engine.logits([5, 6, 7]) - other.logits([5, 6, 7])).max() < 1e-4


def test_a_table_of_embeddings_with_a_factor(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    with_tensors("mixtral", path, {"token_embd.scale": np.ones(1, np.float32)})
    with pytest.raises(UnsupportedModelError, match=r"'token_embd\.scale' scales a table of embeddings"):
        Engine(path, progress=False)


def test_llama4_without_stretches(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    MODELS["llama4"].write(path)
    with pytest.raises(UnsupportedModelError, match=r"llama4\.attention\.sliding_window is 0"):
        describe(path, **{"attention.sliding_window": 0})


def test_a_head_that_rotates_wholly_has_no_latent_part(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    replace(MODELS["deepseek2"], seed=1).write(path)
    with pytest.raises(
        ModelLoadError, match=r"deepseek2\.rope\.dimension_count is 24, expected less than the 24 values"
    ):
        describe(path, **{"rope.dimension_count": 24})
