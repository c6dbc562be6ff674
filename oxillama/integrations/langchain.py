"""Embeddings and a document compressor for langchain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_core.callbacks import Callbacks
from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.embeddings import Embeddings
from pydantic import ConfigDict

from oxillama.engine import Engine


class OxillamaEmbeddings(Embeddings):
    """Vectors of documents and queries. query_prefix, document_prefix: what the model expects before them."""

    def __init__(self, engine: Engine, *, query_prefix: str = "", document_prefix: str = "") -> None:
        self.engine = engine
        self._query: dict[str, Any] = {"prefix": query_prefix, "truncate": True}
        self._document: dict[str, Any] = {"prefix": document_prefix, "truncate": True}

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return self.engine.embed(texts, **self._document).tolist()

    def embed_query(self, text: str) -> list[float]:
        return self.engine.embed([text], **self._query)[0].tolist()

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        return (await self.engine.aembed(texts, **self._document)).tolist()

    async def aembed_query(self, text: str) -> list[float]:
        return (await self.engine.aembed([text], **self._query))[0].tolist()


class OxillamaRerank(BaseDocumentCompressor):
    """Keeps the documents that answer a query best, with `relevance_score` in their metadata."""

    model_config: ConfigDict = ConfigDict(arbitrary_types_allowed=True)

    engine: Engine
    top_n: int | None = 3

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> Sequence[Document]:
        scores = self.engine.rerank(query, [document.page_content for document in documents], truncate=True)
        return self._best(documents, scores.tolist())

    async def acompress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> Sequence[Document]:
        scores = await self.engine.arerank(query, [document.page_content for document in documents], truncate=True)
        return self._best(documents, scores.tolist())

    def _best(self, documents: Sequence[Document], scores: list[float]) -> list[Document]:
        best = sorted(range(len(documents)), key=lambda index: -scores[index])[: self.top_n]
        return [
            documents[index].model_copy(
                update={"metadata": {**documents[index].metadata, "relevance_score": scores[index]}}
            )
            for index in best
        ]
