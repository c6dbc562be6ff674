"""The server's life: ready, asked to end, ended; where it listens and what it bounds. Streams: test_drain."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import resource
import signal
import socket
import struct
import subprocess
import sys
import termios
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from oxillama.cli.server import is_loopback, listen, url_of
from tests.cli.programs import LIMIT, environment
from tests.cli.serving import NEVER, SLOW_LOADING, loading, serving
from tests.patience import eventually


class TestSignals:
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_an_idle_server_ends_with_zero(self, number: int) -> None:
        with serving() as server:
            server.signal(number)
            assert server.exit_code() == 0

    def test_with_a_delay_everything_is_served_on_while_readiness_says_no(self) -> None:
        with serving("--demo", "--drain-delay", str(LIMIT * 2)) as server:
            server.signal()
            eventually(lambda: server.get("/readyz").status_code == 503)
            assert server.post("/tokenize", {"content": "a"}).status_code == 200
            assert server.get("/stats.json").json()["state"] == "draining"

    def test_a_delay_has_an_end(self) -> None:
        with serving("--demo", "--drain-delay", "0.5") as server:
            asked = time.monotonic()
            server.signal()
            assert server.exit_code() == 0
            assert time.monotonic() - asked >= 0.5

    def test_a_kept_connection_does_not_delay_the_end(self) -> None:
        with serving() as server, httpx.Client(base_url=server.url) as client:
            assert client.get("/livez").status_code == 200
            server.signal()
            assert server.exit_code() == 0


class TestLoading:
    def test_the_listener_is_open_at_once(self, tmp_path: Path) -> None:
        with loading(LIMIT * 2, enough=tmp_path / "enough") as server:
            refused = server.get("/readyz")
            assert refused.status_code == 503
            assert refused.json()["error"]["code"] == "loading"
            assert server.get("/stats.json").json() == {"state": "loading"}
            assert server.get("/").status_code == 200
            assert server.post("/tokenize", {"content": "a"}).status_code == 503
            (tmp_path / "enough").touch()
            assert server.process.stdout is not None
            assert json.loads(server.process.stdout.readline())["url"] == server.url
            assert server.get("/readyz").status_code == 200
            server.signal()
            assert server.exit_code() == 0

    def test_a_signal_ends_the_loading(self) -> None:
        with loading(LIMIT * 2) as server:
            server.signal()
            assert server.process.communicate(timeout=LIMIT) == ("", "")
            assert server.exit_code() == 0

    def test_a_terminal_sees_a_bar_and_then_where_to_go(self) -> None:
        master, terminal = pty.openpty()
        # Without a size there is no room for a bar.
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
        arguments = [
            sys.executable,
            "-W",
            "error",
            "-c",
            SLOW_LOADING,
            "1",
            str(NEVER),
            "serve",
            "--demo",
            "-t",
            "1",
            "--port",
            "0",
        ]
        with subprocess.Popen(
            arguments, env=environment(), stdout=subprocess.PIPE, stderr=terminal, text=True
        ) as process:
            try:
                os.close(terminal)
                assert process.stdout is not None
                url = json.loads(process.stdout.readline())["url"]
                written = b""  # a piece may end within a character
                while b"Ctrl-C ends." not in written:
                    written += os.read(master, 4096)
            finally:
                process.terminate()
        os.close(master)
        assert process.returncode == 0
        seen = written.decode()
        assert re.search(r"loading: +\d+%", seen)
        assert f"Chat at {url}/ in a browser, or {url}/v1" in seen


class TestAddresses:
    @pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
    def test_loopback(self, host: str) -> None:
        assert is_loopback(host)

    @pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.1", "8.8.8.8", "no-such-name.invalid", "", "é" * 70])
    def test_not_loopback(self, host: str) -> None:
        assert not is_loopback(host)

    @pytest.mark.parametrize(
        ("host", "shown"), [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::1", "[::1]"), ("::", "[::1]")]
    )
    def test_the_url_is_one_that_this_machine_can_open(self, host: str, shown: str) -> None:
        try:
            listener = listen(host, 0)
        except OSError:
            if ":" not in host:
                raise
            pytest.skip("this machine has no IPv6")
        with listener:
            assert url_of(listener) == f"http://{shown}:{listener.getsockname()[1]}"

    def test_a_name_that_does_not_resolve_is_an_error_with_the_name(self) -> None:
        with pytest.raises(OSError, match=r"cannot listen on 'no-such-name.invalid'"):
            listen("no-such-name.invalid", 0)


class TestServerLimits:
    def test_headers_have_a_bound(self) -> None:
        with serving() as server:
            with socket.create_connection(("127.0.0.1", server.port), timeout=LIMIT) as connection:
                with suppress(ConnectionError):  # it may have had enough before all is sent
                    connection.sendall(b"GET /livez HTTP/1.1\r\nhost: a\r\nx: " + b"a" * (40 << 10))
                assert connection.recv(64).startswith(b"HTTP/1.1 431 ")
            assert server.get("/livez").status_code == 200

    def test_open_files_may_be_as_many_as_the_system_allows(self) -> None:
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        code = (
            "import resource; from oxillama.cli.server import _raise_file_limit\n"
            f"resource.setrlimit(resource.RLIMIT_NOFILE, (100, {hard})); _raise_file_limit()\n"
            "print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])"
        )
        done: subprocess.CompletedProcess[str] = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=LIMIT, check=True
        )
        assert int(done.stdout) == (65536 if hard == resource.RLIM_INFINITY else min(hard, 65536))

    def test_the_reply_names_no_server(self) -> None:
        with serving() as server:
            headers: Any = server.get("/livez").headers
            assert "server" not in headers
