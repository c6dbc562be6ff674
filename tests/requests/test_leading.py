"""Who watches the descriptor of an event loop for all its tasks, and who goes on when that one leaves."""

from __future__ import annotations

import asyncio
import os
import sys

import anyio
import anyio.lowlevel
import pytest

from oxillama.requests.wakeup import LoopMailbox

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    backend: str = request.param
    return backend


def post(loop: LoopMailbox) -> None:
    """What the worker does when there is an update."""
    os.write(loop.mailbox.fileno(), (1).to_bytes(8, sys.byteorder))


async def test_a_cancelled_leader_passes_the_lead_on() -> None:
    loop, leaving = LoopMailbox(), anyio.CancelScope()
    news: list[str] = []

    async def lead() -> None:
        with leaving:
            await loop.wait(lambda: False)

    async def follow() -> None:
        await loop.wait(lambda: bool(news))
        news.append("read")

    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lead)
            await anyio.lowlevel.checkpoint()
            await anyio.wait_all_tasks_blocked()
            tasks.start_soon(follow)
            await anyio.wait_all_tasks_blocked()
            leaving.cancel()
            await anyio.wait_all_tasks_blocked()
            news.append("come")
            post(loop)
    assert news == ["come", "read"]


def test_a_called_leader_that_is_cancelled_passes_the_lead_on() -> None:
    # Only asyncio cancels a task that has been woken already.
    async def run() -> None:
        loop = LoopMailbox()
        news: list[str] = []

        async def lead() -> None:
            try:
                await loop.wait(lambda: False)
            finally:
                called.cancel()

        leader = asyncio.create_task(lead())
        await asyncio.sleep(0)
        called = asyncio.create_task(loop.wait(lambda: False))
        await asyncio.sleep(0)
        last = asyncio.create_task(loop.wait(lambda: bool(news)))
        await asyncio.sleep(0)
        leader.cancel()
        await asyncio.wait([leader, called])
        assert called.cancelled()
        news.append("come")
        post(loop)
        await asyncio.wait_for(last, 20)

    asyncio.run(run())
