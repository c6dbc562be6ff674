from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oxillama._core.network.adapter import LEAST_STRETCH, MAX_STRETCHES, stretches_of
from oxillama.adapters.packing import cut, place
from oxillama.adapters.reading import read_adapter
from oxillama.errors import AdapterError
from oxillama.network.sites import Sites
from oxillama.testing.tiny_adapters import TinyAdapter
from oxillama.testing.tiny_models import TinyModel
from tests.adapters.networks import load
from tests.network.models.described import MODELS


@given(k=st.integers(1, 1 << 15), rank=st.integers(1, 200))
def test_stretches_cover_the_input_once(k: int, rank: int) -> None:
    fold, n_blocks, n_groups, length = stretches_of(k, rank)
    assert fold * n_blocks * length == k
    assert fold * n_blocks <= MAX_STRETCHES or fold <= 32
    assert fold * rank <= 32 * n_groups < rank * fold + 32
    assert fold == 1 or n_groups == 1
    assert fold * n_blocks == 1 or length >= LEAST_STRETCH // 2


@pytest.mark.parametrize(("k", "rank"), [(2048, 16), (512, 4), (96, 40), (63, 3), (256, 1)])
def test_cut_keeps_every_value(k: int, rank: int) -> None:
    fold, n_blocks, n_groups, length = stretches = stretches_of(k, rank)
    a = np.random.default_rng(0).standard_normal((rank, k)).astype(np.float32)
    x = np.random.default_rng(1).standard_normal(k)
    groups = cut(a, stretches).reshape(n_blocks, n_groups * 32, length)
    total = np.zeros(rank)
    for block in range(n_blocks):
        for s in range(fold):
            lanes = groups[block, s * rank : (s + 1) * rank] if fold > 1 else groups[block, :rank]
            first = (block * fold + s) * length
            total += lanes @ x[first : first + length]
    np.testing.assert_allclose(total, a @ x, atol=1e-9)
    assert not groups[:, fold * rank :].any()


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Sites:
    path = tmp_path_factory.mktemp("models") / "tiny.gguf"
    TinyModel().write(path)
    return load(path).model.sites


@pytest.mark.parametrize(
    ("architecture", "shapes", "message"),
    [
        ("qwen3", {"blk.0.attn_q.weight": (64, 64)}, "for the architecture 'qwen3', the model is 'llama'"),
        (
            "llama",
            {"blk.0.attn_q.weight": (80, 64)},
            r"'blk.0.attn_q.weight.lora_a' has shape \[80, 4\], expected \[64",
        ),
        ("llama", {"blk.0.attn_q.weight": (64, 80)}, r"'blk.0.attn_q.weight.lora_b' has shape \[4, 80\], expected \[4"),
        ("llama", {"blk.0.attn_q.weight": (64, 64, 2)}, r"'blk.0.attn_q.weight.lora_a' has shape \[64, 4, 2\]"),
        ("llama", {"blk.7.attn_q.weight": (64, 64)}, "the model has no 'blk.7.attn_q.weight'"),
        ("llama", {"blk.0.attn_norm.weight": (64, 1)}, "does not multiply with 'blk.0.attn_norm.weight'"),
        (
            "llama",
            {"token_embd.weight": (64, 81)},
            r"'token_embd.weight.lora_a' has shape \[4, 81\], expected \[4, 80\]",
        ),
    ],
)
def test_what_does_not_fit_is_named(
    architecture: str, shapes: dict[str, tuple[int, ...]], message: str, sites: Sites, tmp_path: Path
) -> None:
    TinyAdapter(architecture, shapes).write(tmp_path / "a.gguf")
    with pytest.raises(AdapterError, match=message):
        place(read_adapter(tmp_path / "a.gguf", sites), sites)


def test_experts_and_heads_have_a_pair_each(tmp_path: Path) -> None:
    base = tmp_path / "base.gguf"
    MODELS["deepseek2"].write(base)
    sites = load(base).model.sites
    names = [name for name in sites.shapes if name.endswith(("ffn_up_exps.weight", "attn_v_b.weight"))]
    TinyAdapter.of(base, names).write(tmp_path / "a.gguf")
    placed = place(read_adapter(tmp_path / "a.gguf", sites), sites)
    assert len(placed) == len(names) > 2
    assert all(one.matrix.stack == one.pair.b.shape[0] > 1 for one in placed)
