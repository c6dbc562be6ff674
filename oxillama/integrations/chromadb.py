"""An embedding function for chromadb's collections."""

from __future__ import annotations

from typing import Any

import numpy as np
from chromadb.api.types import Documents, EmbeddingFunction, Embeddings

from oxillama.engine import Engine
from oxillama.sentences import SentenceEncoder


class OxillamaEmbeddingFunction(EmbeddingFunction[Documents]):
    """`client.create_collection(..., embedding_function=OxillamaEmbeddingFunction("model.gguf"))`.

    model: a GGUF file, which a stored collection can open again, or an Engine."""

    def __init__(self, model: str | Engine, **options: Any) -> None:
        self._encoder = SentenceEncoder(model, **options)
        self._path = None if isinstance(model, Engine) else str(model)
        self._options = options

    def __call__(self, input: Documents) -> Embeddings:  # noqa: A002  # chromadb looks at the name
        return list(self._encoder.encode(list(input)).astype(np.float32))

    def embed_query(self, input: Documents) -> Embeddings:  # noqa: A002
        return self(input)

    @staticmethod
    def name() -> str:
        return "oxillama"

    def get_config(self) -> dict[str, Any]:
        return {"path": self._path, "options": self._options}

    @staticmethod
    def build_from_config(config: dict[str, Any]) -> OxillamaEmbeddingFunction:
        if not config.get("path"):
            raise ValueError("the collection was made with an engine that was open: give it an embedding function")
        return OxillamaEmbeddingFunction(config["path"], **config.get("options", {}))
