"""The calls of an engine that read texts and write none: embeddings, rankings, evaluations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Unpack, overload

import numpy as np
import numpy.typing as npt

from oxillama.progress import Progress
from oxillama.requests.admission import Admission, Prompt, prompt_size
from oxillama.requests.beside import beside_if_long
from oxillama.requests.embedding import EmbeddingBatch, EmbeddingHandle, Inputs, VectorBuilder
from oxillama.requests.evaluation import Evaluation, EvaluationBuilder
from oxillama.requests.options import EmbeddingOptions, RankingOptions, RankOptions, VectorOptions
from oxillama.requests.request import cancelled_on_failure
from oxillama.requests.reranking import RankingBatch, RankingHandle, ScoreBuilder, VerdictBuilder, score_column
from oxillama.sampling.params import EmbeddingParams, Lora, Pooling

if TYPE_CHECKING:
    from oxillama.chat.conversation import Conversation
    from oxillama.config import SchedulerConfig
    from oxillama.lifecycle import Lifecycle
    from oxillama.network.loader import Model
    from oxillama.requests.request import RequestT
    from oxillama.requests.result_builder import ResultBuilder


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

        def _handle(
            self, kind: type[RequestT], builder: ResultBuilder[Any, Any], queue_timeout: float | None
        ) -> RequestT: ...
        def _require_conversation(self) -> Conversation: ...

    # --- embeddings

    def prepare_embedding(
        self, prompt: Prompt, /, *, queue_timeout: float | None = 0, **options: Unpack[EmbeddingOptions]
    ) -> EmbeddingHandle:
        """One embedding that has been checked and not yet submitted: `enter()` does that. options: as for
        submit_embedding()."""
        params = EmbeddingParams(**options)
        self._lifecycle.check_usable()
        builder = VectorBuilder(self._admission.embedding(prompt, params))
        return self._handle(EmbeddingHandle, builder, queue_timeout)

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
    ) -> RankingHandle:
        """The score of one document, checked and not yet submitted: `enter()` does that. options: priority and
        deadline, as in EmbeddingParams."""
        self._lifecycle.check_usable()
        params = EmbeddingParams(pooling="rank", **options)
        delivery = self._admission.ranking(query, document, params, truncate=truncate)
        n_scores = self._model.heads.scores
        if not n_scores:
            return self._handle(RankingHandle, VerdictBuilder(delivery), queue_timeout)
        column = score_column(self._metadata, n_scores)
        return self._handle(RankingHandle, ScoreBuilder(delivery, column), queue_timeout)

    def submit_ranking(self, query: str, document: str, **options: Unpack[RankingOptions]) -> RankingHandle:
        """Starts the ranking of one document and returns at once. options: as for prepare_ranking()."""
        handle = self.prepare_ranking(query, document, **options)
        handle.enter()
        return handle

    async def asubmit_ranking(self, query: str, document: str, **options: Unpack[RankingOptions]) -> RankingHandle:
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

    # --- evaluation

    def logits(self, prompt: Prompt, *, lora: Lora = None) -> npt.NDArray[np.float32]:
        """float32 [n tokens, n_vocab]: the logits after each token of the prompt."""
        return self._evaluate(prompt, keep_logits=True, lora=lora)

    async def alogits(self, prompt: Prompt, *, lora: Lora = None) -> npt.NDArray[np.float32]:
        return await self._aevaluate(prompt, keep_logits=True, lora=lora)

    def logprobs(self, prompt: Prompt, *, lora: Lora = None) -> npt.NDArray[np.float32]:
        """float32 [n tokens]: the log-probability of each token given those before it; the first is NaN."""
        return self._evaluate(prompt, keep_logits=False, lora=lora)

    async def alogprobs(self, prompt: Prompt, *, lora: Lora = None) -> npt.NDArray[np.float32]:
        return await self._aevaluate(prompt, keep_logits=False, lora=lora)

    def _prepare_evaluation(self, prompt: Prompt, *, keep_logits: bool, lora: Lora = None) -> Evaluation:
        self._lifecycle.check_usable()
        delivery = self._admission.evaluation(prompt, keep_logits=keep_logits, lora=lora)
        return self._handle(Evaluation, EvaluationBuilder(delivery, keep_logits=keep_logits), None)

    def _evaluate(self, prompt: Prompt, *, keep_logits: bool, lora: Lora) -> npt.NDArray[np.float32]:
        with cancelled_on_failure(self._prepare_evaluation(prompt, keep_logits=keep_logits, lora=lora)) as request:
            return request.result()

    async def _aevaluate(self, prompt: Prompt, *, keep_logits: bool, lora: Lora) -> npt.NDArray[np.float32]:
        prepare = partial(self._prepare_evaluation, prompt, keep_logits=keep_logits, lora=lora)
        with cancelled_on_failure(await beside_if_long(prepare, size=prompt_size(prompt))) as request:
            return await request.aresult()
