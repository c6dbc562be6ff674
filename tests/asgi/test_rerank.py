"""Reranking over HTTP: the engine's own scores, the best first, in the shapes that clients expect."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from oxillama import Engine
from oxillama.asgi import Limits, create_app
from tests.asgi.replies import error_of
from tests.tiny_encoder import TinyEncoder

QUERY = "who had a hat ?"
DOCUMENTS = ["sea", "the bear had a hat .", "a fox ran far", "the bear"]


@pytest.fixture(scope="module")
def ranker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    path: Path = tmp_path_factory.mktemp("ranker") / "ranker.gguf"
    TinyEncoder(labels=1, has_pooler=True).write(path)
    with Engine(path, n_threads=1, max_batch_size=3, progress=False) as engine:
        yield engine


@pytest.fixture(scope="module")
def ranking(ranker: Engine) -> TestClient:
    return TestClient(create_app(ranker))


@pytest.mark.parametrize(("path", "version"), [("/v1/rerank", "1"), ("/v2/rerank", "2")])
def test_the_best_come_first(ranking: TestClient, ranker: Engine, path: str, version: str) -> None:
    reply = ranking.post(path, json={"model": "ranker", "query": QUERY, "documents": DOCUMENTS})
    assert reply.status_code == 200, reply.text
    content = reply.json()
    scores = ranker.rerank(QUERY, DOCUMENTS)
    assert [result["index"] for result in content["results"]] == list((-scores).argsort())
    assert [result["relevance_score"] for result in content["results"]] == sorted(map(float, scores), reverse=True)
    assert all("document" not in result for result in content["results"])
    assert content["model"] == "ranker"
    assert content["usage"]["total_tokens"] == content["meta"]["tokens"]["input_tokens"] > 0
    assert content["meta"]["api_version"] == {"version": version}


def test_fewer_of_them_and_their_texts(ranking: TestClient) -> None:
    documents = [{"text": text} for text in DOCUMENTS]
    body = {"query": QUERY, "documents": documents, "top_n": 2, "return_documents": True}
    results = ranking.post("/v1/rerank", json=body).json()["results"]
    assert len(results) == 2
    assert all(result["document"] == {"text": DOCUMENTS[result["index"]]} for result in results)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"documents": ["a"]}, "query"),
        ({"query": "a"}, "documents"),
        ({"query": "a", "documents": []}, "documents"),
        ({"query": "a", "documents": [1]}, "documents[0]"),
        ({"query": "a", "documents": [{"text": "a", "more": 1}]}, "documents[0].more"),
        ({"query": "a", "documents": ["a"], "top_n": 0}, "top_n"),
        ({"query": "a", "documents": ["a"], "nope": 1}, "nope"),
        ({"query": "a", "documents": ["a", "fox " * 500]}, "documents[1]"),
        ({"query": "a", "documents": ["a"] * 9}, "documents"),
    ],
)
def test_what_is_wrong_is_named(ranker: Engine, body: dict[str, Any], param: str) -> None:
    client = TestClient(create_app(ranker, limits=Limits(max_inputs=8)))
    assert error_of(client.post("/v2/rerank", json=body), 400)["param"] == param


def test_long_documents_are_cut_when_asked(ranking: TestClient) -> None:
    body = {"query": QUERY, "documents": ["fox " * 500], "truncate": True}
    assert ranking.post("/v1/rerank", json=body).json()["usage"]["prompt_tokens"] == 256


def test_a_request_to_the_wrong_kind_of_model(ranking: TestClient, client: TestClient) -> None:
    refused = error_of(client.post("/v1/rerank", json={"query": "a", "documents": ["b"]}), 400)
    assert "does not rank documents" in refused["message"]
    body: dict[str, Any] = {"messages": [{"role": "user", "content": "the fox"}]}
    refused = error_of(ranking.post("/v1/chat/completions", json=body), 400)
    assert "does not generate text" in refused["message"]
    assert error_of(ranking.post("/v1/completions", json={"prompt": "the fox"}), 400)["param"] == "model"
