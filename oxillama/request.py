"""A submitted request as an app holds it: what has come so far, the wait for the rest, the result, the end."""

from __future__ import annotations

import functools
import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeVar

import anyio

from oxillama._core.handle import Handle, TokenEvent
from oxillama._core.ticket import Ticket
from oxillama.errors import (
    DeadlineExceeded,
    EngineClosedError,
    InvalidRequestError,
    NumericalError,
    OxillamaError,
    RequestCancelled,
)
from oxillama.results import (
    Completion,
    CompletionChoice,
    CompletionChunk,
    FinishReason,
    Logprobs,
    Timings,
    TokenLogprob,
    Usage,
)
from oxillama.stream import WAIT_SECONDS, RequestStream
from oxillama.wakeup import LoopMailbox

if TYPE_CHECKING:
    from oxillama.lifecycle import Lifecycle
    from oxillama.tokenizer import Tokenizer

# What ends a choice normally; everything else raises.
FINISH_REASONS: dict[str, FinishReason] = {"stop": "stop", "length": "length"}


@dataclass(frozen=True)
class RequestSpec:
    """What a handle needs to know of the request to shape its results."""

    id: str
    model: str
    created: int
    seed: int
    stops: tuple[str, ...] = field(repr=False)
    n: int
    wants_logprobs: bool
    expires: float = math.inf  # on the monotonic clock


class _Choice:
    """One sequence, and everything it has delivered."""

    def __init__(self, handle: Handle, index: int) -> None:
        self.handle = handle
        self.index = index
        self.events: list[TokenEvent] = []
        self.texts: list[str] = []
        self.finished = False


