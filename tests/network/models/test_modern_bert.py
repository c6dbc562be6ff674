"""ModernBERT against torch, in any company, and what of it is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from oxillama import Engine, UnsupportedModelError
from oxillama.gguf_writer import GGUFWriter
from oxillama.sampling.params import Pooling
from tests.network.models import tiny_modern_bert as tiny


def written(folder: Path, **changes: Any) -> Path:
    path = folder / "modern.gguf"
    with GGUFWriter(path) as writer:
        for key, value in (tiny.metadata() | {f"modern-bert.{key}": value for key, value in changes.items()}).items():
            writer.add(key, value)
        for name, values in tiny.weights().items():
            writer.add_tensor(f"{name}.weight", values)
    return path


def test_hidden_states_are_torch_s(tmp_path: Path) -> None:
    expected = np.load(tiny.RECORDED)
    with Engine(written(tmp_path), kv_dtype="f32", n_threads=1, progress=False) as engine:
        for ids, key in zip(tiny.TEXTS, expected.files, strict=True):
            found = engine.submit_embedding(ids, pooling="none", normalize=False).result()
            assert np.abs(found - expected[key]).max() < 2e-3
        means = engine.embed(tiny.TEXTS, normalize=False)
        for row, key in zip(means, expected.files, strict=True):
            assert np.abs(row - expected[key].mean(axis=0)).max() < 2e-3


@pytest.mark.parametrize("pooling", ["mean", "cls", "last"])
def test_company_changes_no_bit(tmp_path: Path, pooling: Pooling) -> None:
    with Engine(written(tmp_path), n_threads=2, progress=False) as engine:
        alone = [engine.embed([ids], pooling=pooling)[0] for ids in tiny.TEXTS]
        together = engine.embed(tiny.TEXTS * 5, pooling=pooling)
    for place, row in enumerate(together):
        np.testing.assert_array_equal(row.view(np.uint32), alone[place % len(alone)].view(np.uint32))


@pytest.mark.parametrize(
    "changes",
    [
        {"attention.sliding_window": 0},
        {"rope.freq_base_swa": tiny.BASE},
        {"attention.sliding_window_pattern": 2},
        {"hidden_activation": "silu"},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_every_key_is_at_work(tmp_path: Path, changes: dict[str, Any]) -> None:
    expected = np.load(tiny.RECORDED)["arr_2"]
    with Engine(written(tmp_path, **changes), kv_dtype="f32", n_threads=1, progress=False) as engine:
        found = engine.submit_embedding(tiny.TEXTS[2], pooling="none", normalize=False).result()
    assert np.abs(found - expected).max() > 0.01


def test_a_function_that_is_not_built_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModelError, match=r"modern-bert\.hidden_activation is 'relu'"):
        Engine(written(tmp_path, hidden_activation="relu"), progress=False)
