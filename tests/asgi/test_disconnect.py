"""Clients that leave: streamed or not, queued, prefilling or decoding, the slot is free a step later."""

from __future__ import annotations

import asyncio
import http.client
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp

from oxillama import Engine
from oxillama.asgi import create_app, until_disconnected
from oxillama.asgi.request_log import RequestRecord
from tests.asgi.servers import RunningServer, running
from tests.patience import eventually, is_idle

ENDLESS = {"prompt": "x", "max_tokens": 100_000, "ignore_eos": True, "seed": 1}
# Prefilled in thousands of steps.
LONG_PROMPT = {"prompt": [5] * 120_000, "max_tokens": 5}


@contextmanager
def asking(
    server: RunningServer, body: dict[str, Any], path: str = "/v1/completions"
) -> Iterator[http.client.HTTPConnection]:
    """A client that has sent its request and not looked for a reply; it leaves at the end of the block."""
    connection = http.client.HTTPConnection(server.host, server.port, timeout=30)
    connection.request("POST", path, json.dumps(body), {"content-type": "application/json"})
    try:
        yield connection
    finally:
        connection.close()


class Watched:
    """An engine behind a running server, with the steps it had taken when each request was over."""

    def __init__(self, engine: Engine, server: RunningServer, steps: list[int], records: list[RequestRecord]) -> None:
        self.engine = engine
        self.server = server
        self.steps = steps
        self.records = records


@pytest.fixture
def watched(open_long: Callable[..., Engine]) -> Iterator[Watched]:
    engine = open_long(max_batch_size=1, max_batch_tokens=32)
    app = create_app(engine)
    steps: list[int] = []
    records: list[RequestRecord] = []

    def observe(record: RequestRecord) -> None:
        steps.append(engine.stats().steps)
        records.append(record)

    app.state.service.observers.append(observe)
    with running(app) as server:
        yield Watched(engine, server, steps, records)


def all_is_over(watched: Watched) -> bool:
    """The engine is free and the app has noticed: in which order is left to the threads."""
    return is_idle(watched.engine) and bool(watched.records)


@pytest.mark.parametrize("stream", [False, True])
def test_leaving_while_decoding(watched: Watched, stream: bool) -> None:
    with asking(watched.server, {**ENDLESS, "stream": stream}) as connection:
        if stream:
            reply = connection.getresponse()
            assert reply.read(6) == b"data: "
        eventually(lambda: watched.engine.stats().output_tokens > 0)
    eventually(lambda: all_is_over(watched))
    # A step may have been under way, and one may have been planned.
    assert watched.engine.stats().steps - watched.steps[0] <= 2
    (record,) = watched.records
    assert record.disconnected
    assert record.to_dict()["status"] == 499
    assert record.finish_reasons == ["cancelled"]
    assert record.usages[0].completion_tokens > 0


@pytest.mark.parametrize("stream", [False, True])
def test_leaving_while_prefilling(watched: Watched, stream: bool) -> None:
    with asking(watched.server, {**LONG_PROMPT, "stream": stream}):
        eventually(lambda: watched.engine.stats().prompt_tokens > 0)
    eventually(lambda: all_is_over(watched))
    stats = watched.engine.stats()
    assert stats.steps - watched.steps[0] <= 2
    assert stats.prompt_tokens < len(LONG_PROMPT["prompt"])  # type: ignore[arg-type]
    assert stats.output_tokens == 0


@pytest.mark.parametrize("stream", [False, True])
def test_leaving_while_queued(watched: Watched, stream: bool) -> None:
    engine = watched.engine
    running_one = engine.submit("x", ignore_eos=True, seed=1)
    eventually(lambda: engine.stats().running == 1 and engine.stats().queue_depth == 0)
    with asking(watched.server, {**ENDLESS, "stream": stream}):
        eventually(lambda: engine.stats().queue_depth == 1)
    eventually(lambda: engine.stats().queue_depth == 0)
    assert not running_one.done
    running_one.cancel()
    eventually(lambda: is_idle(engine))


def test_leaving_before_the_body_is_sent(watched: Watched) -> None:
    connection = http.client.HTTPConnection(watched.server.host, watched.server.port, timeout=30)
    connection.putrequest("POST", "/v1/completions")
    connection.putheader("content-length", "1000")
    connection.endheaders(b'{"prompt": ')
    connection.close()
    eventually(lambda: len(watched.records) == 1)
    assert watched.records[0].disconnected
    assert watched.engine.stats().steps == 0


def test_many_that_leave_at_any_moment(watched: Watched) -> None:
    for number in range(40):
        with asking(watched.server, {**ENDLESS, "stream": number % 2 == 0, "n": 1 + number % 3}):
            goal = watched.engine.stats().steps + number % 4
            eventually(lambda goal=goal: watched.engine.stats().steps >= goal)  # type: ignore[misc]
    eventually(lambda: is_idle(watched.engine) and len(watched.records) == 40)
    # Whoever comes then finds everything as it was.
    with asking(watched.server, {**ENDLESS, "max_tokens": 5}) as connection:
        reply = json.loads(connection.getresponse().read())
    assert reply["choices"][0]["text"] == watched.engine.generate("x", max_tokens=5, ignore_eos=True, seed=1).text


