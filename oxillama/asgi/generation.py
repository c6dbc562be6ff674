"""The requests behind one reply: entered together, read together, ended together."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

import anyio

from oxillama.asgi.request_log import RequestRecord
from oxillama.request import QUEUE_POLL_SECONDS, RequestHandle
from oxillama.results import Completion, CompletionChunk
from oxillama.wakeup import LoopMailbox


class Generation:
    """One request per prompt. The first must get its place in the queue; the others wait for theirs beside the work,
    so a reply may have more prompts than the queue has places."""

    def __init__(self, requests: Sequence[RequestHandle], record: RequestRecord) -> None:
        self.requests = requests
        self._record = record
        self._waiting = list(requests)
        self._closed = False

    async def enter(self) -> None:
        """Raises QueueFullError if there is no room for the first request."""
        await self._waiting.pop(0).aenter()
        self._enter_more()

    async def chunks(self) -> AsyncGenerator[list[tuple[int, CompletionChunk]], None]:
        """The chunks of all requests as they come, each with its request's index."""
        try:
            while not self._is_exhausted():
                ready = [(index, chunk) for index, one in enumerate(self.requests) for chunk in one.take()]
                self._raise_for_end()
                if ready:
                    yield ready
                else:
                    await self._wait()
        finally:
            self.close()

    async def results(self) -> list[Completion]:
        """The whole completions, in the order of the requests."""
        try:
            while not self._is_exhausted():
                for one in self.requests:
                    one.take()
                self._raise_for_end()
                if not self._is_exhausted():
                    await self._wait()
            return [await one.aresult() for one in self.requests]
        finally:
            self.close()

    def close(self) -> None:
        """Ends whatever still runs, and writes down what there was. May be called again."""
        if self._closed:
            return
        self._closed = True
        for one in self.requests:
            if not one.done:
                one.cancel()
        entered = [one for one in self.requests if one not in self._waiting]
        self._record.usages += [one.usage for one in entered]
        self._record.timings += [one.timings for one in entered]
        self._record.finish_reasons += [reason or "cancelled" for one in entered for reason in one.finish_reasons]

    def _is_exhausted(self) -> bool:
        return all(one.exhausted for one in self.requests)

    def _raise_for_end(self) -> None:
        # As soon as one has failed: the reply as a whole has, and the others must not go on for nothing.
        for one in self.requests:
            if one.exhausted:
                one.raise_for_end()

    def _enter_more(self) -> None:
        while self._waiting and self._waiting[0].try_enter():
            del self._waiting[0]

    async def _wait(self) -> None:
        self._enter_more()
        if not self._waiting:
            await _news(self.requests)
            return
        with anyio.move_on_after(QUEUE_POLL_SECONDS):
            await _news(self.requests)


async def _news(requests: Sequence[RequestHandle]) -> None:
    mailbox = LoopMailbox.current()
    # One that has finished and been taken has no more news.
    handles = [handle for one in requests if not one.exhausted for handle in one.handles]
    for handle in handles:
        handle.attach(mailbox.mailbox)
    await mailbox.wait(lambda: any(handle.has_news() for handle in handles))
