"""Texts of one request that are read and not continued: a few in flight at a time, so that others get a turn."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Never, TypeVar

from starlette.requests import Request

from oxillama.asgi.body import on_body
from oxillama.asgi.request_log import RequestRecord
from oxillama.errors import InvalidRequestError
from oxillama.requests.request import RequestHandle

T = TypeVar("T")


async def read_all(
    request: Request,
    prepare: Callable[[int], RequestHandle[T, Never]],
    *,
    n: int,
    max_flight: int,
    field: str,
    record: RequestRecord,
) -> list[T]:
    """The results of `n` texts in their order; `prepare` checks the one of a number. What is wrong with one of several
    is told as `field[number]`."""
    results: list[T] = []
    flight: deque[RequestHandle[T, Never]] = deque()

    async def land() -> None:
        handle = flight[0]
        results.append(await handle.aresult())
        flight.popleft()
        record.usages.append(handle.usage)
        record.timings.append(handle.timings)

    try:
        for index in range(n):
            if len(flight) >= max_flight:
                await land()
            try:
                handle = await on_body(request, partial(prepare, index))
            except InvalidRequestError as error:
                if error.param == field and n > 1:
                    error.param = f"{field}[{index}]"
                raise
            await handle.aenter()
            flight.append(handle)
        while flight:
            await land()
    finally:
        for handle in flight:
            handle.cancel()
    return results