class Passing(BaseHTTPMiddleware):
    """A host's middleware of the kind that must get a reply from whatever is inside."""

    def __init__(self, app: ASGIApp, seen: list[int | Exception]) -> None:
        super().__init__(app)
        self.seen = seen

    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        try:
            response = await call_next(request)
        except Exception as error:
            self.seen.append(error)
            raise
        self.seen.append(response.status_code)
        return response


class TestUnderAHostsMiddleware:
    @pytest.fixture
    def seen(self) -> list[int | Exception]:
        return []

    @pytest.fixture
    def host(self, open_long: Callable[..., Engine], seen: list[int | Exception]) -> Iterator[Watched]:
        engine = open_long(max_batch_size=1, max_batch_tokens=32)
        app = create_app(engine)
        records: list[RequestRecord] = []
        app.state.service.observers.append(records.append)

        async def own(request: Request) -> Response:
            text = await until_disconnected(request.receive, lambda: engine.agenerate("x", ignore_eos=True, seed=1))
            return Response(text.text)

        async def left(request: Request, error: Exception) -> Response:
            return Response(status_code=499)

        service = Starlette(
            routes=[Mount("/llm", app), Route("/own", own, methods=["POST"])],
            middleware=[Middleware(Passing, seen=seen), Middleware(Passing, seen=[])],
            exception_handlers={ClientDisconnect: left},
        )
        with running(service) as server:
            yield Watched(engine, server, [], records)

    @pytest.mark.parametrize("stream", [False, True])
    @pytest.mark.parametrize("body", [ENDLESS, LONG_PROMPT])
    def test_leaving_before_the_reply_has_begun(
        self, host: Watched, seen: list[int | Exception], body: dict[str, Any], stream: bool
    ) -> None:
        holder = host.engine.submit("x", ignore_eos=True, seed=1)
        eventually(lambda: host.engine.stats().running == 1 and host.engine.stats().queue_depth == 0)
        with asking(host.server, {**body, "stream": stream}, "/llm/v1/completions"):
            eventually(lambda: host.engine.stats().queue_depth == 1)
        eventually(lambda: bool(seen) and bool(host.records))
        holder.cancel()
        assert seen == [499]
        (record,) = host.records
        assert record.disconnected
        assert (record.status, record.first_byte) == (None, None)
        eventually(lambda: is_idle(host.engine))

    def test_leaving_before_the_body_is_sent(self, host: Watched, seen: list[int | Exception]) -> None:
        connection = http.client.HTTPConnection(host.server.host, host.server.port, timeout=30)
        connection.putrequest("POST", "/llm/v1/completions")
        connection.putheader("content-length", "1000")
        connection.endheaders(b'{"prompt": ')
        connection.close()
        eventually(lambda: bool(seen))
        assert seen == [499]

    def test_leaving_a_stream(self, host: Watched, seen: list[int | Exception]) -> None:
        with asking(host.server, {**ENDLESS, "stream": True}, "/llm/v1/completions") as connection:
            assert connection.getresponse().read(6) == b"data: "
        eventually(lambda: is_idle(host.engine) and bool(host.records))
        assert seen == [200]
        assert host.records[0].finish_reasons == ["cancelled"]

    def test_a_route_of_the_host_ends_its_own_work(self, host: Watched, seen: list[int | Exception]) -> None:
        with asking(host.server, {}, "/own"):
            eventually(lambda: host.engine.stats().output_tokens > 0)
        eventually(lambda: is_idle(host.engine) and bool(seen))
        assert seen == [499]


@pytest.mark.parametrize("is_whole", [False, True])
def test_what_nobody_takes_any_more_is_no_failure(
    demo: Engine, is_whole: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """With a server that raises when something is sent after the client has left."""
    records: list[RequestRecord] = []
    messages = [{"type": "http.request", "body": b'{"prompt": "a", "max_tokens": 1}', "more_body": not is_whole}]

    async def receive() -> dict[str, Any]:
        if messages:
            return messages.pop(0)
        if is_whole:
            await asyncio.sleep(3600)
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        raise OSError

    app = create_app(demo)
    app.state.service.observers.append(records.append)
    scope = {"type": "http", "method": "POST", "path": "/v1/completions", "headers": [], "query_string": b""}
    asyncio.run(app(scope, receive, send))
    (record,) = records
    assert (record.disconnected, record.error) == (True, None)
    assert "failed" not in caplog.text


class TestUntilDisconnected:
    def test_a_result_and_an_error_come_as_they_are(self) -> None:
        async def receive() -> dict[str, Any]:
            await asyncio.sleep(3600)
            raise AssertionError

        async def good() -> int:
            return 5

        async def bad() -> int:
            raise KeyError("x")

        assert asyncio.run(until_disconnected(receive, good)) == 5
        with pytest.raises(KeyError):
            asyncio.run(until_disconnected(receive, bad))

    def test_other_messages_are_no_disconnect(self) -> None:
        messages = [{"type": "http.request"}, {"type": "http.disconnect"}]

        async def receive() -> dict[str, Any]:
            await asyncio.sleep(0.01)
            return messages.pop(0)

        async def work() -> None:
            await asyncio.sleep(3600)

        with pytest.raises(ClientDisconnect):
            asyncio.run(until_disconnected(receive, work))
        assert messages == []
