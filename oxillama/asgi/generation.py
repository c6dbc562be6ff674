"""The requests behind one reply: entered together, read together, ended together."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any, Generic, Protocol, TypeVar

import anyio

from oxillama.asgi.request_log import RequestRecord
from oxillama.chat_request import ChatHandle
from oxillama.request import RequestHandle
from oxillama.results import Usage
from oxillama.wakeup import LoopMailbox


class Piece(Protocol):
    """What a chunk of any reply has."""

    @property
    def index(self) -> int: ...
    @property
    def token_ids(self) -> tuple[int, ...]: ...


Chunk = TypeVar("Chunk", bound=Piece)
Whole = TypeVar("Whole", covariant=True)


class Handle(Protocol[Chunk, Whole]):
    """What a reply needs of a request's handle, whether it completes a text or answers a conversation."""

    @property
    def done(self) -> bool: ...
    @property
    def exhausted(self) -> bool: ...
    @property
    def usage(self) -> Usage: ...
    def take(self) -> list[Chunk]: ...
    def try_enter(self) -> bool: ...
    async def aenter(self) -> None: ...
    async def aresult(self) -> Whole: ...
    def raise_for_end(self) -> None: ...
    def cancel(self) -> None: ...


class Generation(Generic[Chunk, Whole]):
    """One request per prompt. The first must get its place in the queue; the others wait for theirs beside the work,
    so a reply may have more prompts than the queue has places."""

    def __init__(self, handles: Sequence[Handle[Chunk, Whole]], record: RequestRecord) -> None:
        self.handles = handles
        self._record = record
        self._waiting = list(handles)
        self._arrivals: dict[tuple[int, int], float] = {}  # of each choice's last token
        self._closed = False

    async def enter(self) -> None:
        """Raises QueueFullError if there is no room for the first request."""
        try:
            await self._waiting[0].aenter()
            self._enter_more()
        except BaseException:
            self.close()
            raise

    async def chunks(self) -> AsyncGenerator[list[tuple[int, Chunk]], None]:
        """The chunks of all requests as they come, each with its request's index."""
        try:
            while not self._is_exhausted():
                ready = self._take()
                if ready:
                    yield ready  # also the last before a failure
                self._raise_for_end()
                if not ready:
                    await self._wait()
        finally:
            self.close()

    async def results(self) -> list[Whole]:
        """The whole results, in the order of the requests."""
        try:
            while not self._is_exhausted():
                self._take()  # for the record: when each token came, and how many were thought
                self._raise_for_end()
                if not self._is_exhausted():
                    await self._wait()
            return [await one.aresult() for one in self.handles]
        finally:
            self.close()

    @property
    def usage(self) -> Usage:
        """The counts of all requests so far."""
        usages = [one.usage for one in self.handles]
        return Usage(
            prompt_tokens=sum(usage.prompt_tokens for usage in usages),
            completion_tokens=sum(usage.completion_tokens for usage in usages),
            cached_tokens=sum(usage.cached_tokens for usage in usages),
            reasoning_tokens=sum(usage.reasoning_tokens for usage in usages),
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
                request = _request(one)
                self._record.usages.append(one.usage)
                self._record.timings.append(request.timings)
                self._record.finish_reasons += [reason or "cancelled" for reason in request.finish_reasons]

    def _take(self) -> list[tuple[int, Chunk]]:
        ready = [(index, chunk) for index, one in enumerate(self.handles) for chunk in one.take()]
        now = time.perf_counter()
        for index, chunk in ready:
            if chunk.token_ids:
                before = self._arrivals.get((index, chunk.index))
                self._arrivals[index, chunk.index] = now
                if before is not None:
                    self._record.token_gaps.append(now - before)
        return ready

    def _is_exhausted(self) -> bool:
        return all(one.exhausted for one in self.handles)

    def _raise_for_end(self) -> None:
        # As soon as one has failed: the reply as a whole has, and the others must not go on for nothing.
        for one in self.handles:
            if one.exhausted:
                one.raise_for_end()

    def _enter_more(self) -> None:
        while self._waiting and self._waiting[0].try_enter():
            del self._waiting[0]

    async def _wait(self) -> None:
        self._enter_more()
        if not self._waiting:
            await self._news(lambda: False)
            return
        first = _request(self._waiting[0])
        ticket = first.join_line()
        with anyio.move_on_after(first.line_seconds):
            await self._news(ticket.has_news)
        ticket.clear()

    async def _news(self, has_other_news: Callable[[], bool]) -> None:
        mailbox = LoopMailbox.current()
        # One that has finished and been taken has no more news.
        open_ones = [handle for one in self.handles if not one.exhausted for handle in _request(one).handles]
        for handle in open_ones:
            handle.attach(mailbox.mailbox)
        await mailbox.wait(lambda: has_other_news() or any(handle.has_news() for handle in open_ones))


def _request(handle: Handle[Any, Any]) -> RequestHandle:
    """The request under a handle."""
    request = handle.request if isinstance(handle, ChatHandle) else handle
    assert isinstance(request, RequestHandle)
    return request
