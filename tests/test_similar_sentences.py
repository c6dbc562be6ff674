"""Embeddings are worth what those of the reference are, on pairs of sentences and on a search."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from oxillama import SentenceEncoder
from tests.similar_sentences import RECORDED, RELATED, SAME, Collection


def test_the_collection_is_as_large_as_it_says() -> None:
    collection = Collection()
    assert len({(one, other) for one, other, _ in collection.pairs}) == 300
    assert (len(collection.queries), len(set(collection.documents))) == (40, 100)


def test_vectors_that_know_everything_have_full_marks() -> None:
    collection = Collection()
    axes = iter(np.eye(200, dtype=np.float32))
    known: dict[str, Any] = {}
    for one, other, value in collection.pairs:
        if value == SAME:
            known[one] = known[other] = next(axes)
        elif value == RELATED and other not in known:
            known[other] = RELATED * known[one] + np.sqrt(1 - RELATED**2) * next(axes)
    documents = [next(axes) for _ in collection.queries]
    known |= dict(zip(collection.documents, documents, strict=False))
    for place, query in enumerate(collection.queries):
        known[query] = documents[place] + 0.5 * documents[place ^ 1]
    scores = collection.scores(lambda texts: np.array([known[text] for text in texts], np.float32))
    assert scores == pytest.approx({"pearson": 100, "spearman": 100, "ndcg": 100})


def test_minilm_is_worth_what_torch_s_is(fixtures_dir: Path) -> None:
    expected = json.loads(RECORDED.read_text("utf-8"))
    with SentenceEncoder(fixtures_dir / "embed" / "all-MiniLM-L6-v2-Q8_0.gguf", progress=False) as encoder:
        found = Collection().scores(encoder.encode)
    for name, figure in found.items():
        assert figure == pytest.approx(expected[name], abs=0.2), name
