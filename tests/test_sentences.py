"""Sentence-transformers' habits: the engine's own vectors and scores, shaped as that library shapes them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from oxillama import CrossEncoder, Engine, InvalidRequestError, SentenceEncoder
from tests.tiny_encoder import TinyEncoder

TEXTS = ["the fox ran far", "a bear who had a hat"]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("sentences") / "e5.gguf"
    TinyEncoder(labels=1, metadata={"bert.pooling_type": 1, "general.name": "e5-tiny"}).write(path)
    return path


@pytest.fixture(scope="module")
def engine(path: Path) -> Iterator[Engine]:
    with Engine(path, n_threads=1, progress=False) as engine:
        yield engine


def test_vectors(path: Path, engine: Engine) -> None:
    with SentenceEncoder(path, n_threads=1, progress=False) as encoder:
        np.testing.assert_array_equal(encoder.encode(TEXTS), engine.embed(TEXTS))
        assert encoder.encode(TEXTS[0]).shape == (encoder.get_sentence_embedding_dimension(),) == (64,)
        np.testing.assert_array_equal(encoder.encode_query(TEXTS), engine.embed(TEXTS, prompt="query"))
        np.testing.assert_array_equal(encoder.encode_document(TEXTS), engine.embed(TEXTS, prompt="document"))
        np.testing.assert_array_equal(encoder.encode(TEXTS, prompt="so: "), engine.embed(TEXTS, prefix="so: "))
        short = encoder.encode(TEXTS, truncate_dim=5, normalize_embeddings=False)
        np.testing.assert_array_equal(short, engine.embed(TEXTS, dimensions=5, normalize=False))
        rows = encoder.encode(TEXTS, output_value="token_embeddings")
        assert [len(each) for each in rows] == [len(engine.tokenize(text)) for text in TEXTS]
        assert encoder.encode([]).shape == (0, 64)
        assert np.isfinite(encoder.encode("fox " * 500)).all()
        np.testing.assert_allclose(np.diag(encoder.similarity(short, short)), 1, rtol=1e-5)
    assert encoder.engine.state == "closed"


def test_an_engine_stays_its_owner_s(engine: Engine) -> None:
    with SentenceEncoder(engine) as encoder:
        encoder.encode("a")
    assert engine.state == "ready"
    with pytest.raises(TypeError, match="takes no options"):
        SentenceEncoder(engine, n_threads=1)


def test_scores(engine: Engine) -> None:
    model = CrossEncoder(engine)
    raw = engine.rerank("hat", TEXTS)
    pairs = [("hat", text) for text in TEXTS]
    np.testing.assert_array_equal(model.predict(pairs, activation=None), raw)
    np.testing.assert_allclose(model.predict(pairs), 1 / (1 + np.exp(-raw)), rtol=1e-6)
    assert model.predict(pairs[0], activation=None) == raw[0]
    mixed = model.predict([("hat", TEXTS[0]), ("sea", TEXTS[0])], activation=None)
    assert mixed[1] == engine.rerank("sea", [TEXTS[0]])[0]
    ranked = model.rank("hat", TEXTS, return_documents=True, top_k=1)
    assert ranked == [
        {
            "corpus_id": int(raw.argmax()),
            "score": pytest.approx(1 / (1 + np.exp(-raw.max()))),
            "text": TEXTS[raw.argmax()],
        }
    ]


@pytest.mark.parametrize("pairs", [["ab"], [("a",)], [("a", "b", "c")], [3]])
def test_what_is_no_pair_is_refused(engine: Engine, pairs: Any) -> None:
    with pytest.raises(InvalidRequestError):
        CrossEncoder(engine).predict(pairs)


def test_a_model_that_cannot_rank(demo: Engine) -> None:
    with pytest.raises(InvalidRequestError, match="cannot rank"):
        CrossEncoder(demo)
    assert demo.state == "ready"
