"""How well documents answer a query: scores on their way, and which of a classifier's values is the score."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Never

from oxillama.errors import InvalidRequestError, UnsupportedModelError
from oxillama.progress import Progress
from oxillama.requests.batch import Batch
from oxillama.requests.completion_builder import CompletionBuilder
from oxillama.requests.delivery import Delivery
from oxillama.requests.embedding import ReadingBuilder
from oxillama.requests.request import RequestHandle


def score_column(metadata: Mapping[str, Any], n_scores: int) -> int:
    """Which of the classifier's values says how well a document answers: the only one, or that of the label yes.

    Raises UnsupportedModelError for a classifier of something else."""
    if n_scores == 1:
        return 0
    given = metadata.get(f"{metadata['general.architecture']}.classifier.output_labels", ())
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        given = ()
    labels = [one.decode("utf-8", "replace") if isinstance(one, bytes) else str(one) for one in given]
    if "yes" in labels[:n_scores]:
        return labels.index("yes")
    shown = ", ".join(labels[:8]) or f"{n_scores} nameless labels"
    raise UnsupportedModelError(f"the model's classifier tells {shown} apart, which is no ranking of documents")


class ScoreBuilder(ReadingBuilder[float]):
    """column: which of the classifier's values is the score."""

    def __init__(self, delivery: Delivery, column: int) -> None:
        super().__init__(delivery)
        self._column = column

    def result(self) -> float:
        return float(self.delivery.handles[0].embedding()[self._column])


class VerdictBuilder(ReadingBuilder[float]):
    """The score of a model that answers yes or no: how likely it is to say yes rather than no."""

    def result(self) -> float:
        choices = CompletionBuilder(self.delivery).result().choices
        yes, no = (choice.logprobs.content[0].logprob for choice in choices if choice.logprobs is not None)
        return 1 / (1 + math.exp(min(700.0, no - yes)))


class RankingHandle(RequestHandle[float, Never]):
    """The score of one document on its way; otherwise like EmbeddingHandle."""


class RankingBatch(Batch[float]):
    """Documents that become scores in their order."""

    def __init__(self, documents: Sequence[str], *, max_flight: int, progress: Progress) -> None:
        if isinstance(documents, str | bytes) or not isinstance(documents, Sequence):
            raise InvalidRequestError(
                f"documents must be a sequence of texts, found {type(documents).__name__}", param="documents"
            )
        super().__init__(documents, max_flight=max_flight, progress=progress, label="ranking", noun="document")
