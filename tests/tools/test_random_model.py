from pathlib import Path

import numpy as np
import pytest

from oxillama import Engine
from oxillama.gguf import GGUFFile
from oxillama.quantize import dequantize
from oxillama.testing.random_blocks import FORMATS
from tools.demo_model.q8_0 import dequantise
from tools.random_model import (
    DEVIATION,
    FILE_TYPES,
    has_more_bits,
    tensor_type,
    vocabulary,
    write_model,
)
from tools.random_shapes import SHAPES, tensor_shapes

TINY = [name for name in SHAPES if name.endswith("-tiny")]


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize("file_type", FILE_TYPES)
def test_a_written_model_has_the_planned_tensors(tmp_path: Path, name: str, file_type: str) -> None:
    path = tmp_path / "model.gguf"
    write_model(path, name, file_type)
    shape = SHAPES[name]
    with GGUFFile(path) as file:
        assert file.metadata["general.file_type"] == FILE_TYPES[file_type][1]
        assert len(file.metadata["tokenizer.ggml.tokens"]) == shape.vocab_size
        found = {name: (tuple(info.shape), info.type_name) for name, info in file.tensors.items()}
    assert found == {name: (size[::-1], tensor_type(name, file_type, shape)) for name, size in tensor_shapes(shape)}


@pytest.mark.parametrize("name", TINY)
def test_each_family_runs(tmp_path: Path, name: str) -> None:
    path = tmp_path / "model.gguf"
    write_model(path, name, "MXFP4")
    with Engine(path, progress=False) as engine:
        assert len(engine.generate([5, 6, 7], max_tokens=4, temperature=0, ignore_eos=True).token_ids) == 4


def test_the_seed_decides_the_file(tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        write_model(tmp_path / name, "llama-tiny", "Q4_K_M", seed=seed, block_count=1)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert (tmp_path / "a").read_bytes() != (tmp_path / "c").read_bytes()


@pytest.mark.parametrize("type_name", FORMATS)
def test_blocks_have_their_size(type_name: str) -> None:
    row = FORMATS[type_name]
    blocks = row.fill(np.random.default_rng(0), 7, DEVIATION)
    assert blocks.dtype == np.uint8
    assert blocks.shape == (7, row.block_bytes)


def test_q8_0_weights_have_the_asked_deviation() -> None:
    weights = dequantise(FORMATS["Q8_0"].fill(np.random.default_rng(0), 4000, DEVIATION).reshape(4000, -1))
    assert abs(weights.mean()) < 0.02 * DEVIATION
    assert weights.std() == pytest.approx(DEVIATION, rel=0.1)


@pytest.mark.parametrize("type_name", [name for name in FORMATS if name != "F32"])
def test_weights_have_the_asked_deviation_for_the_gguf_package(type_name: str) -> None:
    quants = pytest.importorskip("gguf.quants", reason="the gguf package decodes the blocks")
    from gguf import GGMLQuantizationType

    row = FORMATS[type_name]
    packed = row.fill(np.random.default_rng(0), 2000 if row.block_size > 1 else 100_000, DEVIATION)
    packed = packed.view(np.float16) if type_name == "F16" else packed
    if type_name in ("Q1_0", "Q2_0"):  # not in the package
        weights = dequantize(type_name, packed, packed.shape[0] * row.block_size)
    else:
        weights = quants.dequantize(packed, GGMLQuantizationType[type_name])
    assert np.isfinite(weights).all()
    assert abs(weights.mean()) < 0.02 * DEVIATION
    assert weights.std() == pytest.approx(DEVIATION, rel=0.1)


def test_the_mixture_of_llama_cpp() -> None:
    shape = SHAPES["llama-1b"]
    better = [block for block in range(16) if tensor_type(f"blk.{block}.ffn_down.weight", "Q4_K_M", shape) == "Q6_K"]
    assert better == [0, 1, 4, 7, 10, 13, 14, 15]
    assert sum(has_more_bits(block, 32) for block in range(32)) == 16
    assert tensor_type("token_embd.weight", "Q4_0", shape) == "Q6_K"
    assert tensor_type("token_embd.weight", "Q4_K_M", SHAPES["llama-8b"]) == "Q4_K"
    assert tensor_type("output.weight", "Q4_K_M", SHAPES["llama-8b"]) == "Q6_K"


def test_the_vocabulary_has_no_token_twice() -> None:
    tokens, types, merges = vocabulary(SHAPES["qwen3-0.6b"].vocab_size)
    assert len(tokens) == len(set(tokens)) == len(types) == 151936
    assert all(merge.replace(" ", "") in tokens[:300] for merge in merges)


def test_the_1b_shape_has_the_known_size() -> None:
    assert sum(int(np.prod(size)) for _, size in tensor_shapes(SHAPES["llama-1b"])) == 1_235_814_400
