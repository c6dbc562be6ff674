"""Keys of a file: what a family reads, what it says of the others, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from oxillama import Engine, ModelLoadError, UnsupportedModelError
from oxillama.network.models.hyperparameters import ABSENT_AT_ZERO, INFORMATIONAL, Hyperparameters
from oxillama.testing.tiny_models import TinyModel


def keys(**values: object) -> Hyperparameters:
    return Hyperparameters("toy", {f"toy.{name}": value for name, value in values.items()})


def test_a_key_that_nobody_reads_is_refused() -> None:
    hp = keys(width=8, twist=0.5)
    assert hp.integer("width") == 8
    with pytest.raises(UnsupportedModelError, match=r"^toy\.twist is 0\.5; architecture toy is not built with it$"):
        hp.check_all_read()
    hp.irrelevant("twist")
    hp.check_all_read()


def test_keys_of_others_are_their_matter() -> None:
    Hyperparameters("toy", {"general.name": "x", "toys.width": 8, "toy": 1}).check_all_read()


@pytest.mark.parametrize("name", sorted(INFORMATIONAL))
def test_keys_that_say_nothing_may_say_anything(name: str) -> None:
    keys(**{name: "whatever"}).check_all_read()


@pytest.mark.parametrize("name", sorted(ABSENT_AT_ZERO))
def test_a_part_that_is_not_there(name: str) -> None:
    keys(**{name: 0}).check_all_read()
    with pytest.raises(UnsupportedModelError, match=rf"toy\.{name} is 3"):
        keys(**{name: 3}).check_all_read()


def test_a_key_with_one_value_that_is_built() -> None:
    keys().expect("causal", True)
    hp = keys(causal=True, order="first")
    hp.expect("causal", True)
    with pytest.raises(UnsupportedModelError, match=r"toy\.order is 'first'; supported: 'last'"):
        hp.expect("order", "last")
    hp.check_all_read()


@pytest.mark.parametrize("values", [[], [1.0], [1.0, 1.0]])
def test_an_array_is_never_the_one_value(values: list[float]) -> None:
    with pytest.raises(
        UnsupportedModelError, match=rf"toy\.factor is an array of {len(values)} x float64; supported: 1\.0"
    ):
        keys(factor=np.array(values)).expect("factor", 1.0)


def test_a_layer_has_its_own_values_or_those_of_all() -> None:
    hp = keys(heads=np.array([2, 4, 8]), width=16)
    assert [hp.at(layer).integer("heads") for layer in range(3)] == [2, 4, 8]
    assert hp.at(1).integer("width") == 16
    with pytest.raises(UnsupportedModelError, match=r"toy\.heads has 3 values"):
        hp.integer("heads")
    with pytest.raises(ModelLoadError, match=r"toy\.heads has 3 values, expected one for each of 4 layers"):
        hp.at(3).integer("heads")
    with pytest.raises(ModelLoadError, match=r"toy\.heads\[1\] is 4, expected an integer from 1 to 3"):
        hp.at(1).integer("heads", most=3)
    hp.check_all_read()


def test_the_context_is_the_one_asked_for() -> None:
    assert keys(context_length=128).n_ctx == 128
    assert Hyperparameters("toy", {"toy.context_length": 128}, n_ctx=512).at(2).n_ctx == 512


def test_a_file_with_a_key_of_another_family(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    TinyModel(metadata={"llama.residual_scale": 0.5}).write(path)
    with pytest.raises(UnsupportedModelError, match=r"^llama\.residual_scale is 0\.5; architecture llama is not built"):
        Engine(path, progress=False)
