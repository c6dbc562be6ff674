"""Work beside `receive()`: a client that vanishes ends it, wherever it is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import anyio
from starlette.requests import ClientDisconnect
from starlette.types import Receive

T = TypeVar("T")


async def until_disconnected(
    receive: Receive, work: Callable[[], Awaitable[T]], *, beside: Callable[[], Coroutine[Any, Any, None]] | None = None
) -> T:
    """What `work` returns or raises. It is cancelled when the client leaves; then ClientDisconnect is raised.

    The request's body must have been read. `beside` runs as long as the work and must not raise."""
    result: list[T] = []
    failure: BaseException | None = None

    async def watch() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watch)
        if beside is not None:
            tasks.start_soon(beside)
        try:
            result.append(await work())
        except Exception as error:
            failure = error  # raised below: a task group would wrap it
        tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure
    if not result:
        raise ClientDisconnect
    return result[0]
