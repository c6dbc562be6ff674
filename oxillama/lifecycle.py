"""The life of an engine's worker: the states it goes through, whom it lets in, how it is drained and how it ends."""

from __future__ import annotations

import atexit
import os
import threading
import time
import weakref
from typing import Literal

import anyio

from oxillama._core.output.handle import ACCEPTED, QUEUE_FULL, Handle, submit
from oxillama._core.scheduling.waiter import Waiter
from oxillama._core.scheduling.worker import Worker
from oxillama.config import SNAPSHOT_TOKENS, SchedulerConfig
from oxillama.errors import EngineClosedError, EngineForkedError, QueueFullError
from oxillama.network.draft import DraftModel
from oxillama.network.loader import LoadedModel
from oxillama.requests.wakeup import LoopMailbox
from oxillama.results.stats import EngineStats
from oxillama.structured.backend import backend_name
from oxillama.turns import Turns
from oxillama.values import moment_after

# "loading" is for whoever shows an engine that is not there yet.
State = Literal["loading", "ready", "draining", "closed", "failed"]

# Waiting raises a request's priority by one level each time this has passed.
PRIORITY_AGING_SECONDS = 10.0
# A drain looks up so often for Ctrl-C, which does not end a sleep in the core; what it waits for wakes it at once.
SIGNAL_SECONDS = 0.1

_open: weakref.WeakSet[Lifecycle] = weakref.WeakSet()


class Lifecycle:
    """Starts the worker of a loaded model. Whatever enters the worker's queue does so here, from any thread."""

    def __init__(
        self,
        loaded: LoadedModel,
        scheduler: SchedulerConfig,
        draft: DraftModel | None = None,
        turns: Turns | None = None,
    ) -> None:
        model = loaded.model
        self.worker: Worker = Worker(
            loaded.program,
            model.tokenizer.table if model.tokenizer else None,
            n_ctx=model.n_ctx,
            max_batch_size=scheduler.max_batch_size,
            max_step_ns=max(1, int(scheduler.max_step_ms * 1e6)),
            priority_aging_ns=int(PRIORITY_AGING_SECONDS * 1e9),
            queue_size=scheduler.queue_size,
            prefix_cache=scheduler.prefix_cache,
            n_kept_blocks=model.plan.n_kept_blocks,
            snapshot_tokens=SNAPSHOT_TOKENS,
            n_kept_window_blocks=model.plan.n_kept_window_blocks,
            draft=None if draft is None else draft.program,
            draft_n_ctx=0 if draft is None else draft.n_ctx,
        )
        if turns is not None:
            self.worker.take_turns(turns)
        self._queue_size = scheduler.queue_size
        self._state: State = "ready"
        self._closing = threading.RLock()  # held until the worker has ended
        self._changing = threading.Lock()  # held for a moment, so that no late drain reopens what is closed
        _open.add(self)

    @property
    def state(self) -> State:
        """ "ready", "draining", "closed" (as in every forked child), or "failed": the worker ended without being told
        to."""
        if self._state in ("ready", "draining"):
            if self.is_foreign:
                return "closed"
            if not self.worker.is_running:
                return "failed"
        return self._state

    @property
    def is_foreign(self) -> bool:
        """This is a forked child: threads stay with the parent, so there is no worker here."""
        return self.worker.pid != os.getpid()

    def check_process(self) -> None:
        """Raises EngineForkedError in a forked child, where nobody would ever answer."""
        if self.is_foreign:
            raise EngineForkedError("the engine belongs to the parent process; open a new one after fork()")

    def check_usable(self) -> None:
        """Raises EngineForkedError or EngineClosedError unless new requests are taken."""
        self.check_process()
        if self._state == "draining":
            raise EngineClosedError("the engine is draining and takes no new requests")
        if self.state in ("closed", "failed"):
            raise EngineClosedError(f"the engine is {self.state}")

    # --- the queue

    def try_submit(self, handles: list[Handle], waiter: Waiter | None = None) -> bool:
        """Hands the core's handles to the worker; False if the queue is full, or the waiter's turn has not come."""
        self.check_usable()
        status = submit(self.worker, handles, waiter)
        if status not in (ACCEPTED, QUEUE_FULL):
            raise EngineClosedError("the engine is closed")
        return status == ACCEPTED

    def join_queue(self, n_requests: int) -> Waiter:
        """A place among those who wait for the queue."""
        self.check_process()
        return Waiter(self.worker, n_requests)

    def queue_full_error(self) -> QueueFullError:
        # As long as the running ones need for some tokens: somebody will be done by then, or the answer comes again.
        wait = min(120.0, max(1.0, 20 * self.stats().step_seconds))
        return QueueFullError(f"{self._queue_size} requests are waiting already", retry_after=wait)

    def wake(self) -> None:
        """Makes the worker look at cancellations now."""
        if self._state != "closed" and not self.is_foreign:
            self.worker.wake()

    def stats(self) -> EngineStats:
        return EngineStats.from_worker(self.worker.stats(), grammar_engine=backend_name())

    # --- the end

    def drain(self, timeout: float | None) -> bool:
        """Refuses new requests and waits for those that run; False if some still run after `timeout` seconds."""
        limit = moment_after(timeout)
        self._begin_drain()
        waiter = Waiter(self.worker, 1, until_rest=True)
        while self._is_busy():
            left = limit - time.monotonic()
            if left <= 0:
                return False
            waiter.wait(min(left, SIGNAL_SECONDS))
            waiter.clear()
        return True

    async def adrain(self, timeout: float | None) -> bool:
        limit = moment_after(timeout)
        self._begin_drain()
        waiter = Waiter(self.worker, 1, until_rest=True)
        loop = LoopMailbox.current()
        waiter.attach(loop.mailbox)
        while self._is_busy():
            left = limit - time.monotonic()
            if left <= 0:
                return False
            with anyio.move_on_after(left):
                await loop.wait(waiter.has_update)
            waiter.clear()
        return True

    def close(self) -> None:
        """Ends open requests with EngineClosedError, then the worker. May be called again, from any thread; returns
        when all of it has ended."""
        if self.is_foreign:
            self._state = "closed"
            return
        with self._closing:
            with self._changing:
                self._state = "closed"
            self.worker.close()
        _open.discard(self)

    def _begin_drain(self) -> None:
        self.check_process()
        with self._changing:
            if self._state == "ready":
                self._state = "draining"
                self.worker.wake_waiting()

    def _is_busy(self) -> bool:
        if self.state in ("closed", "failed"):
            return False
        stats = self.stats()
        return stats.queue_depth > 0 or stats.running > 0 or stats.waiting > 0


@atexit.register
def _close_all() -> None:
    for lifecycle in list(_open):
        if not lifecycle.is_foreign:
            lifecycle.close()
