"""Many prompts on their way through an engine, in order, with a limit to how many are in flight at once."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Generic, Protocol, TypeVar

from anyio.lowlevel import checkpoint

from oxillama.errors import InvalidRequestError
from oxillama.progress import Progress, reporting
from oxillama.requests.admission import Prompt

ResultT = TypeVar("ResultT")
ResultT_co = TypeVar("ResultT_co", covariant=True)


class Request(Protocol[ResultT_co]):
    """A request in flight, as far as a batch knows it."""

    def result(self) -> ResultT_co: ...
    async def aresult(self) -> ResultT_co: ...
    def cancel(self) -> None: ...


class Batch(Generic[ResultT]):
    """Runs prompts through a function that submits one, and keeps the results in their order.

    It waits for the oldest first: the worker serves in order, so that one is the most likely to be done. When anything
    fails, what is in flight is cancelled. progress and label: see `reporting`."""

    def __init__(self, prompts: Iterable[Prompt], *, max_flight: int, progress: Progress, label: str) -> None:
        if isinstance(prompts, str | bytes):
            raise InvalidRequestError(f"prompts is one {type(prompts).__name__}, expected several", param="prompts")
        self._pending = deque(prompts)
        self._max_flight = max_flight
        self._progress = progress
        self._label = label
        self._flight: deque[Request[ResultT]] = deque()
        self._results: list[ResultT] = []

    def run(self, submit: Callable[[Prompt], Request[ResultT]]) -> list[ResultT]:
        with self._running() as advance:
            while self._pending or self._flight:
                while self._has_room():
                    self._flight.append(submit(self._pending.popleft()))
                self._store(self._flight[0].result())
                advance(1)
        return self._results

    async def arun(self, submit: Callable[[Prompt], Awaitable[Request[ResultT]]]) -> list[ResultT]:
        with self._running() as advance:
            while self._pending or self._flight:
                while self._has_room():
                    # Neither this nor what follows waits where there is room, and results are faster than their reader.
                    await checkpoint()
                    self._flight.append(await submit(self._pending.popleft()))
                await checkpoint()
                self._store(await self._flight[0].aresult())
                advance(1)
        return self._results

    def _has_room(self) -> bool:
        return bool(self._pending) and len(self._flight) < self._max_flight

    def _store(self, result: ResultT) -> None:
        self._flight.popleft()
        self._results.append(result)

    @contextmanager
    def _running(self) -> Iterator[Callable[[int], None]]:
        with reporting(self._progress, total=len(self._pending), label=self._label, unit="prompt") as advance:
            try:
                yield advance
            except BaseException:
                for request in self._flight:
                    request.cancel()
                raise
