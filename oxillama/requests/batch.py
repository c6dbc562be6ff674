"""Many prompts on their way through an engine, in order, with a limit to how many are in flight at once."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, Protocol, TypeVar

from anyio.lowlevel import checkpoint

from oxillama.errors import InvalidRequestError, OxillamaError
from oxillama.progress import Progress, reporting

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
    fails, what is in flight is cancelled, and the error has the `index` of its prompt; with return_exceptions it stands
    for the result, and the others go on. progress and label: see `reporting`."""

    def __init__(
        self,
        prompts: Iterable[Any],
        *,
        max_flight: int,
        progress: Progress,
        label: str,
        return_exceptions: bool = False,
        noun: str = "prompt",
    ) -> None:
        if isinstance(prompts, str | bytes):
            raise InvalidRequestError(f"{noun}s is one {type(prompts).__name__}, expected several", param=f"{noun}s")
        self._pending: deque[Any] = deque(prompts)
        self._max_flight = max_flight
        self._progress = progress
        self._label = label
        self._noun = noun
        self._return_exceptions = return_exceptions
        self._flight: deque[Request[ResultT] | Exception] = deque()
        self._results: list[ResultT | Exception] = []
        self._num_submitted = 0

    def run(self, submit: Callable[[Any], Request[ResultT]]) -> list[ResultT]:
        with self._running() as advance:
            while self._pending or self._flight:
                while self._has_room():
                    with self._placed(self._flight, self._num_submitted):
                        self._num_submitted += 1
                        self._flight.append(submit(self._pending.popleft()))
                with self._placed(self._results, len(self._results)):
                    self._results.append(_ended(self._flight[0]).result())
                self._flight.popleft()
                advance(1)
        return self._found()

    async def arun(self, submit: Callable[[Any], Awaitable[Request[ResultT]]]) -> list[ResultT]:
        with self._running() as advance:
            while self._pending or self._flight:
                while self._has_room():
                    # Neither this nor what follows waits where there is room, and results are faster than their reader.
                    await checkpoint()
                    with self._placed(self._flight, self._num_submitted):
                        self._num_submitted += 1
                        self._flight.append(await submit(self._pending.popleft()))
                await checkpoint()
                with self._placed(self._results, len(self._results)):
                    self._results.append(await _ended(self._flight[0]).aresult())
                self._flight.popleft()
                advance(1)
        return self._found()

    def _found(self) -> list[ResultT]:
        # Exceptions are among them only where they were asked for, and the caller's own type says so.
        return self._results  # type: ignore[return-value]

    def _has_room(self) -> bool:
        return bool(self._pending) and len(self._flight) < self._max_flight

    @contextmanager
    def _placed(self, places: deque[Any] | list[Any], index: int) -> Iterator[None]:
        """What goes wrong is told with its index, or takes the place of what it would have been."""
        try:
            yield
        except Exception as error:
            note_index(error, index, self._noun)
            if not self._return_exceptions:
                raise
            places.append(error)

    @contextmanager
    def _running(self) -> Iterator[Callable[[int], None]]:
        with reporting(self._progress, total=len(self._pending), label=self._label, unit="prompt") as advance:
            try:
                yield advance
            except BaseException:
                for request in self._flight:
                    if not isinstance(request, Exception):
                        request.cancel()
                raise


def note_index(error: Exception, index: int, noun: str) -> None:
    """Says which of several it was: in `.index`, in `.param` where the prompt itself is meant, and in a note."""
    if isinstance(error, OxillamaError) and error.index is None:
        error.index = index
        error.add_note(f"{noun}s[{index}]")
        if isinstance(error, InvalidRequestError) and error.param is not None:
            if error.param == noun == "prompt":
                error.param = f"{noun}s[{index}]"
            elif error.param.startswith("messages"):
                error.param = f"{noun}s[{index}]{error.param.removeprefix('messages')}"


def _ended(request: Request[ResultT] | Exception) -> Request[ResultT]:
    if isinstance(request, Exception):
        raise request
    return request
