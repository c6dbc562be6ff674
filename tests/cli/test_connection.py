"""What a connection to `oxillama serve` may send, how slowly, and how it may end; an app of the test's own answers."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest
from starlette.types import Receive, Scope, Send

from oxillama.asgi.request_log import RequestRecord
from oxillama.asgi.sse import HALF_CLOSED, EventStream
from oxillama.cli import connection
from oxillama.cli.connection import MAX_BYTES_AHEAD, MAX_HEADER_BYTES, PATIENCE, Connection, Phase
from tests.asgi.servers import RunningServer, running
from tests.cli.programs import LIMIT
from tests.patience import eventually

HEAD = b"GET /quick HTTP/1.1\r\nhost: localhost\r\n"
POST = b"POST /%s HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n"


class App:
    """Answers with the length of the body: `/quick` at once, `/slow` when it is told to, `/deaf` without reading."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.left: list[str] = []
        self.half_closed: list[bool] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._go: asyncio.Event | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._go is None:
            self._loop, self._go = asyncio.get_running_loop(), asyncio.Event()
        path = scope["path"][1:]
        self.begun.append(path)
        if path == "stream":
            await self._stream(scope, receive, send)
            return
        size = 0 if path == "deaf" else await self._read(receive)
        if size is None:
            self.left.append(path)
            return
        if path == "slow":
            watching = asyncio.create_task(self._watch(receive, path))
            await self._go.wait()
            self.half_closed.append(scope["extensions"][HALF_CLOSED].is_set())
            watching.cancel()
        body = b"%d" % size
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
        await send({"type": "http.response.body", "body": body})

    async def _read(self, receive: Receive) -> int | None:
        size, more = 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            size += len(message["body"])
            more = message["more_body"]
        return size

    async def _watch(self, receive: Receive, path: str) -> None:
        if (await receive())["type"] == "http.disconnect":
            self.left.append(path)
            self.go(from_loop=True)

    async def _stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def events() -> object:
            assert self._go is not None
            await self._go.wait()
            yield b"data: it\n\n"

        def close() -> None:
            self.left.append("stream")

        scope["oxillama.record"] = RequestRecord(id="a", method="POST", path="/stream")
        await self._read(receive)
        await EventStream(events(), keep_alive=1000, close=close)(scope, receive, send)  # type: ignore[arg-type]

    def go(self, *, from_loop: bool = False) -> None:
        assert self._loop is not None
        assert self._go is not None
        if from_loop:
            self._go.set()
        else:
            self._loop.call_soon_threadsafe(self._go.set)


@pytest.fixture
def app() -> App:
    return App()


@pytest.fixture
def server(app: App) -> Iterator[RunningServer]:
    with running(app, lifespan="off", http=Connection) as server:
        yield server


@contextmanager
def connected(server: RunningServer, sent: bytes = b"") -> Iterator[socket.socket]:
    with socket.create_connection((server.host, server.port), timeout=LIMIT) as client:
        with suppress(ConnectionError):  # a server may have had enough before all is sent
            client.sendall(sent)
        yield client


def rest_of(client: socket.socket) -> bytes:
    """Everything until the server closes."""
    found = b""
    with suppress(ConnectionError):
        while part := client.recv(1 << 16):
            found += part
    return found


def status_of(reply: bytes) -> int:
    return int(reply.split()[1])


def code_of(reply: bytes) -> str:
    head, _, body = reply.partition(b"\r\n\r\n")
    assert b"content-type: application/json" in head
    return str(json.loads(body)["error"]["code"])


