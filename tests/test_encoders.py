"""Networks that read and do not write, against recorded results of torch and llama.cpp; tolerances as in the fixtures'
README."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from oxillama import Engine
from tests.conftest import fixtures_folder

# References made with GELU, which llama.cpp reads from a table of 16-bit numbers, and some of torch's with tanh.
WITHOUT_GELU = ("nomic-bert", "eurobert", "neo-bert", "qwen3-reranker")


def recorded_encoders() -> list[str]:
    found = []
    for path in sorted((fixtures_folder() / "arch").glob("*.json")):
        if json.loads(path.read_text()).get("kind") == "embedding":
            found.append(path.stem)
    return found


def read(path: Path) -> Any:
    return json.loads(path.read_text())


@pytest.mark.parametrize("name", recorded_encoders())
def test_encoder(fixtures_dir: Path, name: str) -> None:
    recorded = read(fixtures_dir / "arch" / f"{name}.json")
    arrays = np.load(fixtures_dir / "arch" / f"{name}.npz")
    truth = "torch" if "p0_torch_none" in arrays else "lcpp_f32"
    tolerance = 1e-3 if name in WITHOUT_GELU else 5e-3
    with Engine(fixtures_dir / "arch" / f"{name}.gguf", kv_dtype="f32", kv_cache_tokens=1024, progress=False) as engine:
        for k, case in enumerate(recorded["cases"]):
            if "text" in case:
                assert engine.tokenize(case["text"]) == case["ids"], case["text"]
            for pooling in recorded["poolings"]:
                found = engine.submit_embedding(case["ids"], pooling=pooling, normalize=False).result()
                expected = arrays[f"p{k}_{truth}_{pooling}"]
                assert found.shape == expected.shape
                assert np.abs(found - expected).max() <= tolerance, (k, pooling)


@pytest.mark.parametrize("name", recorded_encoders())
def test_tokenizer_of_an_encoder(fixtures_dir: Path, name: str) -> None:
    recorded = read(fixtures_dir / "arch" / f"{name}.json")
    with Engine(fixtures_dir / "arch" / f"{name}.gguf", kv_cache_tokens=64, n_ctx=64, progress=False) as engine:
        for text in recorded["tokenize"]:
            assert engine.tokenize(text["text"], parse_special=True) == text["special"], text["text"]
            assert engine.tokenize(text["text"], add_special=False) == text["plain"], text["text"]


@pytest.mark.parametrize("name", recorded_encoders())
def test_company_and_threads_change_no_bit(fixtures_dir: Path, name: str) -> None:
    recorded = read(fixtures_dir / "arch" / f"{name}.json")
    path = fixtures_dir / "arch" / f"{name}.gguf"
    inputs = [(case["ids"], pooling) for case in recorded["cases"] for pooling in recorded["poolings"]]
    with Engine(path, n_threads=1, max_batch_size=1, kv_cache_tokens=1024, progress=False) as engine:
        alone = [engine.submit_embedding(ids, pooling=pooling).result() for ids, pooling in inputs]
    for n_threads in (1, 2):
        with Engine(path, n_threads=n_threads, kv_cache_tokens=1024, progress=False) as engine:
            # The same twice, in another order, so that each has other neighbours.
            order = [*range(len(inputs)), *np.random.default_rng(n_threads).permutation(len(inputs)).tolist()]
            handles = [
                engine.submit_embedding(inputs[place][0], pooling=inputs[place][1], queue_timeout=None)
                for place in order
            ]
            for place, handle in zip(order, handles, strict=True):
                found = handle.result()
                np.testing.assert_array_equal(found.view(np.uint32), alone[place].view(np.uint32))


def test_minilm(fixtures_dir: Path) -> None:
    recorded = read(fixtures_dir / "embed" / "minilm.json")
    expected = np.load(fixtures_dir / "embed" / "minilm.npz")["torch_mean"]
    expected = expected / np.linalg.norm(expected, axis=1, keepdims=True)
    with Engine(fixtures_dir / "embed" / "all-MiniLM-L6-v2-Q8_0.gguf", progress=False) as engine:
        texts = [row["text"] for row in recorded["rows"]]
        assert [engine.tokenize(text) for text in texts] == [row["ids_lcpp"] for row in recorded["rows"]]
        found = engine.embed(texts)
    cosines = (found * expected).sum(axis=1)
    assert cosines.min() >= 0.999
    assert np.median(cosines) >= 0.9998
    # Which texts are nearest to which; far from a text, where nobody looks, two may be as near as rounding of weights.
    order, true_order = (np.argsort(-(rows @ rows.T), axis=1) for rows in (found, expected))
    np.testing.assert_array_equal(order[:, :4], true_order[:, :4])
    closeness = expected @ expected.T
    swapped = np.take_along_axis(closeness, order, 1) - np.take_along_axis(closeness, true_order, 1)
    assert np.abs(swapped).max() < 0.01
