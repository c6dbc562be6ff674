"""What sets qwen3 apart from llama, on a random model; test_conformance.py compares it with torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from oxillama import Engine
from oxillama.gguf import GGUFFile
from oxillama.testing.tiny_models import TinyModel

PROMPT = [5, 17, 60, 3, 44, 9, 71, 5]
HEAD_DIM = 24


def logits(path: Path) -> npt.NDArray[np.float32]:
    with Engine(path, progress=False, kv_dtype="f32", kv_cache_tokens=64) as engine:
        return engine.logits(PROMPT)


def scale_rows(path: Path, tensor: str, rows: slice, factor: float) -> None:
    with GGUFFile(path) as file:
        info = file.tensors[tensor]
        offset, shape = info.offset, info.shape
    matrix = np.memmap(path, np.float32, "r+", offset, (shape[1], shape[0]))
    matrix[rows] *= factor
    matrix.flush()


@pytest.mark.parametrize(("architecture", "changes"), [("qwen3", False), ("llama", True)])
@pytest.mark.parametrize("tensor", ["attn_q", "attn_k"])
def test_the_length_of_a_head_does_not_count(tmp_path: Path, architecture: str, changes: bool, tensor: str) -> None:
    path = tmp_path / "model.gguf"
    TinyModel(architecture=architecture, head_dim=HEAD_DIM, n_head=4, n_head_kv=2).write(path)
    before = logits(path)
    # one head only: a norm over all heads together would notice
    scale_rows(path, f"blk.0.{tensor}.weight", slice(HEAD_DIM, 2 * HEAD_DIM), 4.0)
    assert bool(np.abs(logits(path) - before).max() > 1e-2) == changes


def test_weights_of_the_norms_count(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    TinyModel(architecture="qwen3", head_dim=HEAD_DIM).write(path)
    before = logits(path)
    with GGUFFile(path) as file:
        offset = file.tensors["blk.1.attn_k_norm.weight"].offset
    np.memmap(path, np.float32, "r+", offset, (HEAD_DIM,))[:] *= -3
    assert np.abs(logits(path) - before).max() > 1e-2