class RequestHandle:
    """A request on its way. Iterate it for chunks, synchronously or asynchronously, or ask for the whole ``result()``.

    A handle keeps its engine alive; dropping it cancels the request. Threads may share it.
    patience: seconds it may wait for room in the queue. owner: whom it keeps alive."""

    def __init__(
        self,
        lifecycle: Lifecycle,
        handles: list[Handle],
        spec: RequestSpec,
        *,
        tokenizer: Tokenizer | None,
        patience: float,
        owner: object,
    ) -> None:
        self._lifecycle = lifecycle
        self._owner = owner
        self._queue_limit = time.monotonic() + patience
        self._entered = False
        self._cancelled = False
        self._ticket: Ticket | None = None
        self._lock = threading.Lock()
        self._choices = [_Choice(handle, index) for index, handle in enumerate(handles)]
        self._spec = spec
        self._tokenizer = tokenizer

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
        return [choice.handle for choice in self._choices]

    @property
    def discards_choices(self) -> bool:
        """More choices are generated than delivered: best_of."""
        return len(self._choices) > self._spec.n

    @property
    def seed(self) -> int:
        """Repeats the request: the same prompt and parameters with this seed give the same tokens."""
        return self._spec.seed

    @property
    def done(self) -> bool:
        return all(choice.handle.finish_reason is not None for choice in self._choices)

    @property
    def usage(self) -> Usage:
        """Counts so far."""
        first = self._choices[0].handle
        return Usage(
            prompt_tokens=first.num_prompt_tokens,
            completion_tokens=sum(choice.handle.num_published for choice in self._choices),
            cached_tokens=first.num_cached_tokens,
        )

    @property
    def finish_reasons(self) -> tuple[str | None, ...]:
        """How each choice ended: "stop", "length", "cancelled", "deadline" ...; None: not yet."""
        return tuple(choice.handle.finish_reason for choice in self._choices)

    @property
    def prompt_logprobs(self) -> Logprobs | None:
        """The scores of the prompt, where they were asked for and there is output already or the end; else None."""
        handle = self._choices[0].handle
        return self._logprobs(tuple(handle.prompt_events()), 0) if handle.has_prompt_logprobs else None

    def try_enter(self) -> bool:
        """Submits the request, unless that has been done. False: the queue is full, and there is time to wait."""
        if not self._entered:
            with self._lock:
                self._entered = self._entered or self._lifecycle.try_submit(self.handles, self._ticket)
        if self._entered:
            self._leave_line()
            return True
        if self._cancelled:
            raise RequestCancelled(partial=self._shape())
        now = time.monotonic()
        if now >= self._queue_limit:
            raise self._lifecycle.queue_full_error()
        if now >= self._spec.expires:
            raise DeadlineExceeded(partial=self._shape())
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
                ticket = self._ticket = self._lifecycle.join_line(len(self._choices))
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
        for choice in self._choices:
            choice.handle.cancel()
        self._leave_line()
        self._lifecycle.wake()

    def result(self, timeout: float | None = None) -> Completion:
        """Waits for the whole completion. TimeoutError after `timeout` seconds leaves the request running."""
        limit = math.inf if timeout is None else time.monotonic() + timeout
        self.enter()
        while not self._collect_all():
            if time.monotonic() >= limit:
                raise TimeoutError(f"the request is still running after {timeout} seconds")
            # Never negative, which would be a wait without end: the limit may have passed since it was looked at.
            self.wait_news(max(0.0, min(WAIT_SECONDS, limit - time.monotonic())))
        return self._completion()

    async def aresult(self) -> Completion:
        """Waits for the whole completion. A cancelled wait leaves the request running."""
        await self.aenter()
        while not self._collect_all():
            await self.await_news()
        return self._completion()

    def __iter__(self) -> CompletionStream:
        return CompletionStream(self)

    def __aiter__(self) -> CompletionStream:
        return CompletionStream(self)

    def __repr__(self) -> str:
        state = "done" if self.done else "running"
        return (
            f"<RequestHandle {self.id}: {state}, {len(self._choices)} choices, {self.usage.completion_tokens} tokens>"
        )

    def take(self) -> list[CompletionChunk]:
        """The chunks that have come since the last call, one per token, without waiting."""
        with self._lock:
            return [chunk for choice in self._choices for chunk in self._collect(choice)]

    @property
    def exhausted(self) -> bool:
        """Everything has been taken."""
        return all(choice.finished for choice in self._choices)

    def raise_for_end(self) -> None:
        """Raises what ended the request, if it was not its natural end."""
        for choice in self._choices:
            reason = choice.handle.finish_reason
            if reason in FINISH_REASONS or reason is None:
                continue
            partial = self._shape()
            match reason:
                case "cancelled":
                    raise RequestCancelled(partial=partial)
                case "deadline":
                    raise DeadlineExceeded(partial=partial)
                case "closed":
                    raise EngineClosedError("the engine was closed while the request was running")
            match choice.handle.fault:
                case "numerical":
                    raise NumericalError("the model produced NaN or infinite logits for this request")
                case "no_token":
                    # As Sampler says it.
                    raise InvalidRequestError(
                        "bans, bias and grammar leave no token to choose from", code="no_token_left"
                    )
                case "memory":
                    raise MemoryError("no memory for the request's output")
                case fault:
                    raise OxillamaError(f"the request failed: {fault}")

    def _collect(self, choice: _Choice) -> list[CompletionChunk]:
        if choice.finished:
            return []
        events, rest, choice.finished = choice.handle.take()
        choice.events += events
        choice.texts += [event.text for event in events]
        chunks = [self._chunk(choice, event.text, (event,)) for event in events]
        if choice.finished:
            choice.texts.append(rest)
            # The last token and the end come as one chunk.
            text = chunks[-1].text + rest if chunks else rest
            chunks[-1:] = [self._chunk(choice, text, tuple(events[-1:]), last=True)]
        return chunks

    def _collect_all(self) -> bool:
        with self._lock:
            for choice in self._choices:
                self._collect(choice)
            return self.exhausted

    def _chunk(
        self, choice: _Choice, text: str, events: tuple[TokenEvent, ...], *, last: bool = False
    ) -> CompletionChunk:
        return CompletionChunk(
            index=choice.index,
            text=text,
            token_ids=tuple(event.token for event in events),
            logprobs=self._logprobs(events, 0) if self._spec.wants_logprobs else None,
            finish_reason=FINISH_REASONS.get(choice.handle.finish_reason or "") if last else None,
            stop_reason=self._stop_reason(choice) if last else None,
            usage=self.usage if last and self.exhausted else None,
            id=self._spec.id,
            model=self._spec.model,
            created=self._spec.created,
        )

    def _stop_reason(self, choice: _Choice) -> str | int | None:
        if choice.handle.finish_reason != "stop":
            return None
        match choice.handle.stop:
            case int(index):
                return self._spec.stops[index]
            case (_, token):
                return token
        return None

    def _logprobs(self, events: tuple[TokenEvent, ...], text_offset: int) -> Logprobs:
        def entry(token: int, logprob: float, top: tuple[tuple[int, float], ...] = ()) -> TokenLogprob:
            return TokenLogprob(
                token_id=token,
                token_bytes=self._token_bytes(token),
                logprob=logprob,
                top=tuple(entry(*other) for other in top),
            )

        content = tuple(entry(event.token, event.logprob, event.top) for event in events)
        return Logprobs(content=content, text_offset=text_offset)

    def _token_bytes(self, token: int) -> bytes:
        # A model's output may be wider than its vocabulary.
        tokenizer = self._tokenizer
        return tokenizer.token_bytes(token) if tokenizer is not None and token < tokenizer.n_vocab else b""

    def _completion(self) -> Completion:
        self.raise_for_end()
        return self._shape()

    def _shape(self) -> Completion:
        self._collect_all()
        # best_of: the choices that the model itself found most likely, per token.
        best = sorted(self._choices, key=_mean_logprob, reverse=True)[: self._spec.n]
        kept = self._choices if len(best) == len(self._choices) else best
        return Completion(
            choices=tuple(
                CompletionChoice(
                    index=index,
                    text="".join(choice.texts),
                    token_ids=tuple(event.token for event in choice.events),
                    finish_reason=FINISH_REASONS.get(choice.handle.finish_reason or ""),
                    stop_reason=self._stop_reason(choice),
                    logprobs=self._logprobs(tuple(choice.events), 0) if self._spec.wants_logprobs else None,
                )
                for index, choice in enumerate(kept)
            ),
            prompt_logprobs=self.prompt_logprobs,
            usage=self.usage,
            seed=self._spec.seed,
            timings=self.timings,
            id=self._spec.id,
            model=self._spec.model,
            created=self._spec.created,
        )

    @property
    def timings(self) -> Timings:
        """Where the time went; a part that is not over is 0."""
        submit, start, prefill, first, end = self._choices[0].handle.times
        last = max(choice.handle.times[4] for choice in self._choices)
        return Timings(
            queue=max(0.0, start - submit) if start else max(0.0, end - submit),
            prefill=max(0.0, prefill - start),
            decode=max(0.0, last - prefill) if prefill else 0.0,
            ttft=max(0.0, first - submit),
        )

    def wait_news(self, seconds: float) -> None:
        """Waits until something has come, or `seconds` have passed."""
        self._lifecycle.check_process()
        waiting = next((choice for choice in self._choices if not choice.finished), None)
        if waiting is not None and not any(choice.handle.has_news() for choice in self._choices):
            # With several choices the others may have news first; they are seen after one short wait.
            waiting.handle.wait(seconds if len(self._choices) == 1 else min(seconds, 0.005))

    async def await_news(self) -> None:
        """Waits until something has come."""
        self._lifecycle.check_process()
        loop = LoopMailbox.current()
        handles = [choice.handle for choice in self._choices if not choice.finished]
        for handle in handles:
            handle.attach(loop.mailbox)
        # Another waiter may have taken the news, but not the end.
        await loop.wait(lambda: any(handle.has_news() or handle.finish_reason for handle in handles))


def _mean_logprob(choice: _Choice) -> float:
    values = [event.logprob for event in choice.events]
    return sum(values) / len(values) if values else -math.inf


class CompletionStream(RequestStream[RequestHandle, CompletionChunk]):
    """Chunks of a completion as they come."""


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
