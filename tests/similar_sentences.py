"""The project's own measure of what embeddings are worth: 300 pairs of sentences that are more or less alike, and 40
questions to 100 short texts. tools/record_similar_sentences.py records what the reference makes of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

DATA = Path(__file__).parent / "data"
RECORDED = DATA / "similar_sentences_scores.json"
# How much two sentences of a group say the same; those of different groups say nothing of each other.
SAME, RELATED, FOREIGN = 1.0, 0.5, 0.0
TOP = 10  # results of a search that are looked at

Floats = npt.NDArray[np.float32]
Encode = Callable[[list[str]], Floats]


class Collection:
    """pairs: (sentence, sentence, how alike). relevance: of each question the documents by their numbers: what answers
    it 2, another text about the same matter 1."""

    def __init__(self) -> None:
        told = json.loads((DATA / "similar_sentences.json").read_text("utf-8"))
        groups: list[list[str]] = told["groups"]
        self.pairs: list[tuple[str, str, float]] = []
        for (first, again, related), (other_first, other_again, _) in pairwise([*groups, groups[0]]):
            self.pairs += [(first, again, SAME), (first, related, RELATED), (again, related, RELATED)]
            self.pairs += [(first, other_first, FOREIGN), (related, other_again, FOREIGN)]
        self.queries: list[str] = told["queries"]
        self.documents: list[str] = told["documents"] + [related for _, _, related in groups]
        # Documents stand in twos, each with its question at the same place.
        self.relevance: list[dict[int, int]] = [{place: 2, place ^ 1: 1} for place in range(len(self.queries))]

    def scores(self, encode: Encode) -> dict[str, float]:
        """Pearson's and Spearman's correlation of cosines with how alike pairs are, and the mean nDCG of the first TOP
        documents by cosine (Järvelin and Kekäläinen 2002); all of them times 100."""
        texts = list(dict.fromkeys(text for one, other, _ in self.pairs for text in (one, other)))
        rows = dict(zip(texts, _normalised(encode(texts)), strict=True))
        cosines = np.array([rows[one] @ rows[other] for one, other, _ in self.pairs], np.float64)
        alike = np.array([value for _, _, value in self.pairs])
        found = _normalised(encode(self.queries)) @ _normalised(encode(self.documents)).T
        gains = [_ndcg(row, relevance) for row, relevance in zip(found, self.relevance, strict=True)]
        return {
            "pearson": 100 * float(np.corrcoef(cosines, alike)[0, 1]),
            "spearman": 100 * float(np.corrcoef(_ranks(cosines), _ranks(alike))[0, 1]),
            "ndcg": 100 * float(np.mean(gains)),
        }


def _normalised(rows: Floats) -> Floats:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def _ranks(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The mean of the places of equal values."""
    _, groups, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return np.asarray((ends - (counts - 1) / 2)[groups], np.float64)


def _ndcg(row: Floats, relevance: dict[int, int]) -> float:
    discounts = 1 / np.log2(np.arange(2, TOP + 2))
    order = np.argsort(-row, kind="stable")[:TOP]
    best = sorted(relevance.values(), reverse=True)[:TOP]
    gain = sum(relevance.get(int(place), 0) * discount for place, discount in zip(order, discounts, strict=True))
    return float(gain / sum(value * discount for value, discount in zip(best, discounts, strict=False)))
