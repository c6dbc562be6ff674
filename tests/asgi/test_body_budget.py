"""What all large bodies together may hold: more is told to come back later, and small ones are never counted."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from starlette.testclient import TestClient
from starlette.types import Message, Receive, Scope, Send

from oxillama import Engine
from oxillama.asgi import Limits, create_app
from oxillama.asgi.body_budget import FREE_BYTES, BodyBudget
from oxillama.asgi.errors import HTTPError

MAX = 1000
SCOPE: Scope = {"type": "http"}


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Body:
    """A body that arrives in parts; whoever reads it keeps it until it is let go."""

    def __init__(self, *sizes: int) -> None:
        self.parts = [
            {"type": "http.request", "body": bytes(size), "more_body": index < len(sizes) - 1}
            for index, size in enumerate(sizes)
        ]
        self.read = anyio.Event()
        self.let_go = anyio.Event()

    async def receive(self) -> Message:
        return self.parts.pop(0) if self.parts else {"type": "http.disconnect"}


async def reader(scope: Scope, receive: Receive, send: Send) -> None:
    while (message := await receive())["type"] == "http.request" and message["more_body"]:
        pass
    body: Body = scope["body"]
    body.read.set()
    await body.let_go.wait()


async def send(message: Message) -> None:
    raise AssertionError(message)


def refused(error: HTTPError) -> tuple[int, str | None, bool]:
    return error.status, error.code, "retry-after" in error.headers


@pytest.mark.anyio
async def test_bodies_count_from_their_arrival_to_the_end_of_their_request() -> None:
    budget = BodyBudget(reader, max_bytes=MAX)
    first, second = Body(FREE_BYTES, MAX - 100), Body(FREE_BYTES + 100)
    async with anyio.create_task_group() as tasks:
        for body in (first, second):
            tasks.start_soon(budget, {**SCOPE, "body": body}, body.receive, send)
            await body.read.wait()
        for parts in ((FREE_BYTES + 1,), (FREE_BYTES - 1, 1, 1)):
            late = Body(*parts)
            with pytest.raises(HTTPError) as caught:
                await budget({**SCOPE, "body": late}, late.receive, send)
            assert refused(caught.value) == (503, "bodies_full", True)
        # Whoever says little is served all the same.
        small = Body(FREE_BYTES // 2, FREE_BYTES // 2)
        small.let_go.set()
        await budget({**SCOPE, "body": small}, small.receive, send)
        second.let_go.set()
        await anyio.wait_all_tasks_blocked()
        next_one = Body(FREE_BYTES + 100)
        next_one.let_go.set()
        await budget({**SCOPE, "body": next_one}, next_one.receive, send)
        first.let_go.set()
    whole = Body(FREE_BYTES + MAX)
    whole.let_go.set()
    await budget({**SCOPE, "body": whole}, whole.receive, send)


@pytest.mark.anyio
async def test_a_request_that_fails_gives_its_bytes_back() -> None:
    async def failing(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        raise ZeroDivisionError

    budget = BodyBudget(failing, max_bytes=MAX)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            await budget(SCOPE, Body(FREE_BYTES + MAX).receive, send)


def test_an_app_says_so_in_its_own_words(demo: Engine) -> None:
    client = TestClient(create_app(demo, limits=Limits(max_bodies_bytes=1)))
    body: dict[str, Any] = {"prompt": "a", "max_tokens": 1, "user": "x" * FREE_BYTES}
    reply = client.post("/v1/completions", json=body)
    assert (reply.status_code, reply.json()["error"]["code"]) == (503, "bodies_full")
    assert reply.headers["retry-after"] == "1"
    assert client.post("/v1/completions", json={**body, "user": "x"}).status_code == 200
