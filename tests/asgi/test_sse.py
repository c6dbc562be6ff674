"""Event streams: their format, keep-alives, and what becomes of an error before and after the first byte."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from typing import Any

import pytest
from starlette.requests import ClientDisconnect

from oxillama import DeadlineExceeded
from oxillama.asgi.request_log import RequestRecord
from oxillama.asgi.sse import EventStream, event
from tests.asgi.events import parse

Events = Callable[[], AsyncGenerator[bytes, None]]


class Exchange:
    """One reply, driven without a server."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.record = RequestRecord(id="x", method="POST", path="/")
        self.gone = asyncio.Event()
        self.broken = False

    async def receive(self) -> dict[str, Any]:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        if self.broken:
            raise OSError
        self.sent.append(message)

    async def run(self, events: AsyncGenerator[bytes, None], keep_alive: float = 60) -> None:
        scope = {"type": "http", "oxillama.record": self.record}
        await EventStream(events, keep_alive=keep_alive, close=lambda: None)(scope, self.receive, self.send)

    async def until_kept_alive(self, times: int) -> None:
        """Until so many comments were sent."""
        async with asyncio.timeout(20):
            while self.count_keep_alives() < times:
                await asyncio.sleep(0.01)

    def count_keep_alives(self) -> int:
        return sum(message.get("body") == b": keep-alive\n\n" for message in self.sent)

    @property
    def body(self) -> str:
        assert self.sent[-1] == {"type": "http.response.body", "body": b"", "more_body": False}
        return b"".join(message["body"] for message in self.sent[1:]).decode()


def test_an_event_is_one_line_of_json() -> None:
    assert event({"text": "a\nb\r\n\u2028é"}) == 'data: {"text":"a\\nb\\r\\n\\u2028é"}\n\n'.encode()
    assert event({}, "response.created") == b"event: response.created\ndata: {}\n\n"


def test_no_client_finds_a_line_end_within_the_data() -> None:
    every = "".join(map(chr, [*range(0x300), *range(0x2000, 0x2100), 0x10FFFF]))
    head, *rest = event({"text": every}).decode().splitlines()
    assert rest == [""]
    assert json.loads(head.removeprefix("data: ")) == {"text": every}


def test_a_stream_that_ends_well() -> None:
    async def events() -> AsyncGenerator[bytes, None]:
        yield event({"a": 1})
        yield b""  # nothing to say
        yield event({"a": 2}) + event({"a": 3})

    async def run() -> None:
        exchange = Exchange()
        await exchange.run(events())
        assert exchange.sent[0]["status"] == 200
        assert dict(exchange.sent[0]["headers"])[b"content-type"] == b"text/event-stream; charset=utf-8"
        assert parse(exchange.body) == [{"a": 1}, {"a": 2}, {"a": 3}, "[DONE]"]
        assert exchange.record.stream

    asyncio.run(run())


def test_an_error_before_the_first_byte_is_left_to_the_status() -> None:
    async def events() -> AsyncGenerator[bytes, None]:
        yield b""
        raise DeadlineExceeded

    async def run() -> None:
        exchange = Exchange()
        with pytest.raises(DeadlineExceeded):
            await exchange.run(events())
        assert exchange.sent == []

    asyncio.run(run())


@pytest.mark.parametrize(
    ("error", "type", "code"),
    [
        (DeadlineExceeded(), "timeout_error", "deadline_exceeded"),
        (KeyError("secret"), "server_error", "internal_error"),
    ],
)
def test_a_later_error_is_one_event_and_no_done(error: Exception, type: str, code: str) -> None:
    async def events() -> AsyncGenerator[bytes, None]:
        yield event({"a": 1})
        raise error

    async def run() -> None:
        exchange = Exchange()
        await exchange.run(events())
        first, last = parse(exchange.body)
        assert first == {"a": 1}
        assert (last["error"]["type"], last["error"]["code"]) == (type, code)
        assert "secret" not in exchange.body
        assert exchange.record.error == code

    asyncio.run(run())


