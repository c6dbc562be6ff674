"""Embedders and a ranker for haystack's pipelines."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from haystack import Document, component, default_from_dict, default_to_dict

from oxillama.engine import Engine


class _Component:
    """A component over an engine: one that is open, or a file that is opened when a pipeline warms up.

    Only a component that names a file can be stored with a pipeline. options: those of Engine, for a file."""

    def __init__(self, model: str | Engine, options: dict[str, Any]) -> None:
        self.model = model
        self.options = options
        self._engine = model if isinstance(model, Engine) else None

    def warm_up(self) -> None:
        self._opened()

    def _opened(self) -> Engine:
        if self._engine is None:
            self._engine = Engine(str(self.model), **self.options)
        return self._engine

    def _stored(self, **settings: Any) -> dict[str, Any]:
        if isinstance(self.model, Engine):
            raise ValueError("the component was made with an engine that was open: name a file to store it")
        return default_to_dict(self, model=str(self.model), **settings, **self.options)


@component
class OxillamaTextEmbedder(_Component):
    """The vector of a query. prefix: what the model expects before it."""

    def __init__(self, model: str | Engine, *, prefix: str = "", **options: Any) -> None:
        _Component.__init__(self, model, options)  # haystack makes another class of this one, which super() misses
        self.prefix = prefix

    @component.output_types(embedding=list[float])
    def run(self, text: str) -> dict[str, Any]:
        return {"embedding": self._opened().embed([text], prefix=self.prefix, truncate=True)[0].tolist()}

    @component.output_types(embedding=list[float])
    async def run_async(self, text: str) -> dict[str, Any]:
        return {"embedding": (await self._opened().aembed([text], prefix=self.prefix, truncate=True))[0].tolist()}

    def to_dict(self) -> dict[str, Any]:
        return self._stored(prefix=self.prefix)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> OxillamaTextEmbedder:
        return default_from_dict(cls, data)


@component
class OxillamaDocumentEmbedder(_Component):
    """Documents with their vectors. prefix: what the model expects before each. meta_fields: what of the metadata is
    read before the content, a line for each."""

    def __init__(
        self, model: str | Engine, *, prefix: str = "", meta_fields: list[str] | None = None, **options: Any
    ) -> None:
        _Component.__init__(self, model, options)  # haystack makes another class of this one, which super() misses
        self.prefix = prefix
        self.meta_fields = list(meta_fields or [])

    @component.output_types(documents=list[Document])
    def run(self, documents: list[Document]) -> dict[str, Any]:
        if not documents:
            return {"documents": []}
        rows = self._opened().embed(self._texts(documents), prefix=self.prefix, truncate=True)
        return {"documents": _with_vectors(documents, rows.tolist())}

    @component.output_types(documents=list[Document])
    async def run_async(self, documents: list[Document]) -> dict[str, Any]:
        if not documents:
            return {"documents": []}
        rows = await self._opened().aembed(self._texts(documents), prefix=self.prefix, truncate=True)
        return {"documents": _with_vectors(documents, rows.tolist())}

    def _texts(self, documents: list[Document]) -> list[str]:
        return [_text(document, self.meta_fields) for document in documents]

    def to_dict(self) -> dict[str, Any]:
        return self._stored(prefix=self.prefix, meta_fields=self.meta_fields)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> OxillamaDocumentEmbedder:
        return default_from_dict(cls, data)


@component
class OxillamaRanker(_Component):
    """The documents that answer a query best, with the reranker's scores. top_k: how many; None: all."""

    def __init__(
        self, model: str | Engine, *, top_k: int | None = 10, meta_fields: list[str] | None = None, **options: Any
    ) -> None:
        _Component.__init__(self, model, options)  # haystack makes another class of this one, which super() misses
        self.top_k = top_k
        self.meta_fields = list(meta_fields or [])

    @component.output_types(documents=list[Document])
    def run(self, query: str, documents: list[Document], top_k: int | None = None) -> dict[str, Any]:
        if not documents:
            return {"documents": []}
        scores = self._opened().rerank(query, self._texts(documents), truncate=True)
        return {"documents": self._best(documents, scores.tolist(), top_k)}

    @component.output_types(documents=list[Document])
    async def run_async(self, query: str, documents: list[Document], top_k: int | None = None) -> dict[str, Any]:
        if not documents:
            return {"documents": []}
        scores = await self._opened().arerank(query, self._texts(documents), truncate=True)
        return {"documents": self._best(documents, scores.tolist(), top_k)}

    def _texts(self, documents: list[Document]) -> list[str]:
        return [_text(document, self.meta_fields) for document in documents]

    def _best(self, documents: list[Document], scores: list[float], top_k: int | None) -> list[Document]:
        best = sorted(range(len(documents)), key=lambda place: -scores[place])
        most = self.top_k if top_k is None else top_k
        return [replace(documents[place], score=scores[place]) for place in best[:most]]

    def to_dict(self) -> dict[str, Any]:
        return self._stored(top_k=self.top_k, meta_fields=self.meta_fields)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> OxillamaRanker:
        return default_from_dict(cls, data)


def _text(document: Document, meta_fields: list[str]) -> str:
    lines = [str(document.meta[name]) for name in meta_fields if document.meta.get(name) is not None]
    return "\n".join([*lines, document.content or ""])


def _with_vectors(documents: list[Document], rows: list[list[float]]) -> list[Document]:
    return [replace(document, embedding=row) for document, row in zip(documents, rows, strict=True)]
