"""The requests behind one reply: entered together, read together, ended together."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Generic, Protocol, TypeVar

import anyio
from anyio.lowlevel import checkpoint

from oxillama.asgi.large_replies import beside
from oxillama.asgi.request_log import RequestRecord
from oxillama.requests.request import RequestHandle
from oxillama.requests.updates import Updates
from oxillama.results.completion import Usage

# Tokens that are made chunks of in one go: others of the event loop want their turn, however late this reader is.
MOST_TOKENS = 128


class Piece(Protocol):
    """What a chunk of any reply has."""

    @property
    def index(self) -> int: ...
    @property
    def token_ids(self) -> tuple[int, ...]: ...


T = TypeVar("T")
Chunk = TypeVar("Chunk", bound=Piece)
Whole = TypeVar("Whole")


class ReplyRequests(Generic[Chunk, Whole]):
    """One request per prompt. The first must get its place in the queue; the others wait for theirs beside the work,
    so a reply may have more prompts than the queue has places."""

    def __init__(self, handles: Sequence[RequestHandle[Whole, Chunk]], record: RequestRecord) -> None:
        self.handles = handles
        self._record = record
        self._waiting = list(handles)
        self._first = 0  # of the handles, to be asked next
        self._ended: set[RequestHandle[Whole, Chunk]] = set()  # those that are known to have ended well
        self._arrivals: dict[tuple[int, int], float] = {}  # of each choice's last token
        self._closed = False
        self._updates: Updates | None = None  # of the event loop that reads, from the first wait on

    async def enter(self) -> None:
        """Raises QueueFullError if there is no room for the first request."""
        try:
            await self._waiting[0].aenter()
            self._enter_more()
        except BaseException:
            self.close()
            raise

    async def chunks(self) -> AsyncGenerator[list[tuple[int, Chunk]], None]:
        """The chunks of all requests as they come, each with its request's index; MOST_TOKENS of them at most."""
        try:
            while True:
                ready = self._take()
                if ready:
                    yield ready  # also the last before a failure
                await self._raise_for_end()
                if self._is_exhausted():
                    break
                # To others too, where tokens come faster than they are read.
                await (checkpoint() if len(ready) >= MOST_TOKENS else self._wait())
        finally:
            self.close()

    async def results(self, build: Callable[[list[Whole]], T]) -> T:
        """What `build` makes of the whole results, in the order of the requests; beside the event loop where it is
        much."""
        try:
            while not self._is_exhausted():
                for index, one in enumerate(self.handles):
                    for choice, n_tokens in one.arrivals():
                        self._note(index, choice, n_tokens)
                await self._raise_for_end()
                if not self._is_exhausted():
                    await self._wait()
            return await beside(lambda: build([one.result(0) for one in self.handles]), values=self.num_values)
        finally:
            self.close()

    @property
    def num_values(self) -> int:
        """About how many tokens, and alternatives of tokens, a whole reply tells of: a measure of the work it makes."""
        return sum(one.num_values for one in self.handles)

    @property
    def usage(self) -> Usage:
        """The counts of all requests so far."""
        usages = [one.usage for one in self.handles]
        return Usage(
            prompt_tokens=sum(usage.prompt_tokens for usage in usages),
            completion_tokens=sum(usage.completion_tokens for usage in usages),
            cached_tokens=sum(usage.cached_tokens for usage in usages),
            reasoning_tokens=sum(usage.reasoning_tokens for usage in usages),
            accepted_prediction_tokens=sum(usage.accepted_prediction_tokens for usage in usages),
            rejected_prediction_tokens=sum(usage.rejected_prediction_tokens for usage in usages),
        )

    def close(self) -> None:
        """Ends whatever still runs, and writes down what there was. May be called again."""
        if self._closed:
            return
        self._closed = True
        for one in self.handles:
            if not one.done:
                one.cancel()
        for one in self.handles:
            if one not in self._waiting:
                self._record.usages.append(one.usage)
                self._record.timings.append(one.timings)
                self._record.finish_reasons += [reason or "cancelled" for reason in one.finish_reasons]

    def _take(self) -> list[tuple[int, Chunk]]:
        ready: list[tuple[int, Chunk]] = []
        n = len(self.handles)
        first, self._first = self._first, (self._first + 1) % n
        for index in ((first + step) % n for step in range(n)):
            ready += [(index, chunk) for chunk in self.handles[index].take(MOST_TOKENS - len(ready))]
            if len(ready) >= MOST_TOKENS:
                break
        for index, chunk in ready:
            self._note(index, chunk.index, len(chunk.token_ids))
        return ready

    def _note(self, index: int, choice: int, n_tokens: int) -> None:
        """Writes down when tokens came. Those that came together did so without a gap."""
        if n_tokens:
            now = time.perf_counter()
            before = self._arrivals.get((index, choice))
            self._arrivals[index, choice] = now
            if before is not None:
                self._record.token_gaps.add(now - before)
            self._record.token_gaps.add(0.0, n_tokens - 1)

    def _is_exhausted(self) -> bool:
        return all(one.exhausted for one in self.handles)

    async def _raise_for_end(self) -> None:
        # As soon as one has failed: the reply as a whole has, and the others must not go on for nothing.
        for one in self.handles:
            if one.exhausted and one not in self._ended:
                # The error brings along all that there was until then.
                await beside(one.raise_for_end, values=one.num_values)
                self._ended.add(one)

    def _enter_more(self) -> None:
        while self._waiting and self._waiting[0].try_enter():
            del self._waiting[0]

    async def _wait(self) -> None:
        self._enter_more()
        if self._updates is None:
            self._updates = Updates(self.handles)
        if not self._waiting:
            await self._updates.wait()
            return
        first = self._waiting[0]
        waiter = first.join_queue()
        with anyio.move_on_after(first.queue_seconds):
            await self._updates.wait(waiter.has_update)
        waiter.clear()
