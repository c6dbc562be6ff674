"""What an app serves: the engine or the factory that will make it, its names, its settings, its observers."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any, Literal

import anyio
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from oxillama.asgi.errors import FORKED, HTTPError, unavailable
from oxillama.asgi.request_log import RequestRecord
from oxillama.asgi.settings import ANY_MODEL, Settings
from oxillama.engine import Engine
from oxillama.values import refused

log = logging.getLogger("oxillama")

EngineFactory = Callable[[], Awaitable[Engine]]
Readiness = Literal["loading", "ready", "draining", "closed", "forked", "failed", "stalled"]

# A step takes a fraction of a second; a worker that has work and ends none for this long is stuck.
STALL_SECONDS = 60.0


class Service:
    """The one object behind an app's routes: `request.app.state.service`.

    An engine that is given belongs to its giver. One that a factory makes is closed with the app's lifespan; where no
    lifespan is run (a mounted app), it is opened by the first request and ends with the process."""

    def __init__(self, source: Engine | EngineFactory, settings: Settings) -> None:
        if not isinstance(source, Engine) and not callable(source):
            raise refused("engine", "an Engine, or an async function that makes one", source)
        self.settings = settings
        self.limits = settings.limits
        self.created = int(time.time())
        self.observers: list[Callable[[RequestRecord], None]] = []
        self._factory = None if isinstance(source, Engine) else source
        self._engine = source if isinstance(source, Engine) else None
        self._failed = False
        self._ending = False
        self._opening: anyio.CancelScope | None = None
        self._task: object = None  # asyncio keeps only weak references to tasks
        self._stall = _StallWatch()

    @classmethod
    def of(cls, request: Request) -> Service:
        service = request.app.state.service
        assert isinstance(service, cls)
        return service

    @property
    def engine(self) -> Engine:
        """The engine, ready for requests. Raises the 503 that says why it is not."""
        state = self.readiness(health=False)
        if self._engine is None or state != "ready":
            raise unavailable(_NOT_READY[state], code=state)
        return self._engine

    @property
    def loaded_engine(self) -> Engine | None:
        """The engine in whatever state, or None before there is one."""
        return self._engine

    def readiness(self, *, health: bool = True) -> Readiness:
        """The engine's state; with `health` as a health check sees it, which also looks at what is about to be."""
        if self._engine is None:
            return "failed" if self._failed else "loading"
        if self._engine.is_forked:
            return "forked"
        state = self._engine.state
        if state == "ready" and health:
            if self._ending:
                return "draining"
            if self._stall.is_stalled(self._engine):
                return "stalled"
        return state

    def announce_end(self) -> None:
        """From now on health checks say draining, while everything is still served: a load balancer takes its time."""
        self._ending = True

    def check_ready(self) -> None:
        """Raises 503 unless the engine is ready and moving."""
        state = self.readiness()
        if state != "ready":
            raise unavailable(_NOT_READY[state], code=state)

    def observe(self, record: RequestRecord) -> None:
        for observer in self.observers:
            observer(record)

    # --- names

    @property
    def model_id(self) -> str:
        return self.settings.model_name or self.engine.name

    @property
    def model_ids(self) -> list[str]:
        """Every name that the model answers to, its own first."""
        aliases = [alias for alias in self.settings.model_aliases if alias != ANY_MODEL]
        return list(dict.fromkeys([self.model_id, *aliases]))

    def check_model(self, name: str | None) -> str:
        """The model's own id. Raises 404 for a name that it does not answer to; no name at all is the only model."""
        if name is not None and name not in self.model_ids and ANY_MODEL not in self.settings.model_aliases:
            message = "there is no model of that name; GET /v1/models lists them"
            raise HTTPError(404, message, param="model", code="model_not_found")
        return self.model_id

    # --- the engine's life

    @asynccontextmanager
    async def lifespan(self, app: Any) -> AsyncIterator[None]:
        """Opens the engine of a factory beside the server, so that readiness can be asked for meanwhile."""
        self.start()
        try:
            yield
        finally:
            if self._opening is not None:
                self._opening.cancel()
            if self._factory is not None and self._engine is not None:
                with anyio.CancelScope(shield=True):
                    await self._engine.aclose()

    def start(self) -> None:
        """Begins to open the engine of a factory, once. Needs a running event loop."""
        if self._engine is not None or self._opening is not None or self._failed:
            return
        self._opening = anyio.CancelScope()
        # Not in a task group: the first request may be over before the model is loaded.
        try:
            self._task = asyncio.get_running_loop().create_task(self._open())
        except RuntimeError:  # no loop of asyncio
            import trio

            trio.lowlevel.spawn_system_task(self._open)

    async def _open(self) -> None:
        assert self._factory is not None
        assert self._opening is not None
        opening = self._opening
        with opening:
            try:
                self._engine = await self._factory()
            except Exception as error:
                self._failed = True
                log.error("the engine could not be opened: %s: %s", type(error).__name__, error)
        self._opening = None
        if opening.cancel_called and self._engine is not None:
            # The engine was finished in the very moment in which nobody wanted it any more.
            self._engine.close()


class Opening:
    """Middleware: the first request opens the engine where no lifespan has."""

    def __init__(self, app: ASGIApp, *, service: Service) -> None:
        self.app = app
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            self._service.start()
        await self.app(scope, receive, send)


class _StallWatch:
    """Tells a worker that has work and takes no step. It looks when it is asked, so it needs no task.

    It does not go by `EngineStats.stalled_seconds`, the age of the worker's last sign of life: one that goes round and
    round without a step gives such signs, and one that sleeps beside its work has none."""

    def __init__(self) -> None:
        self._steps = -1
        self._since: float | None = None  # when it was first seen busy after that step; None: it was idle

    def is_stalled(self, engine: Engine) -> bool:
        stats, now = engine.stats(), monotonic()
        busy = stats.running + stats.waiting + stats.queue_depth > 0
        if not busy:
            self._since = None
        elif self._since is None or stats.steps != self._steps:
            self._steps, self._since = stats.steps, now
        return self._since is not None and now - self._since > STALL_SECONDS


_NOT_READY: dict[str, str] = {
    "loading": "the model is loading",
    "draining": "the server is draining and takes no new requests",
    "closed": "the engine is closed",
    "forked": FORKED,
    "failed": "the engine has failed",
    "stalled": "the engine has work but does not move",
}
