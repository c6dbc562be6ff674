"""What an app serves: the models, its settings, its observers."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from oxillama.asgi.errors import unavailable
from oxillama.asgi.registry import ModelRegistry
from oxillama.asgi.request_log import RequestRecord
from oxillama.asgi.served_model import NOT_READY, Readiness, ServedModel
from oxillama.asgi.settings import Limits, Settings
from oxillama.engine import Engine
from oxillama.requests.capabilities import Capability


class Service:
    """The one object behind an app's routes: `request.app.state.service`.

    An engine that is given belongs to its giver. One that a factory makes is closed with the app's lifespan; where no
    lifespan is run (a mounted app), it is opened by the first request and ends with the process."""

    def __init__(self, models: ModelRegistry, settings: Settings) -> None:
        self.models = models
        self.settings = settings
        self.limits: Limits = settings.limits
        self.created: int = int(time.time())
        self.observers: list[Callable[[RequestRecord], None]] = []

    @classmethod
    def of(cls, request: Request) -> Service:
        service = request.app.state.service
        assert isinstance(service, cls)
        return service

    def model(self, name: str | None, kind: Capability | None = None) -> ServedModel:
        """The model for a request, see ModelRegistry.find()."""
        return self.models.find(name, kind)

    @property
    def engine(self) -> Engine:
        """The first model's engine, ready for requests. Raises the 503 that says why it is not."""
        return self.models.first.engine

    @property
    def loaded_engine(self) -> Engine | None:
        """The first model's engine in whatever state, or None before there is one."""
        return self.models.first.loaded_engine

    def readiness(self) -> Readiness:
        """As a health check sees it: ready once every model is, else what keeps the first that is not."""
        states = [model.readiness() for model in self.models]
        return next((state for state in states if state != "ready"), "ready")

    def announce_end(self) -> None:
        """From now on health checks say draining, while everything is still served: a load balancer takes its time."""
        for model in self.models:
            model.announce_end()

    def check_ready(self) -> None:
        """Raises 503 unless every engine is ready and moving."""
        for model in self.models:
            state = model.readiness()
            if state != "ready":
                which = f"{model.name}: " if len(self.models) > 1 else ""
                raise unavailable(which + NOT_READY[state], code=state)

    def observe(self, record: RequestRecord) -> None:
        for observer in self.observers:
            observer(record)

    # --- the engines' life

    @asynccontextmanager
    async def lifespan(self, app: Any) -> AsyncIterator[None]:
        """Opens the engines of factories beside the server, so that readiness can be asked for meanwhile."""
        self.start()
        try:
            yield
        finally:
            for model in self.models:
                await model.end()

    def start(self) -> None:
        """Begins to open the engines of factories, once. Needs a running event loop."""
        for model in self.models:
            model.start()


class Opening:
    """Middleware: the first request opens the engines where no lifespan has."""

    def __init__(self, app: ASGIApp, *, service: Service) -> None:
        self.app = app
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            self._service.start()
        await self.app(scope, receive, send)
