"""One model that an app serves: its names, and the engine or the factory that will make it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from time import monotonic
from typing import Literal, TypeAlias

import anyio

from oxillama.asgi.errors import FORKED, unavailable
from oxillama.asgi.settings import ANY_MODEL, texts_of
from oxillama.engine import Engine
from oxillama.requests.capabilities import Capability
from oxillama.tools.syntax import ReplySyntax
from oxillama.tools.table import GivenSyntax, given_syntax
from oxillama.values import refused

log: logging.Logger = logging.getLogger("oxillama")

EngineFactory: TypeAlias = Callable[[], Awaitable[Engine]]
Readiness: TypeAlias = Literal["loading", "ready", "draining", "closed", "forked", "failed", "stalled"]

# A step takes a fraction of a second; a worker that has work and ends none for this long is stuck.
STALL_SECONDS = 60.0


class ServedModel:
    """An engine under its names.

    source: an Engine, which stays its owner's, or an async function that makes one, which then ends with the app. name:
    the model's id; None: the file name. aliases: further names; `*` accepts any. tool_syntax: how the model calls
    tools, for this app's requests; None: as the engine says. Raises InvalidRequestError."""

    def __init__(
        self,
        source: Engine | EngineFactory,
        *,
        name: str | None = None,
        aliases: Iterable[str] | str = (),
        tool_syntax: GivenSyntax | None = None,
    ) -> None:
        if not isinstance(source, Engine) and not callable(source):
            raise refused("engine", "an Engine, or an async function that makes one", source)
        if name is not None and (not isinstance(name, str) or not name):
            raise refused("name", "a text that is not empty, or None", name)
        self.name = name
        self.tool_syntax: ReplySyntax | None = given_syntax(tool_syntax)
        self.aliases: tuple[str, ...] = texts_of("aliases", aliases)
        self._factory = None if isinstance(source, Engine) else source
        self._engine = source if isinstance(source, Engine) else None
        self._failed = False
        self._ending = False
        self._opening: anyio.CancelScope | None = None
        self._task: object = None  # asyncio keeps only weak references to tasks
        self._stall = _StallWatch()

    # --- names

    @property
    def id(self) -> str:
        """Raises the 503 of an engine that is not there where only its file says the name."""
        return self.name or self.engine.name

    @property
    def ids(self) -> list[str]:
        """Every name that the model answers to, its own first."""
        return list(dict.fromkeys([self.id, *(alias for alias in self.aliases if alias != ANY_MODEL)]))

    def adapter_of(self, name: str | None) -> str | None:
        """The loaded adapter that a model's name means: its own name, or that behind one of the model's and a colon."""
        if name is None or self._engine is None or name in self.ids:
            return None
        candidates = [name, *(name[len(own) + 1 :] for own in self.ids if name.startswith(f"{own}:"))]
        return next(filter(self._engine.has_lora, candidates), None)

    @property
    def takes_any_name(self) -> bool:
        return ANY_MODEL in self.aliases

    # --- what it can do

    @property
    def capabilities(self) -> frozenset[Capability] | None:
        """None as long as there is no engine to ask."""
        return None if self._engine is None else self._engine.capabilities

    def can(self, kind: Capability | None) -> bool:
        """Also while nobody knows: the engine that is not there then says so."""
        found = self.capabilities
        return kind is None or found is None or kind in found

    # --- the engine

    @property
    def engine(self) -> Engine:
        """The engine, ready for requests. Raises the 503 that says why it is not."""
        state = self.readiness(health=False)
        if self._engine is None or state != "ready":
            raise unavailable(NOT_READY[state], code=state)
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

    # --- its life

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

    async def end(self) -> None:
        """Ends the opening, and closes the engine that a factory has made."""
        if self._opening is not None:
            self._opening.cancel()
        if self._factory is not None and self._engine is not None:
            with anyio.CancelScope(shield=True):
                await self._engine.aclose()

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


NOT_READY: dict[str, str] = {
    "loading": "the model is loading",
    "draining": "the server is draining and takes no new requests",
    "closed": "the engine is closed",
    "forked": FORKED,
    "failed": "the engine has failed",
    "stalled": "the engine has work but does not move",
}
