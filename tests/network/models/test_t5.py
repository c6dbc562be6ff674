"""The encoder of T5 against torch, in any company, and what of it is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from oxillama import Engine, OxillamaError
from oxillama.gguf_writer import GGUFWriter
from oxillama.sampling.params import Pooling
from tests.network.models import tiny_t5 as tiny

KINDS = pytest.mark.parametrize("is_gated", [False, True], ids=["plain", "gated"])


def written(folder: Path, *, is_gated: bool = True, tensors: dict[str, Any] | None = None, **changes: Any) -> Path:
    path = folder / "t5.gguf"
    with GGUFWriter(path) as writer:
        for key, value in (tiny.metadata() | {f"t5encoder.{key}": value for key, value in changes.items()}).items():
            writer.add(key, value)
        for name, values in (tiny.weights(is_gated=is_gated) | (tensors or {})).items():
            writer.add_tensor(f"{name}.weight", values)
    return path


def expected(*, is_gated: bool) -> list[Any]:
    recorded = np.load(tiny.RECORDED)
    return [recorded[f"{'gated' if is_gated else 'plain'}_{index}"] for index in range(len(tiny.TEXTS))]


@KINDS
def test_hidden_states_are_torch_s(tmp_path: Path, is_gated: bool) -> None:
    with Engine(written(tmp_path, is_gated=is_gated), n_threads=1, progress=False) as engine:
        for ids, rows in zip(tiny.TEXTS, expected(is_gated=is_gated), strict=True):
            found = engine.submit_embedding(ids, pooling="none", normalize=False).result()
            assert np.abs(found - rows).max() < 2e-4
        means = engine.embed(tiny.TEXTS, normalize=False)
        for mean, rows in zip(means, expected(is_gated=is_gated), strict=True):
            assert np.abs(mean - rows.mean(axis=0)).max() < 2e-4


@pytest.mark.parametrize("pooling", ["mean", "cls", "last", "none"])
@pytest.mark.parametrize("n_threads", [1, 2])
def test_company_changes_no_bit(tmp_path: Path, pooling: Pooling, n_threads: int) -> None:
    texts = [*tiny.TEXTS, list(range(33)), list(range(32))]
    with Engine(written(tmp_path), n_threads=1, max_batch_size=1, progress=False) as engine:
        alone = [engine.submit_embedding(ids, pooling=pooling).result() for ids in texts]
    with Engine(written(tmp_path), n_threads=n_threads, progress=False) as engine:
        handles = [engine.submit_embedding(ids, pooling=pooling, queue_timeout=None) for ids in texts[::-1] * 4]
        for place, handle in enumerate(handles):
            row = alone[::-1][place % len(alone)]
            np.testing.assert_array_equal(handle.result().view(np.uint32), row.view(np.uint32))


def test_a_layer_may_have_biases_of_its_own(tmp_path: Path) -> None:
    own = {"enc.blk.1.attn_rel_b": np.zeros((tiny.N_BUCKETS, tiny.N_HEADS), np.float32)}
    same = {"enc.blk.1.attn_rel_b": tiny.weights(is_gated=True)["enc.blk.0.attn_rel_b"]}
    for tensors, differs in ((own, True), (same, False)):
        with Engine(written(tmp_path, tensors=tensors), n_threads=1, progress=False) as engine:
            found = engine.submit_embedding(tiny.TEXTS[1], pooling="none", normalize=False).result()
        assert bool(np.abs(found - expected(is_gated=True)[1]).max() > 0.01) is differs


@pytest.mark.parametrize(
    "changes",
    [
        {"attention.relative_buckets_count": 30},
        {"attention.relative_buckets_count": 16},
        {"attention.head_count_kv": 2},
        {"attention.key_length": 16},
        {"attention.sliding_window": 4},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_what_is_not_built_is_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(OxillamaError):
        Engine(written(tmp_path, **changes), progress=False)
