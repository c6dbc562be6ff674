"""What a model makes of a prompt that it only evaluates: its logits, or how likely it found each token."""

from __future__ import annotations

from typing import Never

import numpy as np
import numpy.typing as npt

from oxillama.requests.delivery import Delivery
from oxillama.requests.embedding import ReadingBuilder
from oxillama.requests.request import RequestHandle


class EvaluationBuilder(ReadingBuilder[npt.NDArray[np.float32]]):
    """keep_logits: the result is float32 [n tokens, n_vocab]; otherwise the log-probability of each token given those
    before it, float32 [n tokens], the first NaN."""

    def __init__(self, delivery: Delivery, *, keep_logits: bool) -> None:
        super().__init__(delivery)
        self._keep_logits = keep_logits

    def result(self) -> npt.NDArray[np.float32]:
        handle = self.delivery.handles[0]
        return handle.logits() if self._keep_logits else handle.prompt_logprobs()


class Evaluation(RequestHandle[npt.NDArray[np.float32], Never]):
    """An evaluation on its way."""
