"""The calls of an engine that read texts and write none: embeddings, rankings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Unpack, overload

import numpy as np
import numpy.typing as npt

from oxillama.progress import Progress
from oxillama.requests.admission import Admission, Prompt, prompt_size
from oxillama.requests.beside import beside_if_long
from oxillama.requests.embedding import EmbeddingBatch, EmbeddingHandle, Inputs
from oxillama.requests.options import EmbeddingOptions, RankingOptions, RankOptions, VectorOptions
from oxillama.requests.reranking import RankingBatch, RankingHandle, VerdictHandle, score_column
from oxillama.sampling.params import EmbeddingParams, Pooling

if TYPE_CHECKING:
    from oxillama._core.output.handle import Handle
    from oxillama.chat.conversation import Conversation
    from oxillama.config import SchedulerConfig
    from oxillama.lifecycle import Lifecycle
    from oxillama.network.loader import Model
    from oxillama.requests.completion_builder import RequestSpec
    from oxillama.requests.request import RequestHandle


class ReadingCalls:
    """The part of an Engine that reads texts: a call checks its arguments, makes requests and waits for their rows."""

    if TYPE_CHECKING:  # what an engine has besides
        _admission: Admission
        _lifecycle: Lifecycle
        _metadata: Mapping[str, Any]
        _model: Model
        _scheduler: SchedulerConfig

        @property
        def ranks_by_probability(self) -> bool: ...

        def _handle(self, request: tuple[list[Handle], RequestSpec], queue_timeout: float | None) -> RequestHandle: ...
        def _require_conversation(self) -> Conversation: ...

    # --- embeddings

    def prepare_embedding(
        self, prompt: Prompt, /, *, queue_timeout: float | None = 0, **options: Unpack[EmbeddingOptions]
    ) -> EmbeddingHandle:
        """One embedding that has been checked and not yet submitted: `enter()` does that. options: as for
        submit_embedding()."""
        params = EmbeddingParams(**options)
        self._lifecycle.check_usable()
        return EmbeddingHandle(self._handle(self._admission.embedding(prompt, params), queue_timeout))

    def submit_embedding(
        self, prompt: Prompt, /, *, queue_timeout: float | None = 0, **options: Unpack[EmbeddingOptions]
    ) -> EmbeddingHandle:
        """Starts the embedding of one text or token sequence and returns at once; its handle also knows the usage.

        options: the fields of EmbeddingParams. queue_timeout: as for submit(). Never reads or fills the prefix
        cache."""
        handle = self.prepare_embedding(prompt, queue_timeout=queue_timeout, **options)
        handle.enter()
        return handle

    async def asubmit_embedding(
        self, prompt: Prompt, /, *, queue_timeout: float | None = 0, **options: Unpack[EmbeddingOptions]
    ) -> EmbeddingHandle:
        prepare = partial(self.prepare_embedding, prompt, queue_timeout=queue_timeout, **options)
        handle = await beside_if_long(prepare, size=prompt_size(prompt))
        await handle.aenter()
        return handle

    @overload
    def embed(  # type: ignore[overload-overlap]
        self, inputs: Inputs, *, pooling: Literal["none"], progress: Progress = False, **options: Unpack[VectorOptions]
    ) -> list[npt.NDArray[np.float32]]: ...
    @overload
    def embed(
        self,
        inputs: Inputs,
        *,
        pooling: Pooling | None = None,
        progress: Progress = False,
        **options: Unpack[VectorOptions],
    ) -> npt.NDArray[np.float32]: ...
    def embed(
        self,
        inputs: Inputs,
        *,
        pooling: Pooling | None = None,
        progress: Progress = False,
        **options: Unpack[VectorOptions],
    ) -> npt.NDArray[np.float32] | list[npt.NDArray[np.float32]]:
        """float32 [n inputs, dimensions]: the embeddings of a text, a sequence of token ids, or a list of either; with
        pooling "none" a list of float32 [n tokens, dimensions], a row per token for late interaction.

        options: the fields of EmbeddingParams. Keeps at most queue_size in flight, so the queue is never full for
        it."""
        params = EmbeddingParams(pooling=pooling, **options)
        batch = EmbeddingBatch(inputs, params, max_flight=self._scheduler.queue_size, progress=progress)
        rows = batch.run(partial(self.submit_embedding, queue_timeout=None, pooling=pooling, **options))
        return batch.gathered(rows, self._model.heads.embedding)

    @overload
    async def aembed(  # type: ignore[overload-overlap]
        self, inputs: Inputs, *, pooling: Literal["none"], progress: Progress = False, **options: Unpack[VectorOptions]
    ) -> list[npt.NDArray[np.float32]]: ...
    @overload
    async def aembed(
        self,
        inputs: Inputs,
        *,
        pooling: Pooling | None = None,
        progress: Progress = False,
        **options: Unpack[VectorOptions],
    ) -> npt.NDArray[np.float32]: ...
    async def aembed(
        self,
        inputs: Inputs,
        *,
        pooling: Pooling | None = None,
        progress: Progress = False,
        **options: Unpack[VectorOptions],
    ) -> npt.NDArray[np.float32] | list[npt.NDArray[np.float32]]:
        params = EmbeddingParams(pooling=pooling, **options)
        batch = EmbeddingBatch(inputs, params, max_flight=self._scheduler.queue_size, progress=progress)
        rows = await batch.arun(partial(self.asubmit_embedding, queue_timeout=None, pooling=pooling, **options))
        return batch.gathered(rows, self._model.heads.embedding)

    # --- ranking

    def prepare_ranking(
        self,
        query: str,
        document: str,
        *,
        truncate: bool = False,
        queue_timeout: float | None = 0,
        **options: Unpack[RankOptions],
    ) -> RankingHandle | VerdictHandle:
        """The score of one document, checked and not yet submitted: `enter()` does that. options: priority and
        deadline, as in EmbeddingParams."""
        self._lifecycle.check_usable()
        params = EmbeddingParams(pooling="rank", **options)
        request = self._admission.ranking(query, document, params, truncate=truncate)
        if not self._model.heads.scores:
            return VerdictHandle(self._handle(request, queue_timeout))
        column = score_column(self._metadata, self._model.heads.scores)
        return RankingHandle(self._handle(request, queue_timeout), column)

    def submit_ranking(
        self, query: str, document: str, **options: Unpack[RankingOptions]
    ) -> RankingHandle | VerdictHandle:
        """Starts the ranking of one document and returns at once. options: as for prepare_ranking()."""
        handle = self.prepare_ranking(query, document, **options)
        handle.enter()
        return handle

    async def asubmit_ranking(
        self, query: str, document: str, **options: Unpack[RankingOptions]
    ) -> RankingHandle | VerdictHandle:
        prepare = partial(self.prepare_ranking, query, document, **options)
        handle = await beside_if_long(prepare, size=prompt_size(query) + prompt_size(document))
        await handle.aenter()
        return handle

    def rerank(
        self,
        query: str,
        documents: Sequence[str],
        *,
        truncate: bool = False,
        progress: Progress = False,
        **options: Unpack[RankOptions],
    ) -> npt.NDArray[np.float32]:
        """float32 [n documents], in their order: how well each answers the query, the more the better.

        What a model's classifier gives as it is: of most cross-encoders a number without bounds, of Qwen3-Reranker the
        probability of yes, also of a file that answers by writing. truncate: cut the end off a document that is too
        long, instead of a ContextLengthError. options: priority and deadline. Raises InvalidRequestError for a model
        that cannot rank."""
        batch = RankingBatch(documents, max_flight=self._scheduler.queue_size, progress=progress)
        submit = partial(self.submit_ranking, query, truncate=truncate, queue_timeout=None, **options)
        return np.array(batch.run(submit), np.float32)

    async def arerank(
        self,
        query: str,
        documents: Sequence[str],
        *,
        truncate: bool = False,
        progress: Progress = False,
        **options: Unpack[RankOptions],
    ) -> npt.NDArray[np.float32]:
        batch = RankingBatch(documents, max_flight=self._scheduler.queue_size, progress=progress)
        submit = partial(self.asubmit_ranking, query, truncate=truncate, queue_timeout=None, **options)
        return np.array(await batch.arun(submit), np.float32)
