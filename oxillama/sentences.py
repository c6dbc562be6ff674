"""Sentence-transformers' habits over an engine: vectors of sentences, scores of pairs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Literal, Self, overload

import numpy as np
import numpy.typing as npt

from oxillama.engine import Engine
from oxillama.errors import InvalidRequestError
from oxillama.requests.batch import Batch
from oxillama.values import refused

Floats = npt.NDArray[np.float32]


class _OverEngine:
    """Opens a model, or takes an engine, which then stays its owner's."""

    def __init__(self, model: str | os.PathLike[str] | Engine, **options: Any) -> None:
        if isinstance(model, Engine) and options:
            raise TypeError(f"an engine that is open takes no options, found {sorted(options)}")
        self._owns = not isinstance(model, Engine)
        self.engine: Engine = model if isinstance(model, Engine) else Engine(model, **options)

    @property
    def max_seq_length(self) -> int:
        """Tokens of a text that are read; what is longer loses its end."""
        return self.engine.n_ctx

    def close(self) -> None:
        if self._owns:
            self.engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.engine!r})"


class SentenceEncoder(_OverEngine):
    """Vectors of sentences, as `sentence_transformers.SentenceTransformer` gives them.

    model: a GGUF file or an Engine; options: those of Engine. Texts that are too long lose their end.

        with SentenceEncoder("all-MiniLM-L6-v2-Q8_0.gguf") as encoder:
            vectors = encoder.encode(["a fox", "a bear"])
            encoder.similarity(vectors, vectors)"""

    @overload
    def encode(
        self,
        sentences: str | Sequence[str],
        *,
        prompt_name: str | None = None,
        prompt: str | None = None,
        output_value: Literal["sentence_embedding"] = "sentence_embedding",
        normalize_embeddings: bool = True,
        truncate_dim: int | None = None,
        show_progress_bar: bool = False,
    ) -> Floats: ...
    @overload
    def encode(
        self,
        sentences: str | Sequence[str],
        *,
        prompt_name: str | None = None,
        prompt: str | None = None,
        output_value: Literal["token_embeddings"],
        normalize_embeddings: bool = True,
        truncate_dim: int | None = None,
        show_progress_bar: bool = False,
    ) -> list[Floats]: ...
    def encode(
        self,
        sentences: str | Sequence[str],
        *,
        prompt_name: str | None = None,
        prompt: str | None = None,
        output_value: Literal["sentence_embedding", "token_embeddings"] = "sentence_embedding",
        normalize_embeddings: bool = True,
        truncate_dim: int | None = None,
        show_progress_bar: bool = False,
    ) -> Floats | list[Floats]:
        """float32 [n sentences, dimensions], or [dimensions] of a single text. prompt_name: "query" or "document": what
        the model expects before it; prompt: this text instead. output_value "token_embeddings": a list of float32
        [n tokens, dimensions]."""
        if output_value not in ("sentence_embedding", "token_embeddings"):
            raise refused("output_value", "'sentence_embedding' or 'token_embeddings'", output_value)
        options: dict[str, Any] = {
            "prompt": prompt_name,
            "prefix": prompt,
            "normalize": normalize_embeddings,
            "dimensions": truncate_dim,
            "truncate": True,
            "progress": show_progress_bar,
        }
        is_one = isinstance(sentences, str)
        texts = [sentences] if isinstance(sentences, str) else list(sentences)
        if output_value == "token_embeddings":
            rows: list[Floats] = self.engine.embed(texts, pooling="none", **options)
            return rows
        found: Floats = self.engine.embed(texts, **options)
        first: Floats = found[0] if is_one else found
        return first

    def encode_query(self, sentences: str | Sequence[str], **options: Any) -> Floats:
        """The same of what documents are looked for with."""
        found: Floats = self.encode(sentences, prompt_name="query", **options)
        return found

    def encode_document(self, sentences: str | Sequence[str], **options: Any) -> Floats:
        """The same of what is found."""
        found: Floats = self.encode(sentences, prompt_name="document", **options)
        return found

    def similarity(self, first: Floats, second: Floats) -> Floats:
        """float32 [n, m]: the cosine of each row of one with each of the other."""
        rows = [np.atleast_2d(np.asarray(each, np.float32)) for each in (first, second)]
        unit = [each / np.maximum(np.linalg.norm(each, axis=1, keepdims=True), 1e-12) for each in rows]
        return np.asarray(unit[0] @ unit[1].T, np.float32)

    def get_sentence_embedding_dimension(self) -> int:
        return int(self.engine.embed([]).shape[1])


class CrossEncoder(_OverEngine):
    """Scores of pairs of texts, as `sentence_transformers.CrossEncoder` gives them.

    model: a GGUF file of a reranker, or an Engine; options: those of Engine. Documents that are too long lose their
    end."""

    def __init__(self, model: str | os.PathLike[str] | Engine, **options: Any) -> None:
        super().__init__(model, **options)
        if "rerank" not in self.engine.capabilities:
            name = self.engine.name
            self.close()
            raise InvalidRequestError(f"the model {name!r} cannot rank: it has no classifier", param="model")

    @overload
    def predict(  # type: ignore[overload-overlap]  # a pair of texts is one pair, not two pairs of letters
        self, sentences: tuple[str, str], *, activation: str | None = "sigmoid", show_progress_bar: bool = False
    ) -> np.float32: ...
    @overload
    def predict(
        self,
        sentences: Sequence[Sequence[str]],
        *,
        activation: str | None = "sigmoid",
        show_progress_bar: bool = False,
    ) -> Floats: ...
    def predict(
        self,
        sentences: Sequence[Sequence[str]] | tuple[str, str],
        *,
        activation: str | None = "sigmoid",
        show_progress_bar: bool = False,
    ) -> Floats | np.float32:
        """float32 [n pairs], or one number of a single pair. activation: "sigmoid" makes what has no bounds a number
        from 0 to 1, None leaves it."""
        if activation not in ("sigmoid", None):
            raise refused("activation", "'sigmoid' or None", activation)
        is_one = len(sentences) == 2 and all(isinstance(each, str) for each in sentences)
        pairs: list[Any] = [sentences] if is_one else list(sentences)
        for pair in pairs:
            if isinstance(pair, str) or not isinstance(pair, Sequence) or len(pair) != 2:
                raise refused("sentences", "pairs of texts", pair)
        batch: Batch[float] = Batch(pairs, max_flight=32, progress=show_progress_bar, label="ranking")
        scores = np.array(batch.run(self._submit), np.float32)
        if activation and not self.engine.ranks_by_probability:
            scores = np.asarray(1 / (1 + np.exp(-scores)), np.float32)
        return np.float32(scores[0]) if is_one else scores

    def rank(
        self,
        query: str,
        documents: Sequence[str],
        *,
        top_k: int | None = None,
        return_documents: bool = False,
        activation: str | None = "sigmoid",
    ) -> list[dict[str, Any]]:
        """`corpus_id`, `score` and perhaps `text` of each document, the best first."""
        scores = self.predict([(query, document) for document in documents], activation=activation)
        best = np.argsort(-scores, kind="stable")[:top_k]
        found: list[dict[str, Any]] = [{"corpus_id": int(index), "score": float(scores[index])} for index in best]
        if return_documents:
            for entry in found:
                entry["text"] = documents[entry["corpus_id"]]
        return found

    def _submit(self, pair: Any) -> Any:
        return self.engine.submit_ranking(pair[0], pair[1], truncate=True, queue_timeout=None)
