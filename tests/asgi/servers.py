"""Servers on loopback, for what an in-process transport cannot show: streams, time, and clients that leave."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import uvicorn
from starlette.types import ASGIApp

from tests.patience import eventually


@dataclass(frozen=True)
class RunningServer:
    host: str
    port: int

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"


class _Server(uvicorn.Server):
    """A server in a thread other than the main one, which is the only one that may touch signals."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextmanager
def running(
    app: ASGIApp, *, lifespan: str = "on", http: type[asyncio.Protocol] | None = None
) -> Iterator[RunningServer]:
    """Serves `app` with uvicorn until the block is left; its streams are ended then. http: another protocol than its
    own."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(
            app,
            log_config=None,
            http=http or "auto",
            ws="none",
            lifespan=lifespan,  # type: ignore[arg-type]
            timeout_graceful_shutdown=1,
        )
        server = _Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="uvicorn", daemon=True)
        thread.start()
        try:
            eventually(lambda: server.started or not thread.is_alive())
            assert server.started, "the server did not start"
            yield RunningServer("127.0.0.1", listener.getsockname()[1])
        finally:
            server.should_exit = True
            thread.join(timeout=20)
            assert not thread.is_alive(), "the server did not end"