class TestHeaders:
    @pytest.mark.parametrize("pad", [b"x: ", b"x:" + b" " * 3000, b"a: b\r\n" * 1000 + b"x: "])
    @pytest.mark.parametrize(("size", "status"), [(MAX_HEADER_BYTES, 200), (MAX_HEADER_BYTES + 1, 431), (65536, 431)])
    def test_they_have_exactly_their_bound(self, server: RunningServer, pad: bytes, size: int, status: int) -> None:
        """However they come, and whatever came before."""
        end = b"\r\nconnection: close\r\n\r\n"
        head = HEAD + pad + b"a" * (size - len(HEAD + pad + end)) + end
        assert len(head) == size
        first = POST % (b"quick", 5) + b"hello"
        for before, cut in ((b"", size), (b"", size - 1), (first, size), (first * 3, 100)):
            with connected(server, before + head[:cut]) as client:
                with suppress(ConnectionError):
                    client.sendall(head[cut:])
                replies = rest_of(client).split(b"HTTP/1.1 ")
                assert [int(reply[:3]) for reply in replies[1:]] == [200] * (len(before) // len(first)) + [status]
                if status == 431:
                    assert code_of(replies[-1]) == "header_too_large"

    def test_a_client_that_sends_more_than_that_still_sees_why_not(self, server: RunningServer) -> None:
        with connected(server, HEAD + b"x: " + b"a" * (4 << 20)) as client:
            assert status_of(rest_of(client)) == 431

    def test_what_is_no_http_is_refused_in_the_one_shape(self, server: RunningServer) -> None:
        for nonsense in (b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\r\n\r\n"):
            with connected(server, nonsense) as client:
                reply = rest_of(client)
                assert (status_of(reply), code_of(reply)) == (400, "invalid_http")

    def test_so_is_a_body_that_is_none(self, server: RunningServer, app: App) -> None:
        head = b"POST /quick HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"
        with connected(server, head + b"five\r\n") as client:
            assert status_of(rest_of(client)) == 400
        eventually(lambda: app.left == ["quick"])


class TestTime:
    @pytest.fixture(autouse=True)
    def patience(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[Phase, float, float], None]:
        def patience(phase: Phase, seconds: float, rate: float = 0.0) -> None:
            monkeypatch.setitem(PATIENCE, phase, (seconds, rate))

        for phase in ("header", "body", "rest"):
            patience(phase, LIMIT * 10)  # each test shortens the one it is about
        return patience

    def test_half_a_header_is_not_waited_for_however_it_trickles(
        self, server: RunningServer, patience: Callable[..., None]
    ) -> None:
        patience("header", 0.3)
        for before in (b"", POST % (b"quick", 1) + b"a"):
            with connected(server, before + HEAD + b"x: a") as client:
                trickle = threading.Thread(target=trickles, args=(client,))
                trickle.start()
                reply = rest_of(client).rpartition(b"HTTP/1.1 408")
                trickle.join()
                assert code_of(reply[2]) == "request_timeout"
                assert (b"HTTP/1.1 200" in reply[0]) is bool(before)

    def test_nor_is_one_that_never_begins(self, server: RunningServer, patience: Callable[..., None]) -> None:
        patience("header", 0.3)
        with connected(server) as client:
            assert status_of(rest_of(client)) == 408

    def test_a_kept_connection_may_rest_for_longer(self, server: RunningServer, patience: Callable[..., None]) -> None:
        patience("header", 0.3)
        with connected(server, POST % (b"quick", 1) + b"a") as client:
            assert status_of(client.recv(1 << 16)) == 200
            client.settimeout(1)
            with pytest.raises(TimeoutError):
                client.recv(1)
            client.settimeout(LIMIT)
            client.sendall(HEAD + b"\r\n")
            assert status_of(client.recv(1 << 16)) == 200

    def test_a_body_may_not_fall_behind(self, server: RunningServer, app: App, patience: Callable[..., None]) -> None:
        patience("body", 0.3, 1000.0)
        chunked = b"POST /quick HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n"
        for sent in (POST % (b"quick", 100) + b"some", chunked):
            with connected(server, sent) as client:
                assert code_of(rest_of(client)) == "request_timeout"
        eventually(lambda: app.left == ["quick", "quick"])

    def test_one_that_keeps_up_may_take_its_time(self, server: RunningServer, patience: Callable[..., None]) -> None:
        patience("body", LIMIT, 1.0)
        with connected(server, POST % (b"quick", 300)) as client:
            for _ in range(3):
                client.sendall(b"a" * 100)
            assert client.recv(1 << 16).endswith(b"300")

    def test_waiting_for_the_app_is_not_the_client_s_fault(
        self, server: RunningServer, app: App, patience: Callable[..., None]
    ) -> None:
        patience("header", 0.2)
        patience("body", 0.2)
        with connected(server, POST % (b"slow", 1) + b"a") as client:
            client.settimeout(1)
            with pytest.raises(TimeoutError):
                client.recv(1)
            client.settimeout(LIMIT)
            app.go()
            assert status_of(client.recv(1 << 16)) == 200

    def test_the_rest_of_a_body_that_was_answered_is_read_for_a_while(
        self, server: RunningServer, patience: Callable[..., None]
    ) -> None:
        patience("rest", 0.3)
        with connected(
            server, POST % (b"deaf", 1 << 20) + b"a" * (1 << 20) + HEAD + b"connection: close\r\n\r\n"
        ) as client:
            assert rest_of(client).count(b"HTTP/1.1 200") == 2
        with connected(server, POST % (b"deaf", 1 << 20) + b"a" * 1000) as client:
            assert rest_of(client).count(b"HTTP/1.1 200") == 1


def trickles(client: socket.socket) -> None:
    with suppress(OSError):
        for _ in range(1000):
            client.sendall(b"a")
            threading.Event().wait(0.02)


class TestAhead:
    def test_what_comes_ahead_is_answered_in_order(self, server: RunningServer) -> None:
        many = b"".join(POST % (b"quick", size) + b"a" * size for size in range(200))
        with connected(server, many + HEAD + b"connection: close\r\n\r\n") as client:
            replies = rest_of(client)
        assert [int(reply.partition(b"\r\n\r\n")[2]) for reply in replies.split(b"HTTP/1.1 200")[1:]] == [
            *range(200),
            0,
        ]

    def test_only_so_much_of_it_is_taken(self, server: RunningServer, app: App) -> None:
        one = POST % (b"quick", 1000) + b"a" * 1000
        slow = POST % (b"slow", 0)
        with connected(server, slow) as client:
            eventually(lambda: app.begun == ["slow"])
            taken = pushed(client, one)
            kernel = buffers_of(client)
            assert taken < MAX_BYTES_AHEAD + kernel, "it is not read from any more"
            app.go()
            client.settimeout(LIMIT)
            n_whole, n_part = divmod(taken, len(one))
            client.sendall(one[n_part:] if n_part else b"")
            found = 0
            while found < n_whole + 1:
                found += client.recv(1 << 16).count(b"HTTP/1.1 200")
            eventually(lambda: len(app.begun) == 1 + n_whole + bool(n_part))

    def test_a_client_that_leaves_is_noticed_with_requests_ahead(self, server: RunningServer, app: App) -> None:
        with connected(server, POST % (b"slow", 0) + HEAD + b"\r\n") as client:
            eventually(lambda: app.begun == ["slow"])
            vanish(client)
        eventually(lambda: app.left == ["slow"])


def pushed(client: socket.socket, one: bytes) -> int:
    """How much is taken of request after request, until nothing has been for a while."""
    client.settimeout(1)
    taken = 0
    with suppress(TimeoutError):
        while taken < 64 << 20:
            taken += client.send((one * 100)[taken % len(one) :])
    return taken


def buffers_of(client: socket.socket) -> int:
    """What the kernel may hold on both sides, and two reads of the server."""
    most = 0
    for name in ("tcp_wmem", "tcp_rmem"):
        with open(f"/proc/sys/net/ipv4/{name}") as file:
            most += int(file.read().split()[2])
    return most + (1 << 20)


def vanish(client: socket.socket) -> None:
    """As when a machine goes down: a reset instead of an orderly end."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


class TestHalfClosed:
    @pytest.fixture(autouse=True)
    def soon(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(connection, "PROBE_SECONDS", 0.05)

    def test_it_still_gets_all_its_answers(self, server: RunningServer, app: App) -> None:
        with connected(server, POST % (b"slow", 2) + b"ab" + POST % (b"quick", 1) + b"c") as client:
            eventually(lambda: app.begun == ["slow"])
            client.shutdown(socket.SHUT_WR)
            app.go()
            assert rest_of(client).count(b"HTTP/1.1 200") == 2
        assert app.left == []

    def test_also_after_a_long_time(self, server: RunningServer, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(connection, "PROBE_AFTER_SECONDS", 0.05)
        with connected(server, POST % (b"slow", 2) + b"ab") as client:
            client.shutdown(socket.SHUT_WR)
            interim = b"HTTP/1.1 100 Continue\r\n\r\n"
            assert client.recv(len(interim), socket.MSG_WAITALL) == interim
            app.go()
            *probes, reply = rest_of(client).split(interim)
            assert status_of(reply) == 200
            assert not any(probes)
        assert app.half_closed == [True]

    def test_a_client_of_http_1_0_knows_no_interim_replies(
        self, server: RunningServer, app: App, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(connection, "PROBE_AFTER_SECONDS", 0.0)
        with connected(server, b"GET /slow HTTP/1.0\r\n\r\n") as client:
            client.shutdown(socket.SHUT_WR)
            eventually(lambda: app.begun == ["slow"])
            threading.Timer(0.3, app.go).start()
            assert rest_of(client).startswith(b"HTTP/1.1 200")

    def test_one_that_is_gone_is_found_out(
        self, server: RunningServer, app: App, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(connection, "PROBE_AFTER_SECONDS", 0.05)
        with connected(server, POST % (b"slow", 2) + b"ab"):
            eventually(lambda: app.begun == ["slow"])
        eventually(lambda: app.left == ["slow"])

    def test_one_that_has_left_a_queued_stream_is_found_out(
        self, server: RunningServer, app: App, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("oxillama.asgi.sse.HALF_CLOSED_SECONDS", 0.05)
        with connected(server, POST % (b"stream", 2) + b"ab") as client:
            assert status_of(client.recv(1 << 16)) == 200, "the headers do not wait for the first event"
        eventually(lambda: app.left == ["stream"])

    def test_a_stream_goes_on(self, server: RunningServer, app: App) -> None:
        with connected(server, POST % (b"stream", 2) + b"ab") as client:
            client.shutdown(socket.SHUT_WR)
            assert status_of(client.recv(1 << 16)) == 200
            app.go()
            assert b"data: it\n\n" in rest_of(client)

    def test_half_a_request_is_owed_nothing(self, server: RunningServer, app: App) -> None:
        for sent in (b"", HEAD, POST % (b"quick", 3) + b"ab"):
            with connected(server, sent) as client:
                client.shutdown(socket.SHUT_WR)
                assert rest_of(client) == b""
        eventually(lambda: app.left == ["quick"])
