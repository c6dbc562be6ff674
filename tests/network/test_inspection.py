"""Whether a file would run is said without loading it, in the words that loading it would use."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from oxillama import Engine, ModelLoadError, UnsupportedModelError
from oxillama.config import CacheConfig
from oxillama.gguf import GGUFFile
from oxillama.ledger import LEDGER
from oxillama.network.inspection import Inspection, inspect_model
from tests.network.test_loader import write


def inspected(path: Path, **cache: Any) -> Inspection:
    with GGUFFile(path) as file:
        return inspect_model(file, cache=CacheConfig(**cache))


def test_a_file_that_runs_has_a_plan_and_nothing_is_promised(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    write(path)
    before = list(LEDGER.holders())
    found = inspected(path)
    assert found.runs
    assert list(LEDGER.holders()) == before
    with Engine(path, progress=False) as engine:
        assert found.plan is not None
        assert found.plan.n_ctx == engine.n_ctx
        assert found.plan.memory.weights == engine.memory.weights
        assert found.plan.memory.kv_cache == engine.memory.kv_cache


OBSTACLES: list[tuple[type[Exception], Callable[[dict[str, Any], Any], object]]] = [
    (UnsupportedModelError, lambda metadata, tensors: metadata.update({"general.architecture": "nonesuch"})),
    (UnsupportedModelError, lambda metadata, tensors: metadata.update({"llama.unheard_of": 3})),
    (ModelLoadError, lambda metadata, tensors: metadata.pop("llama.block_count")),
    (ModelLoadError, lambda metadata, tensors: tensors.pop("output_norm.weight")),
    (ModelLoadError, lambda metadata, tensors: metadata.update({"llama.attention.head_count": 0})),
    (
        UnsupportedModelError,
        lambda metadata, tensors: tensors.update({"blk.0.more.weight": tensors["token_embd.weight"]}),
    ),
]


@pytest.mark.parametrize(("kind", "change"), OBSTACLES)
def test_what_stands_in_the_way_is_what_opening_says(
    tmp_path: Path, kind: type[Exception], change: Callable[[dict[str, Any], Any], object]
) -> None:
    path = tmp_path / "model.gguf"
    write(path, change)
    found = inspected(path)
    assert not found.runs
    with pytest.raises(kind) as caught:
        Engine(path, progress=False)
    assert str(found.obstacle) == str(caught.value)
    assert type(found.obstacle) is type(caught.value)


def test_memory_that_is_not_there_stands_in_the_way(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    write(path)
    found = inspected(path, kv_cache_tokens=2**31 - 1)
    assert "does not fit into memory" in str(found.obstacle)
