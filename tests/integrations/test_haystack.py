"""haystack's pipelines with embedders and a ranker over engines in this process."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("haystack", reason="`make test-clients` installs haystack")

from haystack import Document, Pipeline
from haystack.components.retrievers.in_memory import InMemoryEmbeddingRetriever
from haystack.document_stores.in_memory import InMemoryDocumentStore

from oxillama import Engine
from oxillama.integrations.haystack import OxillamaDocumentEmbedder, OxillamaRanker, OxillamaTextEmbedder
from tests.integrations.shown import shows
from tests.integrations.texts import QUERY, TEXTS
from tests.tiny_encoder import TinyEncoder

pytestmark = pytest.mark.clients

DOCUMENTS = [Document(content=text, meta={"title": f"Number {place}"}) for place, text in enumerate(TEXTS)]


@pytest.fixture(scope="module")
def embedder_path(tmp_path_factory: pytest.TempPathFactory) -> str:
    path: Path = tmp_path_factory.mktemp("models") / "embedder.gguf"
    TinyEncoder().write(path)
    return str(path)


@pytest.fixture(scope="module")
def embedder(embedder_path: str) -> Iterator[Engine]:
    with Engine(embedder_path, n_threads=1, progress=False) as engine:
        yield engine


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    path = tmp_path_factory.mktemp("models") / "judge.gguf"
    TinyEncoder(labels=1, has_pooler=True).write(path)
    with Engine(path, n_threads=1, progress=False) as engine:
        yield engine


@shows("haystack", "sync", "embeddings", "reranking")
def test_a_pipeline_finds_and_ranks_what_the_engines_do(embedder: Engine, judge: Engine) -> None:
    store = InMemoryDocumentStore(embedding_similarity_function="cosine")
    store.write_documents(OxillamaDocumentEmbedder(embedder).run(documents=DOCUMENTS)["documents"])
    pipeline = Pipeline()
    pipeline.add_component("query", OxillamaTextEmbedder(embedder))
    pipeline.add_component("found", InMemoryEmbeddingRetriever(store, top_k=3))
    pipeline.add_component("ranked", OxillamaRanker(judge, top_k=2))
    pipeline.connect("query.embedding", "found.query_embedding")
    pipeline.connect("found.documents", "ranked.documents")
    outcome = pipeline.run({"query": {"text": QUERY}, "ranked": {"query": QUERY}}, include_outputs_from={"found"})
    nearest = np.argsort(-(embedder.embed(TEXTS) @ embedder.embed(QUERY)[0]))
    assert [found.content for found in outcome["found"]["documents"]] == [TEXTS[place] for place in nearest]
    scores = judge.rerank(QUERY, TEXTS).tolist()
    assert [found.score for found in outcome["ranked"]["documents"]] == sorted(scores, reverse=True)[:2]


@shows("haystack", "async", "embeddings", "reranking")
def test_the_same_in_an_event_loop(embedder: Engine, judge: Engine) -> None:
    async def main() -> None:
        pipeline = Pipeline()
        pipeline.add_component("query", OxillamaTextEmbedder(embedder))
        outcome = await pipeline.run_async({"query": {"text": QUERY}})
        assert outcome["query"]["embedding"] == embedder.embed(QUERY)[0].tolist()
        embedded = (await OxillamaDocumentEmbedder(embedder).run_async(documents=DOCUMENTS))["documents"]
        assert [each.embedding for each in embedded] == embedder.embed(TEXTS).tolist()
        ranked = (await OxillamaRanker(judge).run_async(query=QUERY, documents=DOCUMENTS, top_k=1))["documents"]
        assert [each.score for each in ranked] == [float(judge.rerank(QUERY, TEXTS).max())]

    asyncio.run(main())


def test_prefixes_and_metadata_are_read_before_the_text(embedder: Engine) -> None:
    (found, *_) = OxillamaDocumentEmbedder(embedder, prefix="far ", meta_fields=["title"]).run(documents=DOCUMENTS)[
        "documents"
    ]
    assert found.embedding == embedder.embed([f"Number 0\n{TEXTS[0]}"], prefix="far ")[0].tolist()
    assert OxillamaDocumentEmbedder(embedder).run(documents=[]) == {"documents": []}


def test_a_component_over_a_file_is_stored_with_its_pipeline(embedder: Engine, embedder_path: str) -> None:
    pipeline = Pipeline()
    pipeline.add_component("query", OxillamaTextEmbedder(embedder_path, prefix="far ", n_threads=1, progress=False))
    again = Pipeline.loads(pipeline.dumps(), allowed_modules=["oxillama.integrations.haystack"])
    outcome = again.run({"query": {"text": QUERY}})
    assert outcome["query"]["embedding"] == embedder.embed([QUERY], prefix="far ")[0].tolist()
    with pytest.raises(ValueError, match="name a file"):
        OxillamaRanker(embedder).to_dict()
