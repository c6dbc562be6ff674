from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from oxillama.adapters.reading import read_adapter
from oxillama.errors import AdapterError
from oxillama.gguf_writer import GGUFWriter
from oxillama.network.sites import Sites
from oxillama.testing.tiny_adapters import TinyAdapter
from oxillama.testing.tiny_models import TinyModel

SHAPES = {"blk.0.attn_q.weight": (64, 64), "blk.1.ffn_down.weight": (96, 64)}
SITES = Sites([], {}, "llama", {})
HEAD = {"general.type": "adapter", "general.architecture": "llama", "adapter.type": "lora"}


def write(path: Path, head: dict[str, Any], tensors: dict[str, np.ndarray[Any, Any]]) -> Path:
    with GGUFWriter(path) as writer:
        for key, value in head.items():
            writer.add(key, value)
        for name, values in tensors.items():
            writer.add_tensor(name, values)
    return path


def test_pairs_are_read(tmp_path: Path) -> None:
    tiny = TinyAdapter("llama", SHAPES, rank=4, alpha=6.0, others={"adapter.lora.task_name": "passage"})
    tiny.write(tmp_path / "a.gguf")
    found = read_adapter(tmp_path / "a.gguf", SITES)
    assert (found.architecture, found.rank, found.task_name, found.prompt_prefix) == ("llama", 4, "passage", "")
    assert set(found.pairs) == set(SHAPES)
    pair = found.pairs["blk.1.ffn_down.weight"]
    assert (pair.rank, pair.gain) == (4, 1.5)
    for factor, expected in zip((pair.a, pair.b), tiny.pair("blk.1.ffn_down.weight"), strict=True):
        np.testing.assert_array_equal(factor.values(), expected)


@pytest.mark.parametrize("alpha", [None, 0.0])
def test_without_an_alpha_the_factor_is_one(alpha: float | None, tmp_path: Path) -> None:
    head = HEAD if alpha is None else {**HEAD, "adapter.lora.alpha": alpha}
    a, b = np.ones((2, 64), np.float32), np.ones((64, 2), np.float32)
    path = write(tmp_path / "a.gguf", head, {"blk.0.attn_q.weight.lora_a": a, "blk.0.attn_q.weight.lora_b": b})
    assert read_adapter(path, SITES).pairs["blk.0.attn_q.weight"].gain == 1.0


def test_other_types_become_float32_exactly(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    quants = rng.integers(-127, 128, (4, 2, 32)).astype(np.int8)
    blocks = b"".join(np.float16(0.25).tobytes() + row.tobytes() for row in quants.reshape(-1, 32))
    half = rng.standard_normal((64, 4)).astype(np.float32)
    rounded = (half.view(np.uint32) >> 16).astype(np.uint16)
    with GGUFWriter(tmp_path / "a.gguf") as writer:
        for key, value in HEAD.items():
            writer.add(key, value)
        writer.add_tensor("w.weight.lora_a", blocks, shape=(64, 4), type_name="Q8_0")
        writer.add_tensor("w.weight.lora_b", rounded, shape=(4, 64), type_name="BF16")
        writer.add_tensor("blk.0.attn_norm.weight", np.ones(64, np.float32))  # ignored, as elsewhere
    pair = read_adapter(tmp_path / "a.gguf", SITES).pairs["w.weight"]
    np.testing.assert_array_equal(pair.a.values(), quants.reshape(4, 64) * np.float32(0.25))
    np.testing.assert_array_equal(pair.b.values(), (rounded.astype(np.uint32) << 16).view(np.float32))


A, B = np.ones((4, 64), np.float32), np.ones((64, 4), np.float32)


@pytest.mark.parametrize(
    ("head", "tensors", "message"),
    [
        ({**HEAD, "general.type": "model"}, {}, "general.type"),
        ({**HEAD, "adapter.type": "ia3"}, {}, "adapter.type is 'ia3'"),
        ({**HEAD, "general.architecture": 7}, {"w.lora_a": A, "w.lora_b": B}, "general.architecture"),
        ({**HEAD, "adapter.lora.alpha": "2"}, {"w.lora_a": A, "w.lora_b": B}, "adapter.lora.alpha"),
        ({**HEAD, "adapter.lora.alpha": float("nan")}, {"w.lora_a": A, "w.lora_b": B}, "adapter.lora.alpha"),
        ({**HEAD, "adapter.lora.alpha": 3e38}, {"w.lora_a": A, "w.lora_b": B}, "a finite number below"),
        (
            {**HEAD, "adapter.alora.invocation_tokens": np.array([1, 2], np.uint32)},
            {"w.lora_a": A, "w.lora_b": B},
            "activated LoRA",
        ),
        (HEAD, {}, "no tensors"),
        (HEAD, {"w.weight.lora_a": A}, "'w.weight.lora_b' is missing"),
        (HEAD, {"w.weight.lora_b": B}, "'w.weight.lora_a' is missing"),
        (HEAD, {"w.weight": B}, "'w.weight' is no half"),
        (HEAD, {"w.weight.lora_a": A, "w.weight.lora_b": B[:, :3].copy()}, "do not agree about their rank"),
        (HEAD, {"w.weight.lora_a": np.ones((2, 4, 64), np.float32), "w.weight.lora_b": B}, "about their number"),
        (HEAD, {"w.weight.lora_a": np.ones((2, 2, 4, 8), np.float32), "w.weight.lora_b": B}, "4 dimensions"),
        (HEAD, {"w.weight.lora_a": np.ones((4, 64), np.int32), "w.weight.lora_b": B}, "type I32"),
    ],
)
def test_faults_are_named(
    head: dict[str, Any], tensors: dict[str, np.ndarray[Any, Any]], message: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "a.gguf", head, tensors)
    with pytest.raises(AdapterError, match=message):
        read_adapter(path, SITES)


def test_values_that_are_no_numbers_are_named(tmp_path: Path) -> None:
    spoiled = B.copy()
    spoiled[3, 1] = np.inf
    path = write(tmp_path / "a.gguf", HEAD, {"w.weight.lora_a": A, "w.weight.lora_b": spoiled})
    pair = read_adapter(path, SITES).pairs["w.weight"]
    pair.a.values()
    with pytest.raises(AdapterError, match=r"'w\.weight\.lora_b' has values that are not finite"):
        pair.b.values()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda raw: raw[:100],
        lambda raw: raw[:-40],
        lambda raw: b"PK\x03\x04" + raw[4:],
        lambda raw: b"",
        lambda raw: raw[:8] + b"\xff" * 16 + raw[24:],
    ],
)
def test_damaged_files_are_refused(spoil: Callable[[bytes], bytes], tmp_path: Path) -> None:
    path = tmp_path / "a.gguf"
    TinyAdapter("llama", SHAPES).write(path)
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(AdapterError):
        read_adapter(path, SITES)


def test_what_is_no_adapter_is_refused(tmp_path: Path) -> None:
    TinyModel().write(tmp_path / "model.gguf")
    for path in (tmp_path / "model.gguf", tmp_path / "nothing.gguf", tmp_path):
        with pytest.raises(AdapterError):
            read_adapter(path, SITES)
