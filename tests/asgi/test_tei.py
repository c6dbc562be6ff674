"""What text-embeddings-inference's clients send: vectors as plain lists, scores between 0 and 1, the best first."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from oxillama import Engine
from oxillama.asgi import Limits, create_app
from tests.asgi.replies import error_of
from tests.tiny_encoder import TinyEncoder

QUERY = "who had a hat ?"
TEXTS = ["sea", "the bear had a hat .", "a fox ran far", "the bear"]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    path: Path = tmp_path_factory.mktemp("tei") / "both.gguf"
    TinyEncoder(labels=1, has_pooler=True, metadata={"bert.pooling_type": 1, "general.name": "e5-tiny"}).write(path)
    with Engine(path, n_threads=1, max_batch_size=3, progress=False) as engine:
        yield engine


@pytest.fixture(scope="module")
def tei(engine: Engine) -> TestClient:
    return TestClient(create_app(engine, limits=Limits(max_inputs=8)), raise_server_exceptions=False)


def test_embed(tei: TestClient, engine: Engine) -> None:
    assert tei.post("/embed", json={"inputs": TEXTS}).json() == engine.embed(TEXTS).tolist()
    assert tei.post("/embed", json={"inputs": "sea"}).json() == engine.embed("sea").tolist()
    ids = engine.tokenize("sea")
    assert tei.post("/embed", json={"inputs": [ids, ids]}).json() == engine.embed([ids, ids]).tolist()
    body = {"inputs": "sea", "normalize": False, "dimensions": 5, "truncation_direction": "Right"}
    assert tei.post("/embed", json=body).json() == engine.embed("sea", normalize=False, dimensions=5).tolist()
    named = tei.post("/embed", json={"inputs": "sea", "prompt_name": "query"}).json()
    assert named == engine.embed("query: sea").tolist()


def test_a_long_text_is_refused_or_cut(tei: TestClient, engine: Engine) -> None:
    long = "fox " * 500
    error = error_of(tei.post("/embed", json={"inputs": ["fox", long]}), 400)
    assert (error["code"], error["param"]) == ("context_length_exceeded", "inputs[1]")
    cut = tei.post("/embed", json={"inputs": long, "truncate": True}).json()
    whole = engine.tokenize("fox " * (engine.n_ctx - 2))
    assert len(whole) == engine.n_ctx
    np.testing.assert_array_equal(np.array(cut, np.float32), engine.embed([whole]))


def test_rerank(tei: TestClient, engine: Engine) -> None:
    scores = engine.rerank(QUERY, TEXTS)
    best = [int(index) for index in (-scores).argsort()]
    found = tei.post("/rerank", json={"query": QUERY, "texts": TEXTS}).json()
    assert [result["index"] for result in found] == best
    for result in found:
        assert result["score"] == pytest.approx(1 / (1 + math.exp(-scores[result["index"]])))
    raw = tei.post("/rerank", json={"query": QUERY, "texts": TEXTS, "raw_scores": True, "return_text": True}).json()
    assert [(result["score"], result["text"]) for result in raw] == [(float(scores[i]), TEXTS[i]) for i in best]


def test_the_same_route_has_jina_s_shape_for_documents(tei: TestClient) -> None:
    found = tei.post("/rerank", json={"query": QUERY, "documents": TEXTS, "top_n": 2}).json()
    assert len(found["results"]) == 2
    assert (
        found["results"]
        == tei.post("/v1/rerank", json={"query": QUERY, "documents": TEXTS, "top_n": 2}).json()["results"]
    )


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/embed", {}, "inputs"),
        ("/embed", {"inputs": []}, "inputs"),
        ("/embed", {"inputs": ["a"] * 9}, "inputs"),
        ("/embed", {"inputs": ["a", 3]}, "inputs[1]"),
        ("/embed", {"inputs": "a", "dimensions": 0}, "dimensions"),
        ("/embed", {"inputs": "a", "prompt_name": "poem"}, "prompt_name"),
        ("/embed", {"inputs": "a", "truncation_direction": "Left"}, "truncation_direction"),
        ("/embed", {"inputs": "a", "colour": 1}, "colour"),
        ("/rerank", {"query": "a"}, "texts"),
        ("/rerank", {"query": "a", "texts": ["b"], "documents": ["b"]}, "texts"),
        ("/rerank", {"query": "a", "texts": ["b"] * 9}, "texts"),
        ("/rerank", {"query": "a", "texts": ["b", "fox " * 500]}, "texts[1]"),
        ("/rerank", {"texts": ["b"]}, "query"),
    ],
)
def test_what_is_wrong_is_named(tei: TestClient, path: str, body: dict[str, Any], param: str) -> None:
    assert error_of(tei.post(path, json=body), 400)["param"] == param


def test_no_model_gives_sparse_vectors(tei: TestClient) -> None:
    assert error_of(tei.post("/embed_sparse", json={"inputs": "a"}), 501)["code"] == "not_supported"
