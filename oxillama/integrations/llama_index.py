"""Embeddings and a postprocessor that reranks nodes, for llama-index."""

from __future__ import annotations

from typing import Any

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import MetadataMode, NodeWithScore, QueryBundle

from oxillama.engine import Engine


class OxillamaEmbedding(BaseEmbedding):
    """Vectors of texts and queries. query_prefix, text_prefix: what the model expects before them."""

    query_prefix: str = ""
    text_prefix: str = ""
    _engine: Engine = PrivateAttr()

    def __init__(self, engine: Engine, **options: Any) -> None:
        super().__init__(model_name=engine.name, **options)
        self._engine = engine

    @classmethod
    def class_name(cls) -> str:
        return "OxillamaEmbedding"

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._engine.embed([query], prefix=self.query_prefix, truncate=True)[0].tolist()

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return (await self._engine.aembed([query], prefix=self.query_prefix, truncate=True))[0].tolist()

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return self._engine.embed(texts, prefix=self.text_prefix, truncate=True).tolist()

    async def _aget_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return (await self._engine.aembed(texts, prefix=self.text_prefix, truncate=True)).tolist()


class OxillamaRerank(BaseNodePostprocessor):
    """Keeps the nodes that answer the query best, with the reranker's scores."""

    top_n: int = 3
    _engine: Engine = PrivateAttr()

    def __init__(self, engine: Engine, **options: Any) -> None:
        super().__init__(**options)
        self._engine = engine

    @classmethod
    def class_name(cls) -> str:
        return "OxillamaRerank"

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        if query_bundle is None or not nodes:
            return nodes
        texts = [each.node.get_content(metadata_mode=MetadataMode.EMBED) for each in nodes]
        scores = self._engine.rerank(query_bundle.query_str, texts, truncate=True).tolist()
        best = sorted(range(len(nodes)), key=lambda index: -scores[index])[: self.top_n]
        return [NodeWithScore(node=nodes[index].node, score=scores[index]) for index in best]
