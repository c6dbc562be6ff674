"""Starts `oxillama serve` as a process of its own, and ends it whatever happens."""

from __future__ import annotations

import json
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2 as httpx

from tests.cli.programs import LIMIT, command, environment
from tests.patience import eventually

# Runs the command with a model that takes `seconds` to load, or until a file is there, telling of its progress as
# loading does.
SLOW_LOADING = """
import os, sys, time
from oxillama import cli, engine

load_model, seconds, enough = engine.load_model, float(sys.argv[1]), sys.argv[2]

def load_slowly(path, *, progress, **options):
    for step in range(1, int(seconds * 20) + 1):
        if os.path.exists(enough):
            break
        time.sleep(0.05)
        progress(step, int(seconds * 20))
    return load_model(path, progress=False, **options)

engine.load_model = load_slowly
sys.exit(cli.main(sys.argv[3:]))
"""

NEVER = Path("/never/to/be")


@dataclass
class ServerProcess:
    process: subprocess.Popen[str]
    line: dict[str, Any]

    @property
    def url(self) -> str:
        return str(self.line["url"])

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def get(self, path: str, **options: Any) -> httpx.Response:
        return httpx.get(self.url + path, timeout=LIMIT, **options)

    def post(self, path: str, body: Any) -> httpx.Response:
        return httpx.post(self.url + path, json=body, timeout=LIMIT)

    def signal(self, number: int = signal.SIGTERM) -> None:
        self.process.send_signal(number)

    def exit_code(self) -> int:
        return self.process.wait(timeout=LIMIT)


@contextmanager
def process(arguments: Sequence[str], **changes: str) -> Iterator[subprocess.Popen[str]]:
    """A process with pipes, killed at the end of the block if it still runs."""
    started = subprocess.Popen(
        arguments, env=environment(**changes), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with started:
        try:
            yield started
        finally:
            started.kill()


@contextmanager
def serving(*arguments: str, port: int = 0, **changes: str) -> Iterator[ServerProcess]:
    """`oxillama serve` on a free port, ready."""
    with process(command("serve", *(arguments or ("--demo",)), "--port", str(port), "-t", "1"), **changes) as started:
        assert started.stdout is not None
        line = started.stdout.readline()
        if not line:
            assert started.stderr is not None
            raise AssertionError(f"no ready line; stderr: {started.stderr.read()}")
        yield ServerProcess(started, json.loads(line))


@contextmanager
def loading(seconds: float, *arguments: str, enough: Path = NEVER) -> Iterator[ServerProcess]:
    """`oxillama serve --demo` while it loads: the listener answers, the engine is not there yet.

    enough: a file that ends the loading before its time."""
    port = free_port()
    slowly = [sys.executable, "-W", "error", "-c", SLOW_LOADING, str(seconds), str(enough)]
    with process([*slowly, "serve", "--demo", "-t", "1", "--port", str(port), *arguments]) as started:
        server = ServerProcess(started, {"url": f"http://127.0.0.1:{port}"})
        eventually(lambda: answers(server), seconds=60)
        yield server


def answers(server: ServerProcess) -> bool:
    try:
        return server.get("/livez").status_code == 200
    except httpx.TransportError:
        return False


def free_port() -> int:
    """A port that nobody listens at. Below those that the system hands out by itself, of which any connection may take
    one before the server has it."""
    while True:
        port = random.randrange(20_000, 32_000)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
