"""A predictor for Ray Data: rows with prompts become rows with replies, on actors that keep their engine.

    ds.map_batches(
        Predictor,
        fn_constructor_kwargs={"path": "model.gguf", "params": {"max_tokens": 64, "temperature": 0}},
        batch_size=64, concurrency=4, num_cpus=4,
    )

A task that is retried gives the same bytes: the seed of a row comes from the row, not from the actor or the batch."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from oxillama.engine import Engine
from oxillama.errors import InvalidRequestError
from oxillama.sampling.params import SamplingParams

Rows = dict[str, npt.NDArray[Any]]


class Predictor:
    """Adds a column of replies to a batch of rows.

    column: with a text per row, or (chat=True) its messages. output: the column for the replies; `finish_reason` is put
    beside it. params: fields of SamplingParams. seed_column: where each row has its seed; without it all rows have the
    one of params, or 0. engine_options: of Engine; n_threads should be the actor's num_cpus."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        params: Mapping[str, Any] | None = None,
        column: str = "prompt",
        output: str = "text",
        chat: bool = False,
        seed_column: str | None = None,
        engine_options: Mapping[str, Any] | None = None,
    ) -> None:
        self._fields = {"seed": 0, **(params or {})}
        SamplingParams(**self._fields)  # a wrong one is told before a model is read
        self._column = column
        self._output = output
        self._chat = chat
        self._seed_column = seed_column
        self.engine: Engine = Engine(path, progress=False, **(engine_options or {}))

    def __call__(self, batch: Rows) -> Rows:
        """All rows of the batch at once through the engine, in their order."""
        if self._column not in batch:
            raise InvalidRequestError(f"no column {self._column!r} among {sorted(batch)}", param="column")
        prompts = batch[self._column].tolist()
        seeds = batch[self._seed_column].tolist() if self._seed_column else [self._fields["seed"]] * len(prompts)
        submit = self.engine.submit_chat if self._chat else self.engine.submit
        handles: list[Any] = []
        try:
            for prompt, seed in zip(prompts, seeds, strict=True):
                handles.append(submit(prompt, SamplingParams(**{**self._fields, "seed": seed}), queue_timeout=None))
            replies = [handle.result() for handle in handles]
        finally:
            for handle in handles:
                handle.cancel()  # what has ended does not mind
        return {
            **batch,
            self._output: np.array([reply.text for reply in replies], object),
            "finish_reason": np.array([reply.finish_reason for reply in replies], object),
        }
