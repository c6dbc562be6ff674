"""The calls of an engine that ask for many results at once: in order, or as they come."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Unpack, overload

from oxillama.chat.messages import AnyMessage
from oxillama.progress import Progress
from oxillama.requests.admission import Prompt
from oxillama.requests.batch import Batch
from oxillama.requests.batch_stream import BatchStream
from oxillama.requests.options import BatchOptions, ChatBatchOptions, SamplingOptions
from oxillama.results.chat import ChatCompletion
from oxillama.results.completion import Completion
from oxillama.sampling.params import SamplingParams, chosen_params

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from oxillama.requests.chat import ChatHandle
    from oxillama.requests.request import RequestHandle


class BatchCalls:
    """Part of Engine. None of them finds the queue full: at most queue_size are in flight, the rest waits here.

    return_exceptions: what goes wrong with one stands in its place, and the others go on; otherwise it is raised, with
    its `index`, and ends what is in flight."""

    if TYPE_CHECKING:  # what an engine has besides
        submit: Callable[..., RequestHandle]
        asubmit: Callable[..., Coroutine[Any, Any, RequestHandle]]
        submit_chat: Callable[..., ChatHandle]
        asubmit_chat: Callable[..., Coroutine[Any, Any, ChatHandle]]

        @property
        def queue_size(self) -> int: ...

    @overload
    def generate_batch(
        self, prompts: Iterable[Prompt], params: SamplingParams | None = None, *,
        return_exceptions: Literal[False] = False, progress: Progress = False, **options: Unpack[BatchOptions],
    ) -> list[Completion]: ...  # fmt: skip
    @overload
    def generate_batch(
        self, prompts: Iterable[Prompt], params: SamplingParams | None = None, *,
        return_exceptions: bool, progress: Progress = False, **options: Unpack[BatchOptions],
    ) -> list[Completion | Exception]: ...  # fmt: skip
    def generate_batch(
        self, prompts: Iterable[Prompt], params: SamplingParams | None = None, *,
        return_exceptions: bool = False, progress: Progress = False, **options: Unpack[BatchOptions],
    ) -> list[Any]:  # fmt: skip
        """Completions of many prompts, in their order. options: the fields of SamplingParams, and cache_salt."""
        batch: Batch[Completion] = self._batch(prompts, "prompt", "generating", return_exceptions, progress)
        return batch.run(partial(self.submit, **_checked(params, options, BatchOptions)))

    @overload
    async def agenerate_batch(
        self, prompts: Iterable[Prompt], params: SamplingParams | None = None, *,
        return_exceptions: Literal[False] = False, progress: Progress = False, **options: Unpack[BatchOptions],
    ) -> list[Completion]: ...  # fmt: skip
    @overload
    async def agenerate_batch(
        self, prompts: Iterable[Prompt], params: SamplingParams | None = None, *,
        return_exceptions: bool, progress: Progress = False, **options: Unpack[BatchOptions],
    ) -> list[Completion | Exception]: ...  # fmt: skip
    async def agenerate_batch(
        self, prompts: Iterable[Prompt], params: SamplingParams | None = None, *,
        return_exceptions: bool = False, progress: Progress = False, **options: Unpack[BatchOptions],
    ) -> list[Any]:  # fmt: skip
        batch: Batch[Completion] = self._batch(prompts, "prompt", "generating", return_exceptions, progress)
        return await batch.arun(partial(self.asubmit, **_checked(params, options, BatchOptions)))

    @overload
    def chat_batch(
        self, conversations: Iterable[Iterable[AnyMessage]], params: SamplingParams | None = None, *,
        return_exceptions: Literal[False] = False, progress: Progress = False, **options: Unpack[ChatBatchOptions],
    ) -> list[ChatCompletion]: ...  # fmt: skip
    @overload
    def chat_batch(
        self, conversations: Iterable[Iterable[AnyMessage]], params: SamplingParams | None = None, *,
        return_exceptions: bool, progress: Progress = False, **options: Unpack[ChatBatchOptions],
    ) -> list[ChatCompletion | Exception]: ...  # fmt: skip
    def chat_batch(
        self, conversations: Iterable[Iterable[AnyMessage]], params: SamplingParams | None = None, *,
        return_exceptions: bool = False, progress: Progress = False, **options: Unpack[ChatBatchOptions],
    ) -> list[Any]:  # fmt: skip
        """Replies to many conversations, in their order. options: as for chat(), without queue_timeout."""
        batch: Batch[ChatCompletion] = self._batch(
            conversations, "conversation", "answering", return_exceptions, progress
        )
        return batch.run(partial(self.submit_chat, **_checked(params, options, ChatBatchOptions)))

    @overload
    async def achat_batch(
        self, conversations: Iterable[Iterable[AnyMessage]], params: SamplingParams | None = None, *,
        return_exceptions: Literal[False] = False, progress: Progress = False, **options: Unpack[ChatBatchOptions],
    ) -> list[ChatCompletion]: ...  # fmt: skip
    @overload
    async def achat_batch(
        self, conversations: Iterable[Iterable[AnyMessage]], params: SamplingParams | None = None, *,
        return_exceptions: bool, progress: Progress = False, **options: Unpack[ChatBatchOptions],
    ) -> list[ChatCompletion | Exception]: ...  # fmt: skip
    async def achat_batch(
        self, conversations: Iterable[Iterable[AnyMessage]], params: SamplingParams | None = None, *,
        return_exceptions: bool = False, progress: Progress = False, **options: Unpack[ChatBatchOptions],
    ) -> list[Any]:  # fmt: skip
        batch: Batch[ChatCompletion] = self._batch(
            conversations, "conversation", "answering", return_exceptions, progress
        )
        return await batch.arun(partial(self.asubmit_chat, **_checked(params, options, ChatBatchOptions)))

    def stream_batch(
        self, prompts: Iterable[Prompt], params: SamplingParams | None = None, **options: Unpack[BatchOptions]
    ) -> BatchStream[Completion]:
        """Pairs of index and completion as they are done: `for index, completion in engine.stream_batch(prompts)`, and
        `async for` just so. In the place of a completion may be the exception that ended it. Leaving the loop cancels
        the rest."""
        given = _checked(params, options, BatchOptions)
        submit, asubmit = partial(self.submit, **given), partial(self.asubmit, **given)
        return BatchStream(prompts, submit, asubmit, max_flight=self.queue_size)

    def stream_chat_batch(
        self,
        conversations: Iterable[Iterable[AnyMessage]],
        params: SamplingParams | None = None,
        **options: Unpack[ChatBatchOptions],
    ) -> BatchStream[ChatCompletion]:
        """The same for conversations: pairs of index and reply as they are done."""
        given = _checked(params, options, ChatBatchOptions)
        submit, asubmit = partial(self.submit_chat, **given), partial(self.asubmit_chat, **given)
        return BatchStream(conversations, submit, asubmit, max_flight=self.queue_size, noun="conversation")

    def _batch(self, prompts: Iterable[Any], noun: str, label: str, return_exceptions: bool, progress: Progress) -> Any:
        return Batch(
            prompts,
            max_flight=self.queue_size,
            progress=progress,
            label=label,
            return_exceptions=return_exceptions,
            noun=noun,
        )


def _checked(params: SamplingParams | None, options: Mapping[str, Any], known: Any) -> dict[str, Any]:
    """What each request is submitted with: wrong options are found once, before the first of them."""
    if unknown := sorted(options.keys() - known.__optional_keys__):
        raise TypeError(f"unexpected keyword argument {unknown[0]!r}")
    names = SamplingOptions.__optional_keys__
    sampling: Any = {name: value for name, value in options.items() if name in names}
    rest = {name: value for name, value in options.items() if name not in names}
    return {"params": chosen_params(params, sampling), "queue_timeout": None, **rest}
