"""Requests behind a reply: the full queue, deadlines before and after the first byte, silence, what is written down."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import pytest
from starlette.testclient import TestClient

from oxillama import CompletionChunk, DeadlineExceeded, Engine
from oxillama.asgi import Limits, create_app
from oxillama.asgi.reply_requests import ReplyRequests
from oxillama.asgi.request_log import RequestRecord
from tests.asgi.events import parse
from tests.asgi.replies import error_of
from tests.asgi.servers import running
from tests.patience import eventually, growing_limits, is_idle

ENDLESS = {"prompt": "x", "max_tokens": 100_000, "ignore_eos": True, "seed": 1}


@contextmanager
def occupied(engine: Engine, *, queued: int = 0) -> Iterator[None]:
    """The engine with one endless request running, and others in the queue."""
    handles = [engine.submit("x", ignore_eos=True, seed=1)]
    # In the batch is not yet out of the queue, where each of the others needs a place.
    eventually(lambda: engine.stats().running == 1 and engine.stats().queue_depth == 0)
    handles += [engine.submit("x", seed=1) for _ in range(queued)]
    try:
        yield
    finally:
        for handle in handles:
            handle.cancel()
        eventually(lambda: is_idle(engine))


@pytest.fixture
def narrow(open_long: Callable[..., Engine]) -> Engine:
    """One sequence at a time, and two that wait."""
    return open_long(max_batch_size=1, queue_size=2)


class TestFullQueue:
    @pytest.mark.parametrize("stream", [False, True])
    def test_it_is_a_429_that_says_when_to_come_back(self, narrow: Engine, stream: bool) -> None:
        client = TestClient(create_app(narrow))
        with occupied(narrow, queued=2):
            reply = client.post("/v1/completions", json={**ENDLESS, "stream": stream})
            assert error_of(reply, 429)["code"] == "queue_full"
            assert 1 <= int(reply.headers["retry-after"]) <= 120
            assert int(reply.headers["retry-after-ms"]) <= 1000 * int(reply.headers["retry-after"])
        assert client.post("/v1/completions", json={"prompt": "x", "max_tokens": 1}).status_code == 200

    def test_the_last_place_can_be_had(self, narrow: Engine) -> None:
        client = TestClient(create_app(narrow))
        with occupied(narrow, queued=1):
            reply = client.post("/v1/completions", json={**ENDLESS, "deadline": 0.2})
            assert error_of(reply, 504)["code"] == "deadline_exceeded"

    def test_choices_need_places_too(self, narrow: Engine) -> None:
        client = TestClient(create_app(narrow))
        with occupied(narrow, queued=1):
            error_of(client.post("/v1/completions", json={**ENDLESS, "n": 2}), 429)
        # More than the queue has at all is no matter of waiting.
        error = error_of(client.post("/v1/completions", json={**ENDLESS, "n": 3}), 400)
        assert error["param"] == "n"

    def test_it_may_be_waited_for(self, narrow: Engine) -> None:
        client = TestClient(create_app(narrow, limits=Limits(queue_timeout=30)))
        handle = narrow.submit("x", ignore_eos=True, max_tokens=5000, seed=1)
        eventually(lambda: narrow.stats().queue_depth == 0)
        waiting = [narrow.submit("x", seed=1, max_tokens=1) for _ in range(2)]
        reply = client.post("/v1/completions", json={"prompt": "x", "max_tokens": 1})
        assert reply.status_code == 200
        assert handle.done
        assert all(one.done for one in waiting)

    def test_a_place_that_is_not_free_in_time_is_a_429(self, narrow: Engine) -> None:
        client = TestClient(create_app(narrow, limits=Limits(queue_timeout=0.1)))
        with occupied(narrow, queued=2):
            error_of(client.post("/v1/completions", json=ENDLESS), 429)


class TestDeadline:
    @pytest.mark.parametrize("stream", [False, True])
    @pytest.mark.parametrize("limits", [Limits(), Limits(default_deadline=0.2), Limits(max_deadline=0.2)])
    def test_in_the_queue_it_is_a_504_or_the_only_event_of_a_stream(
        self, narrow: Engine, stream: bool, limits: Limits
    ) -> None:
        client = TestClient(create_app(narrow, limits=limits))
        own = {"deadline": 0.2} if limits == Limits() else {}
        with occupied(narrow):
            reply = client.post("/v1/completions", json={**ENDLESS, **own, "stream": stream})
        if not stream or reply.status_code != 200:  # the headers of a stream may be late, on a busy machine
            assert error_of(reply, 504)["code"] == "deadline_exceeded"
        else:
            (event,) = parse(reply.text)
            assert event["error"]["code"] == "deadline_exceeded"

    @pytest.mark.parametrize("keep_alive", [0.05, 60])
    def test_later_it_is_the_last_event_after_the_text(self, narrow: Engine, keep_alive: float) -> None:
        client = TestClient(create_app(narrow, keep_alive=keep_alive))
        for deadline in growing_limits():
            reply = client.post("/v1/completions", json={**ENDLESS, "deadline": deadline, "stream": True})
            if reply.status_code != 200:
                error_of(reply, 504)
                continue
            *pieces, last = parse(reply.text)
            text = "".join(piece["choices"][0]["text"] for piece in pieces)
            # A character whose last bytes never came ends the text as a replacement character.
            begun = text.rstrip("\N{REPLACEMENT CHARACTER}")
            if begun:
                break
        assert begun
        assert last["error"]["code"] == "deadline_exceeded"
        assert set(last["error"]) == {"message", "type", "param", "code"}
        whole = narrow.generate("x", ignore_eos=True, seed=1, max_tokens=2 * len(text) + 50).text
        assert whole.startswith(begun)

    def test_the_whole_reply_of_a_request_that_is_late_is_a_504(self, narrow: Engine) -> None:
        client = TestClient(create_app(narrow))
        error_of(client.post("/v1/completions", json={**ENDLESS, "deadline": 0.2}), 504)
        eventually(lambda: is_idle(narrow))

    def test_one_late_prompt_ends_the_others(self, open_long: Callable[..., Engine]) -> None:
        engine = open_long(max_batch_size=4)
        client = TestClient(create_app(engine))
        body = {**ENDLESS, "prompt": ["x", "y", "z"], "deadline": 0.2}
        error_of(client.post("/v1/completions", json=body), 504)
        eventually(lambda: is_idle(engine))


@pytest.mark.parametrize("stream", [False, True])
def test_an_engine_that_is_closed_meanwhile_is_told(open_long: Callable[..., Engine], stream: bool) -> None:
    engine = open_long()
    with running(create_app(engine)) as server:
        connection = http.client.HTTPConnection(server.host, server.port, timeout=30)
        connection.request("POST", "/v1/completions", json.dumps({**ENDLESS, "stream": stream}))
        eventually(lambda: engine.stats().output_tokens > 10)
        if stream:
            reply = connection.getresponse()  # the status is sent: what comes later is an event
            engine.close()
            assert reply.status == 200
            assert parse(reply.read().decode())[-1]["error"]["code"] == "engine_closed"
        else:
            engine.close()
            reply = connection.getresponse()
            assert reply.status == 503
            assert json.loads(reply.read())["error"]["type"] == "unavailable_error"
        connection.close()


@pytest.mark.parametrize("what", ["queued", "prefilling"])
def test_a_stream_is_kept_alive_before_its_first_token(open_long: Callable[..., Engine], what: str) -> None:
    engine = open_long(max_batch_size=1, max_batch_tokens=32)
    with running(create_app(engine, keep_alive=0.05)) as server:
        connection = http.client.HTTPConnection(server.host, server.port, timeout=30)
        body = {**ENDLESS, "max_tokens": 5, "stream": True}
        if what == "prefilling":
            body["prompt"] = [5] * 120_000
            connection.request("POST", "/v1/completions", json.dumps(body))
            reply = connection.getresponse()
            assert [reply.readline() for _ in range(4)] == [b": keep-alive\n", b"\n"] * 2
            assert engine.stats().output_tokens == 0
        else:
            with occupied(engine):
                connection.request("POST", "/v1/completions", json.dumps(body))
                reply = connection.getresponse()
                assert [reply.readline() for _ in range(4)] == [b": keep-alive\n", b"\n"] * 2
            *pieces, done = parse(": keep-alive\n\n" + reply.read().decode())
            assert done == "[DONE]"
            assert pieces[-1]["choices"][0]["finish_reason"] == "length"
        connection.close()
    eventually(lambda: is_idle(engine))


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("route", ["/v1/completions", "/v1/chat/completions"])
def test_the_log_has_counts_and_no_text(
    demo: Engine, caplog: pytest.LogCaptureFixture, stream: bool, route: str
) -> None:
    client = TestClient(create_app(demo))
    secret = "Zanzibar"
    given: dict[str, Any] = {"prompt": f"In {secret}"}
    if route != "/v1/completions":
        given = {"messages": [{"role": "user", "content": f"In {secret}"}]}
    with caplog.at_level(logging.DEBUG):
        reply = client.post(route, json={**given, "max_tokens": 5, "n": 2, "stream": stream, "ignore_eos": True})
        client.post(route, json={**given, "nope": secret})
        client.post(route, json={**given, "stop": [secret], "temperature": secret})
    assert reply.status_code == 200
    first = json.loads(next(one.getMessage() for one in caplog.records if one.name == "oxillama.access"))
    assert (first["status"], first["completion_tokens"], first["model"]) == (200, 10, "demo")
    assert first["prompt_tokens"] > 3
    assert first["finish_reasons"] == ["length", "length"]
    assert first.get("stream", False) is stream
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("oxillama")]
    assert len(ours) == 3
    assert secret not in str(ours)


def test_concurrent_requests_of_a_key_are_limited_over_a_server(open_long: Callable[..., Engine]) -> None:
    engine = open_long()
    app = create_app(engine, api_keys=["a", "b"], limits=Limits(concurrent_requests=1))
    with running(app) as server, contextlib.ExitStack() as stack:

        def ask(key: str, body: dict[str, Any]) -> http.client.HTTPConnection:
            connection = http.client.HTTPConnection(server.host, server.port, timeout=30)
            stack.callback(connection.close)
            connection.request("POST", "/v1/completions", json.dumps(body), {"x-api-key": key})
            return connection

        def status(key: str) -> int:
            reply = ask(key, {"prompt": "x", "max_tokens": 1}).getresponse()
            body = json.loads(reply.read())
            if reply.status == 429:
                assert body["error"]["code"] == "rate_limited"
                assert reply.headers["retry-after"] == "1"
            return reply.status

        first = ask("a", {**ENDLESS, "stream": True})
        reply = first.getresponse()
        assert reply.read(6) == b"data: "
        assert status("a") == 429
        assert status("b") == 200
        reply.close()
        first.close()
        # The engine may be free before the app has given the key its place back.
        eventually(lambda: status("a") == 200)
        eventually(lambda: is_idle(engine))


class Failing:
    """A request whose last text and whose failure come at the same moment."""

    exhausted = False
    done = True
    num_values = 1

    def take(self, most: int | None = None) -> list[CompletionChunk]:
        given, self.exhausted = [] if self.exhausted else [CompletionChunk(text="text")], True
        return given

    def raise_for_end(self) -> None:
        raise DeadlineExceeded


def test_the_text_before_a_failure_is_delivered() -> None:
    found: list[list[tuple[int, CompletionChunk]]] = []

    async def read() -> None:
        generation: Any = ReplyRequests([cast(Any, Failing())], RequestRecord(id="x", method="POST", path="/"))
        async for ready in generation.chunks():
            found.append(ready)

    with pytest.raises(DeadlineExceeded):
        asyncio.run(read())
    assert found == [[(0, CompletionChunk(text="text"))]]


def test_what_is_left_of_a_reply_is_cancelled(open_long: Callable[..., Engine]) -> None:
    engine = open_long()

    async def leave() -> None:
        handles = [engine.prepare("x", ignore_eos=True) for _ in range(2)]
        record = RequestRecord(id="x", method="POST", path="/")
        generation: Any = ReplyRequests(handles, record)
        await generation.enter()
        async with contextlib.aclosing(generation.chunks()) as chunks:
            await anext(chunks)
        # The handles are alive: nobody has dropped them.
        eventually(lambda: all(handle.done for handle in handles))
        assert [handle.finish_reasons for handle in handles] == [("cancelled",)] * 2
        assert record.finish_reasons == ["cancelled"] * 2

    asyncio.run(leave())
