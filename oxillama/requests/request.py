"""A request as an app holds it: its way into the queue, the wait for what it delivers, its end."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Generic

import anyio

from oxillama._core.output.handle import Handle
from oxillama._core.scheduling.waiter import Waiter
from oxillama.errors import DeadlineExceeded, RequestCancelled
from oxillama.requests.result_builder import ResultBuilder
from oxillama.requests.stream import WAIT_SECONDS, ResultStream
from oxillama.requests.updates import Updates
from oxillama.requests.wakeup import LoopMailbox
from oxillama.results.completion import Completion, CompletionChunk, Logprobs, Timings, Usage
from oxillama.sampling.params import MAX_LOGPROBS
from oxillama.values import moment_after

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    from oxillama.lifecycle import Lifecycle

    # Without parameters it is the request of a completion.
    ResultT = TypeVar("ResultT", default=Completion)
    Chunk = TypeVar("Chunk", default=CompletionChunk)
else:
    from typing import TypeVar

    ResultT = TypeVar("ResultT")
    Chunk = TypeVar("Chunk")


class RequestHandle(Generic[ResultT, Chunk]):
    """A request on its way. Iterate it for chunks, synchronously or asynchronously, or ask for the whole ``result()``.

    A handle keeps its engine alive; dropping it cancels the request. Threads may share it, and tasks of one event loop.
    builder: makes of what comes what this kind of request is for. patience: seconds it may wait for room in the queue.
    owner: whom it keeps alive."""

    def __init__(
        self, lifecycle: Lifecycle, builder: ResultBuilder[ResultT, Chunk], *, patience: float, owner: object
    ) -> None:
        self._lifecycle = lifecycle
        self._owner = owner
        self._queue_limit = time.monotonic() + patience
        self._entered = False
        self._cancelled = False
        self._waiter: Waiter | None = None
        self._lock = threading.Lock()
        self._builder = builder
        self._delivery = builder.delivery
        self._spec = builder.delivery.spec

    @property
    def id(self) -> str:
        return self._builder.id

    @property
    def model(self) -> str:
        """The model's name."""
        return self._spec.model

    @property
    def created(self) -> int:
        """When it was made, in Unix seconds."""
        return self._spec.created

    @property
    def handles(self) -> list[Handle]:
        """The core's own handles, one per choice."""
        return self._delivery.handles

    @property
    def open_handles(self) -> list[Handle]:
        """Those that have not delivered everything yet."""
        return self._delivery.open_handles

    @property
    def discards_choices(self) -> bool:
        """More choices are generated than delivered: best_of."""
        return len(self.handles) > self._spec.n

    @property
    def num_values(self) -> int:
        """About how many tokens, and alternatives of tokens, the result tells of so far: a measure of the work that it
        takes to make it."""
        usage = self.usage
        n_tokens = usage.completion_tokens + usage.prompt_tokens * len(self.handles)
        return n_tokens * (1 + MAX_LOGPROBS) if self._spec.wants_logprobs else n_tokens

    @property
    def seed(self) -> int:
        """Repeats the request: the same prompt and parameters with this seed give the same tokens."""
        return self._spec.seed

    @property
    def done(self) -> bool:
        return all(handle.finish_reason is not None for handle in self.handles)

    @property
    def usage(self) -> Usage:
        """Counts so far."""
        return self._builder.usage

    @property
    def finish_reasons(self) -> tuple[str | None, ...]:
        """How each choice ended: "stop", "length", "cancelled", "deadline" ...; None: not yet."""
        return tuple(handle.finish_reason for handle in self.handles)

    @property
    def prompt_logprobs(self) -> Logprobs | None:
        """The scores of the prompt, where they were asked for and there is output already or the end; else None."""
        return self._builder.prompt_logprobs

    @property
    def timings(self) -> Timings:
        """Where the time went; a part that is not over is 0."""
        return self._delivery.timings

    def try_enter(self) -> bool:
        """Submits the request, unless that has been done. False: the queue is full, and there is time to wait."""
        if not self._entered:
            with self._lock:
                self._entered = self._entered or self._lifecycle.try_submit(self.handles, self._waiter)
        if self._entered:
            self._leave_queue()
            return True
        if self._cancelled:
            raise RequestCancelled(partial=self._builder.partial())
        now = time.monotonic()
        if now >= self._queue_limit:
            raise self._lifecycle.queue_full_error()
        if now >= self._spec.expires:
            raise DeadlineExceeded(partial=self._builder.partial())
        return False

    def enter(self) -> None:
        """Submits the request, waiting for room in the queue. Raises QueueFullError or DeadlineExceeded without any."""
        try:
            while not self.try_enter():
                waiter = self._join_queue()
                waiter.wait(max(0.0, min(WAIT_SECONDS, self.queue_seconds)))
                waiter.clear()
        except BaseException:
            self._leave_queue()
            raise

    async def aenter(self) -> None:
        try:
            while not self.try_enter():
                waiter = self.join_queue()
                with anyio.move_on_after(self.queue_seconds):
                    await LoopMailbox.current().wait(functools.partial(self._has_queue_update, waiter))
                waiter.clear()
        except BaseException:
            self._leave_queue()
            raise

    def join_queue(self) -> Waiter:
        """The place among those who wait for the queue, which posts the mailbox of the running event loop when there is
        an update. Clear it, and then try to enter."""
        waiter = self._join_queue()
        waiter.attach(LoopMailbox.current().mailbox)
        return waiter

    @property
    def queue_seconds(self) -> float:
        """How much longer the request may wait for room in the queue. Negative: no longer."""
        return min(self._queue_limit, self._spec.expires) - time.monotonic()

    def _join_queue(self) -> Waiter:
        with self._lock:
            waiter = self._waiter
            if waiter is None:
                waiter = self._waiter = self._lifecycle.join_queue(len(self.handles))
        if self._cancelled or self._entered:
            waiter.wake()  # who did that may have been too early to see the waiter
        return waiter

    def _has_queue_update(self, waiter: Waiter) -> bool:
        # Another waiter of this request may have cleared it, but then the place is given up, or still waited for.
        return waiter.has_update() or self._waiter is not waiter

    def _leave_queue(self) -> None:
        """Explicitly, because a traceback may keep the waiter alive; wakes those who wait with it."""
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            waiter.leave()

    def cancel(self) -> None:
        """Ends the request within one step. Waiting callers get RequestCancelled. May be called again."""
        self._cancelled = True
        for handle in self.handles:
            handle.cancel()
        self._leave_queue()
        self._lifecycle.wake()

    def result(self, timeout: float | None = None) -> ResultT:
        """Waits for the whole result. TimeoutError after `timeout` seconds leaves the request running."""
        limit = moment_after(timeout)
        self.enter()
        while not self._delivery.collect():
            if time.monotonic() >= limit:
                raise TimeoutError(f"the request is still running after {timeout} seconds")
            # Never negative, which would be a wait without end: the limit may have passed since it was looked at.
            self.wait_update(max(0.0, min(WAIT_SECONDS, limit - time.monotonic())))
        return self._result()

    async def aresult(self) -> ResultT:
        """Waits for the whole result. A cancelled wait leaves the request running."""
        await self.aenter()
        while not self._delivery.collect():
            await self.await_update()
        return self._result()

    def _result(self) -> ResultT:
        self.raise_for_end()
        return self._builder.result()

    def __iter__(self) -> ResultStream[ResultT, Chunk]:
        return self._builder.stream(self)

    def __aiter__(self) -> ResultStream[ResultT, Chunk]:
        return self._builder.stream(self)

    def __repr__(self) -> str:
        state, usage, n_choices = "done" if self.done else "running", self.usage, len(self.handles)
        counts = f"{usage.prompt_tokens} tokens read, {usage.completion_tokens} written"
        return f"<{type(self).__name__} {self.id}: {state}, {n_choices} choices, {counts}>"

    def take(self, most: int | None = None) -> list[Chunk]:
        """The chunks that have come since the last call, of at most so many tokens, without waiting."""
        return self._builder.take(most)

    def arrivals(self) -> list[tuple[int, int]]:
        """(choice, number of tokens) of what has come since the last call. It is part of the result only."""
        return self._delivery.arrivals()

    @property
    def exhausted(self) -> bool:
        """Everything has been taken."""
        return self._builder.exhausted

    def raise_for_end(self) -> None:
        """Raises what ended the request, if it was not its natural end."""
        if (failure := self._delivery.failure(self._builder.partial)) is not None:
            raise failure

    def wait_update(self, seconds: float) -> None:
        """Waits until something has come, or `seconds` have passed."""
        self._lifecycle.check_process()
        handles = self._delivery.open_handles
        if handles and not any(handle.has_update() for handle in handles):
            # With several choices the others may have updates first; they are seen after one short wait.
            handles[0].wait(seconds if len(self.handles) == 1 else min(seconds, 0.005))

    async def await_update(self) -> None:
        """Waits until something has come."""
        self._lifecycle.check_process()
        await Updates([self]).wait()

    # By the names that they had at first.
    wait_news, await_news = wait_update, await_update
    join_line, line_seconds = join_queue, queue_seconds


RequestT = TypeVar("RequestT", bound=RequestHandle[Any, Any])


@contextmanager
def cancelled_on_failure(handle: RequestT) -> Iterator[RequestT]:
    """For a wait whose handle nobody else has. It has to be said, because a traceback keeps handles alive."""
    try:
        yield handle
    except BaseException:
        handle.cancel()
        raise
