"""The HTTP app as a deployment of Ray Serve: one engine per replica, the app mounted unchanged.

    serve run oxillama.ray.serving:app model=/models/model.gguf cpus=4 max_replicas=8

Serve sends requests to replicas, adds replicas while more than `target_ongoing_requests` run on each, asks each for its
health, restarts those that fail, lets running requests end before a replica goes, and tells the app of clients that
leave."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from ray import serve
from starlette.types import ASGIApp

from oxillama.asgi import create_app
from oxillama.engine import Engine
from oxillama.errors import InvalidRequestError, OxillamaError

# How long a replica that is to go waits for its requests.
DRAIN_SECONDS = 30.0


@serve.deployment(graceful_shutdown_timeout_s=DRAIN_SECONDS)
@serve.ingress()
class Server:
    """One replica. engine_options: of Engine; app_options: of create_app. The path is one that the replica sees."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        engine_options: Mapping[str, Any] | None = None,
        app_options: Mapping[str, Any] | None = None,
    ) -> None:
        self.engine: Engine = Engine(path, progress=False, **(engine_options or {}))
        self._app = create_app(self.engine, **(app_options or {}))

    def __serve_build_asgi_app__(self) -> ASGIApp:
        return self._app

    def check_health(self) -> None:
        """Raises where the engine serves nobody: Serve then replaces the replica."""
        state = self._app.state.service.readiness()
        if state != "ready":
            raise OxillamaError(f"the engine is {state}")

    def __del__(self) -> None:
        # Serve calls it when no request runs any more. What failed to open has no engine.
        if engine := getattr(self, "engine", None):
            engine.close()


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """What `serve run oxillama.ray.serving:app` takes, as `name=value`."""

    model: str
    cpus: float = 1
    n_ctx: int | None = None
    max_batch_size: int = 32
    min_replicas: int = 1
    max_replicas: int = 1
    target_ongoing_requests: int = 16
    api_key: str | None = None
    model_name: str | None = None

    @classmethod
    def read(cls, given: Mapping[str, str]) -> Arguments:
        known = {one.name: one for one in fields(cls)}
        if unknown := sorted(given.keys() - known.keys()):
            raise InvalidRequestError(f"unknown argument {unknown[0]}; known are {', '.join(known)}", param=unknown[0])
        if "model" not in given:
            raise InvalidRequestError("model=PATH is missing", param="model")
        numbers = {"cpus": float, **dict.fromkeys(_INTEGERS, int)}
        read: dict[str, Any] = {}
        for name, value in given.items():
            try:
                read[name] = numbers.get(name, str)(value)
            except ValueError:
                raise InvalidRequestError(f"{name} must be a number, found {value!r}", param=name) from None
        return cls(**read)


_INTEGERS = ("n_ctx", "max_batch_size", "min_replicas", "max_replicas", "target_ongoing_requests")


def app(arguments: Mapping[str, str]) -> serve.Application:
    """The application that `serve run oxillama.ray.serving:app name=value ...` starts."""
    return bound(Arguments.read(arguments))


def bound(arguments: Arguments) -> serve.Application:
    """A deployment with one engine per replica, of as many threads as the replica has processors."""
    engine_options = {
        "n_threads": max(1, int(arguments.cpus)),
        "n_ctx": arguments.n_ctx,
        "max_batch_size": arguments.max_batch_size,
    }
    app_options = {"api_keys": arguments.api_key, "model_name": arguments.model_name}
    deployment = Server.options(  # type: ignore[attr-defined]  # the decorator made it a deployment
        ray_actor_options={"num_cpus": arguments.cpus},
        # More wait in the engine, which batches them, than in Serve's queue before it.
        max_ongoing_requests=arguments.max_batch_size * 2,
        autoscaling_config={
            "min_replicas": arguments.min_replicas,
            "max_replicas": max(arguments.min_replicas, arguments.max_replicas),
            "target_ongoing_requests": arguments.target_ongoing_requests,
        },
    )
    return deployment.bind(arguments.model, engine_options, app_options)
