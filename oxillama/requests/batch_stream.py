"""Results of many requests as they come to their ends, with the place of each among what was asked."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

from anyio.lowlevel import checkpoint

from oxillama.errors import InvalidRequestError
from oxillama.requests.batch import note_index
from oxillama.requests.closing import ClosedOnLeaving
from oxillama.requests.request import RequestHandle
from oxillama.requests.updates import Updates

ResultT = TypeVar("ResultT")

# A look at all of those in flight takes less than a millisecond, and Ctrl-C may wait as long.
POLL_SECONDS = 0.005


class BatchStream(ClosedOnLeaving, Generic[ResultT]):
    """Pairs (index, result or exception), an iterator and an async iterator, a context manager and an async one.

    What is in flight is cancelled on ``close()``/``aclose()``, on leaving ``with``, or with the last reference, so also
    by a ``break``. One loop at a time."""

    def __init__(
        self,
        prompts: Iterable[Any],
        submit: Callable[[Any], RequestHandle[ResultT, Any]],
        asubmit: Callable[[Any], Awaitable[RequestHandle[ResultT, Any]]],
        *,
        max_flight: int,
        noun: str = "prompt",
    ) -> None:
        if isinstance(prompts, str | bytes):
            raise InvalidRequestError(f"{noun}s is one {type(prompts).__name__}, expected several", param=f"{noun}s")
        self._pending = deque(enumerate(prompts))
        self._submit = submit
        self._asubmit = asubmit
        self._max_flight = max_flight
        self._noun = noun
        self._flight: dict[int, RequestHandle[ResultT, Any]] = {}
        self._ready: deque[tuple[int, ResultT | Exception]] = deque()

    def __iter__(self) -> Iterator[tuple[int, ResultT | Exception]]:
        return self

    def __next__(self) -> tuple[int, ResultT | Exception]:
        try:
            while not self._ready:
                while self._has_room():
                    index, prompt = self._pending.popleft()
                    try:
                        self._flight[index] = self._submit(prompt)
                    except Exception as error:
                        self._store(index, error)
                self._collect()
                if not self._ready:
                    if not self._flight:
                        raise StopIteration
                    next(iter(self._flight.values())).wait_update(POLL_SECONDS)
        except KeyboardInterrupt:
            self.close()
            raise
        return self._ready.popleft()

    def __aiter__(self) -> AsyncIterator[tuple[int, ResultT | Exception]]:
        return self

    async def __anext__(self) -> tuple[int, ResultT | Exception]:
        try:
            await checkpoint()
            while not self._ready:
                while self._has_room():
                    index, prompt = self._pending.popleft()
                    try:
                        self._flight[index] = await self._asubmit(prompt)
                    except Exception as error:
                        self._store(index, error)
                self._collect()
                if not self._ready:
                    if not self._flight:
                        raise StopAsyncIteration
                    await Updates(self._flight.values()).wait_until(self._has_ended)
        except (StopAsyncIteration, Exception):
            raise
        except BaseException:  # a cancelled task
            self.close()
            raise
        return self._ready.popleft()

    def close(self) -> None:
        """Cancels what is in flight, and forgets the rest. May be called again."""
        self._pending.clear()
        self._ready.clear()
        for handle in self._flight.values():
            handle.cancel()
        self._flight.clear()

    def _has_room(self) -> bool:
        return bool(self._pending) and len(self._flight) < self._max_flight and not self._ready

    def _has_ended(self) -> bool:
        return any(handle.done for handle in self._flight.values())

    def _collect(self) -> None:
        for index in [index for index, handle in self._flight.items() if handle.done]:
            try:
                self._ready.append((index, self._flight.pop(index).result()))
            except Exception as error:
                self._store(index, error)

    def _store(self, index: int, error: Exception) -> None:
        note_index(error, index, self._noun)
        self._ready.append((index, error))