def test_comments_keep_a_silent_stream_alive() -> None:
    async def events() -> AsyncGenerator[bytes, None]:
        await exchange.until_kept_alive(2)
        yield event({"a": 1})
        await exchange.until_kept_alive(exchange.count_keep_alives() + 1)

    exchange = Exchange()

    async def run() -> None:
        await exchange.run(events(), keep_alive=0.05)
        before, after = exchange.body.split('data: {"a":1}\n\n')
        assert before.count(": keep-alive\n\n") >= 2
        assert after.count(": keep-alive\n\n") >= 1
        assert parse(exchange.body) == [{"a": 1}, "[DONE]"]

    asyncio.run(run())


def test_an_error_after_a_comment_is_an_event() -> None:
    async def events() -> AsyncGenerator[bytes, None]:
        await exchange.until_kept_alive(1)
        raise DeadlineExceeded
        yield b""

    exchange = Exchange()

    async def run() -> None:
        await exchange.run(events(), keep_alive=0.05)
        (only,) = parse(exchange.body)
        assert only["error"]["code"] == "deadline_exceeded"

    asyncio.run(run())


@pytest.mark.parametrize("how", ["receive", "send", "comment"])
def test_a_client_that_leaves_closes_the_events(how: str) -> None:
    closed = []

    async def events() -> AsyncGenerator[bytes, None]:
        try:
            yield event({"a": 1})
            while True:
                await asyncio.sleep(0.01 if how == "send" else 3600)
                yield event({"a": 2})
        finally:
            closed.append(True)

    async def run() -> None:
        exchange = Exchange()
        async with asyncio.timeout(10):
            reply = asyncio.create_task(exchange.run(events(), keep_alive=0.02))
            while not exchange.sent:
                await asyncio.sleep(0.001)
            exchange.broken = True
            if how != "send":
                await asyncio.sleep(0.1 if how == "comment" else 0)
                exchange.gone.set()
            with pytest.raises(ClientDisconnect):
                await reply
        assert closed == [True]

    asyncio.run(run())


def test_a_client_that_left_before_the_stream_began_closes_it_too() -> None:
    closed = []

    async def events() -> AsyncGenerator[bytes, None]:
        yield event({"a": 1})

    async def run() -> None:
        exchange = Exchange()
        scope = {"type": "http", "oxillama.record": exchange.record}
        reply = EventStream(events(), keep_alive=60, close=lambda: closed.append(True))
        task = asyncio.create_task(reply(scope, exchange.receive, exchange.send))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        # Not even begun: whoever made it still has it.
        assert closed == []
        exchange.gone.set()
        exchange.broken = True
        with pytest.raises(ClientDisconnect):
            await reply(scope, exchange.receive, exchange.send)
        assert closed == [True]

    asyncio.run(run())


def test_the_headers_do_not_wait_for_the_first_event() -> None:
    go = asyncio.Event()

    async def events() -> AsyncGenerator[bytes, None]:
        await go.wait()
        yield event({"a": 1})

    async def run() -> None:
        exchange = Exchange()
        task = asyncio.create_task(exchange.run(events()))
        async with asyncio.timeout(20):
            while not exchange.sent:
                await asyncio.sleep(0.01)
        assert exchange.sent[0]["status"] == 200
        assert exchange.count_keep_alives() == 0
        go.set()
        await task
        assert parse(exchange.body) == [{"a": 1}, "[DONE]"]
        assert [message["type"] for message in exchange.sent].count("http.response.start") == 1

    asyncio.run(run())


def test_an_error_after_the_headers_is_an_event_though_it_is_the_first() -> None:
    async def run() -> None:
        exchange = Exchange()

        async def events() -> AsyncGenerator[bytes, None]:
            while not exchange.sent:
                await asyncio.sleep(0.01)
            if exchange.sent:
                raise DeadlineExceeded
            yield b""

        async with asyncio.timeout(20):
            await exchange.run(events())
        (only,) = parse(exchange.body)
        assert only["error"]["code"] == "deadline_exceeded"

    asyncio.run(run())
