"""How an event loop waits for requests: the one place where any of them does."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from oxillama._core.output.handle import Handle
from oxillama.requests.wakeup import LoopMailbox

if TYPE_CHECKING:
    from oxillama.requests.request import RequestHandle


class Updates:
    """What comes for some requests, as the running event loop sees it. Whoever waits often keeps it."""

    def __init__(self, requests: Iterable[RequestHandle[Any, Any]]) -> None:
        self._requests = list(requests)
        self._loop = LoopMailbox.current()

    async def wait(self, other: Callable[[], bool] | None = None) -> None:
        """Returns when something has come for one of them that has not been taken, or all of it has. other: becomes
        true with a post to the mailbox of the loop, and then ends the wait too."""
        handles = [handle for request in self._requests for handle in request.open_handles]
        if not handles and other is None:
            return

        def has_come() -> bool:
            for handle in handles:
                # Another waiter may have taken the update, but not the end.
                if handle.has_update() or handle.finish_reason is not None:
                    return True
            return other is not None and other()

        await self._wait(handles, has_come)

    async def wait_until(self, has_come: Callable[[], bool]) -> None:
        """The same for anything that becomes true only with something that comes for one of them."""
        await self._wait([handle for request in self._requests for handle in request.open_handles], has_come)

    async def _wait(self, handles: list[Handle], has_come: Callable[[], bool]) -> None:
        for handle in handles:
            handle.attach(self._loop.mailbox)
        await self._loop.wait(has_come)
