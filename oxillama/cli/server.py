"""Runs an app under uvicorn in this process: listener, ready line, signals, drain. Not what the app is made of."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import logging
import math
import os
import resource
import signal
import socket
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Any

import uvicorn
from starlette.applications import Starlette

from oxillama.asgi.service import Service
from oxillama.cli.connection import Connection
from oxillama.standard_error import is_terminal, say

log: logging.Logger = logging.getLogger("oxillama.serve")

SIGNALS = (signal.SIGTERM, signal.SIGINT)
# Connections that the kernel holds until the loop takes them: a crowd arrives between two passes of it.
BACKLOG = 2048
# An idle connection is kept longer than most clients and proxies keep theirs, so that it is they who close it.
KEEP_ALIVE_SECONDS = 75
# Each connection is an open file; the usual soft limit of 1024 is less than one backlog.
MAX_OPEN_FILES = 65536
# What the last bytes of the replies get to leave, however little of the drain's time remains.
LAST_BYTES_SECONDS = 1.0
# For a handler to notice that its client is gone, before it is cancelled.
HANDLER_SECONDS = 5
POLL_SECONDS = 0.02


@dataclass(frozen=True, kw_only=True)
class Drain:
    """How a server ends. delay: seconds with readiness 503 in which everything is still served, so that a load balancer
    can notice. timeout: seconds for what runs by then."""

    delay: float = 0.0
    timeout: float = 30.0


class Server(uvicorn.Server):
    """uvicorn without its signal handlers."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def listen(host: str, port: int) -> socket.socket:
    """A bound socket. Raises OSError with the address in its text."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except socket.gaierror as error:
        raise OSError(f"cannot listen on {host!r}: {error.strerror}") from error
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        # Connections of a server that has just ended must not keep its port.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        # Now, not with the first pass of the loop: a second server must fail before it has read a model.
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise OSError(f"cannot listen on {host} port {port}: {error.strerror}") from error
    return listener


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address. A name is what it resolves to, all of it."""
    try:
        found = {info[4][0] for info in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    except (socket.gaierror, UnicodeError):
        return False
    return all(ipaddress.ip_address(str(address).partition("%")[0]).is_loopback for address in found)


def url_of(listener: socket.socket) -> str:
    """Where this machine finds the server: of a wildcard address, the loopback one."""
    host, port = listener.getsockname()[:2]
    address = ipaddress.ip_address(host.partition("%")[0])
    if address.is_unspecified:
        host = "127.0.0.1" if address.version == 4 else "::1"
    return f"http://[{host}]:{port}" if address.version == 6 else f"http://{host}:{port}"


def serve(app: Starlette, listener: socket.socket, drain: Drain) -> bool:
    """Serves until a signal. A second one ends the process at once, with 128 + its number. False: there is no engine
    to serve, and the app's log has said why."""
    _raise_file_limit()
    config = uvicorn.Config(
        app,
        http=Connection,
        ws="none",
        lifespan="on",
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
    )
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(_Run(app.state.service, Server(config), listener, drain).until_the_end())


class _Run:
    """One server from its listener to its end."""

    def __init__(self, service: Service, server: Server, listener: socket.socket, drain: Drain) -> None:
        self._service = service
        self._server = server
        self._listener = listener
        self._url = url_of(listener)
        self._drain = drain
        self._asked_to_end = asyncio.Event()
        self._was_asked = False
        self._loop: asyncio.AbstractEventLoop

    async def until_the_end(self) -> bool:
        self._loop = asyncio.get_running_loop()
        handlers = {number: signal.signal(number, self._on_signal) for number in SIGNALS}
        try:
            serving = asyncio.create_task(self._server.serve(sockets=[self._listener]))
            asked = asyncio.create_task(self._asked_to_end.wait())
            try:
                has_engine = await _first(self._ready(), serving, asked)
                if has_engine:
                    await asyncio.wait((serving, asked), return_when=asyncio.FIRST_COMPLETED)
                if asked.done():
                    await self._end()
                self._server.should_exit = True
                await serving
            finally:
                asked.cancel()
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
        return has_engine

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._was_asked:
            # At once: no thread is waited for, no exit handler runs.
            os._exit(128 + number)
        self._was_asked = True
        self._loop.call_soon_threadsafe(self._asked_to_end.set)

    async def _ready(self) -> bool:
        """Waits for the engine and tells of it; False if there will be none."""
        while self._service.readiness() == "loading" or not self._server.started:
            await asyncio.sleep(POLL_SECONDS)
        engine = self._service.loaded_engine
        if engine is None:
            return False
        line = {
            "event": "ready",
            "url": self._url,
            "model": self._service.settings.model_name or engine.name,
            "pid": os.getpid(),
            "n_ctx": engine.n_ctx,
            "n_threads": engine.n_threads,
            "page": self._service.settings.page,
        }
        print(json.dumps(line), flush=True)
        if is_terminal():
            page = f"{self._url}/ in a browser, or " if self._service.settings.page else ""
            say(f"Chat at {page}{self._url}/v1 for OpenAI clients. Ctrl-C ends.")
        return True

    async def _end(self) -> None:
        """Readiness goes first, then new requests, then those that run, then the listener."""
        log.info("draining: %g s of notice, then up to %g s for what runs", self._drain.delay, self._drain.timeout)
        self._service.announce_end()
        engine = self._service.loaded_engine
        limit = time.monotonic() + self._drain.delay + self._drain.timeout
        if engine is not None:
            await asyncio.sleep(self._drain.delay)
            if not await engine.adrain(max(0.0, limit - time.monotonic())):
                stats = engine.stats()
                running = stats.running + stats.waiting + stats.queue_depth
                log.warning("%d requests did not end in %g s and are ended now", running, self._drain.timeout)
                # Their streams end with an error that says so, instead of just breaking off.
                await engine.aclose()
        # A reader may be slower than its text was made, and one may have stopped reading for good.
        rest = max(LAST_BYTES_SECONDS, limit - time.monotonic())
        self._loop.call_later(rest, self._cut_connections)
        self._server.config.timeout_graceful_shutdown = math.ceil(rest) + HANDLER_SECONDS

    def _cut_connections(self) -> None:
        """To their handlers it looks as if the clients had left, so these end as they do then."""
        for connection in list(self._server.server_state.connections):
            connection.transport.abort()


async def _first(work: Coroutine[Any, Any, bool], *ends: asyncio.Task[Any]) -> bool:
    """The result of `work`, or True as soon as one of `ends` has come instead."""
    task = asyncio.create_task(work)
    await asyncio.wait((task, *ends), return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        return task.result()
    task.cancel()
    return True


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's where it is installed."""
    try:
        from uvloop import new_event_loop
    except ImportError:
        return None
    return new_event_loop


def _raise_file_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
