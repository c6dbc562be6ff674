"""A request as an app holds it: its place in the queue, the wait for what it delivers, its end."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, TypeVar

import anyio

from oxillama._core.output.handle import Handle
from oxillama._core.scheduling.ticket import Ticket
from oxillama.errors import (
    AdapterError,
    DeadlineExceeded,
    EngineClosedError,
    GrammarError,
    InvalidRequestError,
    NumericalError,
    OxillamaError,
    RequestCancelled,
)
from oxillama.requests.completion_builder import FINISH_REASONS, CompletionBuilder
from oxillama.requests.stream import WAIT_SECONDS, Later, ResultStream
from oxillama.requests.wakeup import LoopMailbox
from oxillama.results.completion import Completion, CompletionChunk, Logprobs, Timings, Usage
from oxillama.sampling.params import MAX_LOGPROBS
from oxillama.values import moment_after

if TYPE_CHECKING:
    from oxillama.lifecycle import Lifecycle


class RequestHandle:
    """A request on its way. Iterate it for chunks, synchronously or asynchronously, or ask for the whole ``result()``.

    A handle keeps its engine alive; dropping it cancels the request. Threads may share it, and tasks of one event loop.
    patience: seconds it may wait for room in the queue. owner: whom it keeps alive."""

    def __init__(self, lifecycle: Lifecycle, builder: CompletionBuilder, *, patience: float, owner: object) -> None:
        self._lifecycle = lifecycle
        self._owner = owner
        self._queue_limit = time.monotonic() + patience
        self._entered = False
        self._cancelled = False
        self._ticket: Ticket | None = None
        self._lock = threading.Lock()
        self._builder = builder
        self._spec = builder.spec

    @property
    def id(self) -> str:
        return self._spec.id

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
        return self._builder.handles

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
        return self._builder.timings

    def try_enter(self) -> bool:
        """Submits the request, unless that has been done. False: the queue is full, and there is time to wait."""
        if not self._entered:
            with self._lock:
                self._entered = self._entered or self._lifecycle.try_submit(self.handles, self._ticket)
        if self._entered:
            self._leave_line()
            return True
        if self._cancelled:
            raise RequestCancelled(partial=self._builder.completion())
        now = time.monotonic()
        if now >= self._queue_limit:
            raise self._lifecycle.queue_full_error()
        if now >= self._spec.expires:
            raise DeadlineExceeded(partial=self._builder.completion())
        return False

    def enter(self) -> None:
        """Submits the request, waiting for room in the queue. Raises QueueFullError or DeadlineExceeded without any."""
        try:
            while not self.try_enter():
                ticket = self._join_line()
                ticket.wait(max(0.0, min(WAIT_SECONDS, self.line_seconds)))
                ticket.clear()
        except BaseException:
            self._leave_line()
            raise

    async def aenter(self) -> None:
        try:
            while not self.try_enter():
                ticket = self.join_line()
                with anyio.move_on_after(self.line_seconds):
                    await LoopMailbox.current().wait(functools.partial(self._has_line_news, ticket))
                ticket.clear()
        except BaseException:
            self._leave_line()
            raise

    def join_line(self) -> Ticket:
        """The place among those who wait for room in the queue, which posts the mailbox of the running event loop when
        there are news. Clear it, and then try to enter."""
        ticket = self._join_line()
        ticket.attach(LoopMailbox.current().mailbox)
        return ticket

    @property
    def line_seconds(self) -> float:
        """How much longer the request may wait for room in the queue. Negative: no longer."""
        return min(self._queue_limit, self._spec.expires) - time.monotonic()

    def _join_line(self) -> Ticket:
        with self._lock:
            ticket = self._ticket
            if ticket is None:
                ticket = self._ticket = self._lifecycle.join_line(len(self.handles))
        if self._cancelled or self._entered:
            ticket.wake()  # who did that may have been too early to see the ticket
        return ticket

    def _has_line_news(self, ticket: Ticket) -> bool:
        # Another waiter of this request may have cleared the news, but then the place is given up, or still waited for.
        return ticket.has_news() or self._ticket is not ticket

    def _leave_line(self) -> None:
        """Explicitly, because a traceback may keep the ticket alive; wakes those who wait with it."""
        ticket, self._ticket = self._ticket, None
        if ticket is not None:
            ticket.leave()

    def cancel(self) -> None:
        """Ends the request within one step. Waiting callers get RequestCancelled. May be called again."""
        self._cancelled = True
        for handle in self.handles:
            handle.cancel()
        self._leave_line()
        self._lifecycle.wake()

    def result(self, timeout: float | None = None) -> Completion:
        """Waits for the whole completion. TimeoutError after `timeout` seconds leaves the request running."""
        limit = moment_after(timeout)
        self.enter()
        while not self._builder.collect():
            if time.monotonic() >= limit:
                raise TimeoutError(f"the request is still running after {timeout} seconds")
            # Never negative, which would be a wait without end: the limit may have passed since it was looked at.
            self.wait_news(max(0.0, min(WAIT_SECONDS, limit - time.monotonic())))
        return self._result()

    async def aresult(self) -> Completion:
        """Waits for the whole completion. A cancelled wait leaves the request running."""
        await self.aenter()
        while not self._builder.collect():
            await self.await_news()
        return self._result()

    def __iter__(self) -> CompletionStream:
        return CompletionStream(self)

    def __aiter__(self) -> CompletionStream:
        return CompletionStream(self)

    def __repr__(self) -> str:
        state = "done" if self.done else "running"
        return f"<RequestHandle {self.id}: {state}, {len(self.handles)} choices, {self.usage.completion_tokens} tokens>"

    def take(self, most: int | None = None) -> list[CompletionChunk]:
        """The chunks that have come since the last call, one per token and at most so many, without waiting."""
        return self._builder.take(most)

    def arrivals(self) -> list[tuple[int, int]]:
        """(choice, number of tokens) of what has come since the last call. It is part of the result only."""
        return self._builder.arrivals()

    @property
    def exhausted(self) -> bool:
        """Everything has been taken."""
        return self._builder.exhausted

    def raise_for_end(self) -> None:
        """Raises what ended the request, if it was not its natural end."""
        for handle in self.handles:
            reason = handle.finish_reason
            if reason in FINISH_REASONS or reason is None:
                continue
            partial = self._builder.completion()
            match reason:
                case "cancelled":
                    raise RequestCancelled(partial=partial)
                case "deadline":
                    raise DeadlineExceeded(partial=partial)
                case "closed":
                    raise EngineClosedError("the engine was closed while the request was running")
            match handle.fault:
                case "numerical":
                    raise NumericalError("the model produced NaN or infinite logits for this request")
                case "no_token":
                    # As Sampler says it.
                    raise InvalidRequestError(
                        "bans, bias and grammar leave no token to choose from", code="no_token_left"
                    )
                case "dead_end":
                    raise GrammarError(
                        "the grammar, bans and bias leave no token to choose from", param="grammar", code="dead_end"
                    )
                case "constraint":
                    raise GrammarError(
                        "following the grammar takes more work or memory than is allowed for one token",
                        param="grammar",
                        code="grammar_limit",
                    )
                case "adapter":
                    raise AdapterError(
                        "an adapter of the request was unloaded by force", param="lora", code="adapter_unloaded"
                    )
                case "memory":
                    raise MemoryError("no memory for the request's output")
                case fault:
                    raise OxillamaError(f"the request failed: {fault}")

    def wait_news(self, seconds: float) -> None:
        """Waits until something has come, or `seconds` have passed."""
        self._lifecycle.check_process()
        handles = self._builder.open_handles
        if handles and not any(handle.has_news() for handle in handles):
            # With several choices the others may have news first; they are seen after one short wait.
            handles[0].wait(seconds if len(self.handles) == 1 else min(seconds, 0.005))

    async def await_news(self) -> None:
        """Waits until something has come."""
        self._lifecycle.check_process()
        loop = LoopMailbox.current()
        handles = self._builder.open_handles
        for handle in handles:
            handle.attach(loop.mailbox)
        # Another waiter may have taken the news, but not the end.
        await loop.wait(lambda: any(handle.has_news() or handle.finish_reason for handle in handles))

    def _result(self) -> Completion:
        self.raise_for_end()
        return self._builder.completion()


async def await_any(requests: Iterable[RequestHandle]) -> None:
    """Waits until one of the requests has ended."""
    waiting, loop = list(requests), LoopMailbox.current()
    for request in waiting:
        for handle in request.handles:
            handle.attach(loop.mailbox)
    await loop.wait(lambda: any(request.done for request in waiting))


class CompletionStream(ResultStream[RequestHandle, CompletionChunk, Completion]):
    """Chunks of a completion as they come. ``text`` is what choice 0 has said so far, ``result()`` the whole."""

    def __init__(self, handle: RequestHandle | Later[RequestHandle]) -> None:
        super().__init__(handle, lambda chunk: "" if chunk.index else chunk.text, lambda completion: completion.text)


class Cancellable(Protocol):
    def cancel(self) -> None: ...


HandleT = TypeVar("HandleT", bound=Cancellable)


@contextmanager
def cancelled_on_failure(handle: HandleT) -> Iterator[HandleT]:
    """For a wait whose handle nobody else has. It has to be said, because a traceback keeps handles alive."""
    try:
        yield handle
    except BaseException:
        handle.cancel()
        raise
