"""How tasks of one event loop wait for the worker: they share one descriptor, and one of them watches it for all."""

from __future__ import annotations

from collections.abc import Callable

import anyio
from anyio.lowlevel import RunVar, checkpoint

from oxillama._core.scheduling.mailbox import Mailbox


class LoopMailbox:
    """The mailbox of the running event loop (asyncio or trio).

    Only one task may wait for a descriptor at a time, and a library has no place for a background task. So the first
    waiter leads: it watches the descriptor, wakes those who have updates, and hands over when it leaves."""

    def __init__(self) -> None:
        self.mailbox: Mailbox = Mailbox()
        self._has_leader = False
        # That of the running loop: anyio.Event would look for the loop each time, for longer than all the rest takes.
        self._new_event: Callable[[], anyio.Event] = type(anyio.Event())
        self._followers: dict[anyio.Event, Callable[[], bool]] = {}

    @classmethod
    def current(cls) -> LoopMailbox:
        try:
            return _current.get()
        except LookupError:
            found = cls()
            _current.set(found)
            return found

    async def wait(self, has_update: Callable[[], bool]) -> None:
        """Returns when has_update() is true. It must become true only together with a post to the mailbox. Lets other
        tasks run in any case: updates may come faster than they are read."""
        if has_update():
            await checkpoint()
            return
        while not has_update():
            if self._has_leader:
                event = self._new_event()
                self._followers[event] = has_update
                try:
                    await event.wait()
                finally:
                    self._followers.pop(event, None)
                    # Whoever was called to lead but was cancelled meanwhile must pass it on.
                    if event.is_set() and not self._has_leader:
                        self._call(leaving=True)
            else:
                self._has_leader = True
                try:
                    await anyio.wait_readable(self.mailbox.fileno())
                    self.mailbox.clear()
                finally:
                    self._has_leader = False
                    self._call(leaving=True)

    def _call(self, *, leaving: bool) -> None:
        """Wakes every follower with an update, and one more if somebody must take the lead."""
        waiting = [event for event in self._followers if not event.is_set()]
        for event in waiting:
            if self._followers[event]():
                event.set()
        if leaving and not any(event.is_set() for event in self._followers):
            for event in waiting[:1]:
                event.set()


_current: RunVar[LoopMailbox] = RunVar("oxillama_mailbox")
