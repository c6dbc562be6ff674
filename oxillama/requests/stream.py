"""A request's chunks as an iterator, for completions and chats, synchronously and asynchronously. One life cycle."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

import anyio
from anyio.lowlevel import checkpoint

from oxillama.errors import InvalidRequestError
from oxillama.requests.beside import beside
from oxillama.requests.closing import ClosedOnLeaving

if TYPE_CHECKING:
    from oxillama.requests.request import RequestHandle
    from oxillama.results.completion import Usage

# Python looks at signals between two waits, so Ctrl-C is late by at most this.
WAIT_SECONDS = 0.05

ResultT = TypeVar("ResultT")
Chunk = TypeVar("Chunk")


@dataclass(frozen=True)
class Later(Generic[ResultT, Chunk]):
    """A request that is prepared when its first chunk is asked for. `size`: as for `beside`."""

    prepare: Callable[[], RequestHandle[ResultT, Chunk]]
    size: int


class RequestStream(ClosedOnLeaving, Generic[ResultT, Chunk]):
    """Chunks of one request as they come: an iterator and an async iterator, a context manager and an async one.

    The request is cancelled on ``close()``/``aclose()``, on leaving ``with``, or with the last reference, so also by a
    ``break`` out of a loop over it. Raises InvalidRequestError where best_of exceeds n: the best choices are known only
    at the end."""

    def __init__(self, handle: RequestHandle[ResultT, Chunk] | Later[ResultT, Chunk]) -> None:
        self._source = handle if isinstance(handle, Later) else _streamable(handle)
        self._ready: deque[Chunk] = deque()
        self._closed = False

    @property
    def handle(self) -> RequestHandle[ResultT, Chunk]:
        """The request. A long prompt, given to an asynchronous call, has none before its first chunk: RuntimeError."""
        if isinstance(self._source, Later):
            raise RuntimeError("the prompt is long and has not been read yet; ask for the first chunk before")
        return self._source

    @property
    def usage(self) -> Usage:
        """Counts so far; of a prompt that has not been read yet RuntimeError."""
        return self.handle.usage

    def _next(self) -> Chunk:
        return self._ready.popleft()

    def __iter__(self) -> Iterator[Chunk]:
        return self

    def __next__(self) -> Chunk:
        try:
            if not self._closed:
                if isinstance(self._source, Later):
                    self._source = _streamable(self._source.prepare())
                self._source.enter()
            while not self._refill(StopIteration):
                self.handle.wait_update(WAIT_SECONDS)
        except KeyboardInterrupt:
            self.close()
            raise
        return self._next()

    def __aiter__(self) -> AsyncIterator[Chunk]:
        return self

    async def __anext__(self) -> Chunk:
        try:
            if not self._closed and not self._ready:
                await self._prepare()
            if not self._closed and not self._ready:
                await self.handle.aenter()
                # Where tokens come faster than they are read, nothing below would ever let other tasks run.
                await checkpoint()
            while not self._refill(StopAsyncIteration):
                await self.handle.await_update()
        except anyio.get_cancelled_exc_class():
            self.close()
            raise
        return self._next()

    async def _prepare(self) -> None:
        source = self._source
        if not isinstance(source, Later):
            return
        handle = _streamable(await beside(source.prepare, size=source.size))
        if self._source is source and not self._closed:
            self._source = handle
        else:  # closed meanwhile, or another task was faster
            handle.cancel()

    def _refill(self, end: Callable[[], BaseException]) -> bool:
        if not self._ready and not self._closed:
            self._ready.extend(self.handle.take())
        if self._ready:
            return True
        if self._closed:
            raise end()
        if self.handle.exhausted:
            self._closed = True
            self.handle.raise_for_end()
            raise end()
        return False

    def close(self) -> None:
        """Cancels what is still running. May be called again."""
        self._closed = True
        self._ready.clear()
        if not isinstance(self._source, Later):
            self._source.cancel()


class ResultStream(RequestStream[ResultT, Chunk]):
    """Chunks of one request, and what they have said. `text_of`: what a chunk, or a whole result, says of choice 0."""

    def __init__(
        self,
        handle: RequestHandle[ResultT, Chunk] | Later[ResultT, Chunk],
        said: Callable[[Chunk], str],
        text_of: Callable[[ResultT], str],
    ) -> None:
        super().__init__(handle)
        self._said = said
        self._text_of = text_of
        self._texts: list[str] = []

    @property
    def text(self) -> str:
        """What choice 0 has said in the chunks that were taken so far; after `result()`, all of it."""
        return "".join(self._texts)

    def result(self) -> ResultT:
        """Waits for the whole result, whatever has been taken of it; there are no more chunks then. Raises what ended
        the request, as a handle's `result()` does, also where the stream was closed before its end."""
        if isinstance(self._source, Later):
            self._source = _streamable(self._source.prepare())
        try:
            return self._whole(self.handle.result())
        except KeyboardInterrupt:
            self.close()
            raise

    async def aresult(self) -> ResultT:
        await self._prepare()
        return self._whole(await self.handle.aresult())

    def _whole(self, result: ResultT) -> ResultT:
        self._closed = True
        self._ready.clear()
        self._texts = [self._text_of(result)]
        return result

    def _next(self) -> Chunk:
        chunk = super()._next()
        self._texts.append(self._said(chunk))
        return chunk


def _streamable(handle: RequestHandle[ResultT, Chunk]) -> RequestHandle[ResultT, Chunk]:
    if handle.discards_choices:
        raise InvalidRequestError("best_of above n cannot be streamed", param="best_of")
    return handle
