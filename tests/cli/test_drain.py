"""A server that is asked to end while it writes: streams are completed, limits kept, a second signal obeyed at once."""

from __future__ import annotations

import json
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2 as httpx
import pytest

from tests.cli.programs import LIMIT
from tests.cli.serving import ServerProcess, free_port, serving
from tests.patience import eventually

BODY = {"model": "long", "prompt": "a", "ignore_eos": True, "stream": True}
ENDLESS = 100_000


@contextmanager
def streaming(server: ServerProcess, max_tokens: int) -> Iterator[Iterator[str]]:
    """The events of a completion that has begun."""
    body = BODY | {"max_tokens": max_tokens}
    with httpx.stream("POST", f"{server.url}/v1/completions", json=body, timeout=LIMIT) as response:
        assert response.status_code == 200
        events = (line.removeprefix("data: ") for line in response.iter_lines() if line.startswith("data: "))
        assert json.loads(next(events))["choices"][0]["finish_reason"] is None
        yield events


def test_a_running_stream_is_completed(long_model: Path) -> None:
    with serving(str(long_model), "--drain-timeout", str(LIMIT)) as server, streaming(server, 20_000) as events:
        # The other one keeps the server alive while it is looked at; its client leaves then.
        with streaming(server, ENDLESS):
            server.signal()
            eventually(lambda: server.get("/readyz").status_code == 503)
            refused = server.post("/tokenize", {"content": "a"})
            assert refused.status_code == 503
            assert refused.json()["error"]["code"] == "draining"
        rest = list(events)
        assert rest[-1] == "[DONE]"
        assert json.loads(rest[-2])["choices"][0]["finish_reason"] == "length"
        assert server.exit_code() == 0


def test_what_outlives_the_timeout_is_ended_with_an_error(long_model: Path) -> None:
    with serving(str(long_model), "--drain-timeout", "0.5") as server, streaming(server, ENDLESS) as events:
        asked = time.monotonic()
        server.signal()
        rest = list(events)
        assert server.exit_code() == 0
        assert 0.4 < time.monotonic() - asked < 20
        assert "error" in json.loads(rest[-1])
        assert server.process.stderr is not None
        assert "1 requests did not end in 0.5 s" in server.process.stderr.read()


def test_a_reader_that_stopped_reading_delays_nobody(long_model: Path) -> None:
    body = json.dumps(BODY | {"max_tokens": ENDLESS, "logprobs": 5}).encode()
    head = f"POST /v1/completions HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
    with (
        serving(str(long_model), "--drain-timeout", "1") as server,
        socket.socket() as connection,
    ):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", server.port))
        connection.sendall(f"{head}\r\n\r\n".encode() + body)
        # More than the kernel takes for a reader that does not read.
        eventually(lambda: server.get("/stats.json").json()["engine"]["output_tokens"] > 20_000, seconds=60)
        server.signal()
        assert server.exit_code() == 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_second_signal_ends_it_at_once(number: int, code: int, long_model: Path) -> None:
    with serving(str(long_model)) as server, streaming(server, ENDLESS):
        server.signal(signal.SIGTERM)
        eventually(lambda: server.get("/readyz").status_code == 503)
        assert server.process.poll() is None
        server.signal(number)
        assert server.exit_code() == code


def test_after_sigkill_the_port_is_free(long_model: Path) -> None:
    port = free_port()
    with serving(str(long_model), port=port) as server, streaming(server, ENDLESS):
        server.signal(signal.SIGKILL)
        assert server.exit_code() == -signal.SIGKILL
    with serving("--demo", port=port) as again:
        assert again.port == port
