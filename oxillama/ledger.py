"""What the engines of this process have been promised of its memory: each counts once, before it is allocated."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Protocol, Self

from oxillama.limits import available_memory, mappable_memory

# Holders that an error names before it only counts the rest.
MAX_NAMED = 4


class HoldsMemory(Protocol):
    """Whose end ends the promise, such as a Program."""

    @property
    def n_resident(self) -> int: ...


class Reservation:
    """Bytes promised to one holder, until `release()` or the end of the object that it is bound to. A context manager.

    Never takes a lock, since the collector may end an object anywhere, also inside the ledger."""

    def __init__(self, name: str, n_bytes: int) -> None:
        self.name = name
        self.n_bytes: int = n_bytes
        self._owner: weakref.ref[HoldsMemory] | None = None
        self._is_settled = False
        self._is_released = False

    def bind(self, owner: HoldsMemory, n_bytes: int) -> None:
        """From now on the promise is as long as `owner` lives, and of as many bytes as it turned out to have."""
        self._owner = weakref.ref(owner)
        self.n_bytes = n_bytes

    def settle(self) -> None:
        """All of it has been allocated and touched."""
        self._is_settled = True

    def release(self) -> None:
        """May be called again."""
        self._is_released = True

    @contextmanager
    def released_on_failure(self) -> Iterator[None]:
        """The traceback of an error may keep what has been allocated for as long as somebody looks at it."""
        try:
            yield
        except BaseException:
            self.release()
            raise

    @property
    def is_held(self) -> bool:
        return not self._is_released and (self._owner is None or self._owner() is not None)

    @property
    def outstanding(self) -> int:
        """Bytes that the holder may still take: those promised, less those that are resident."""
        if not self.is_held or self._is_settled:
            return 0
        owner = None if self._owner is None else self._owner()
        return self.n_bytes if owner is None else max(0, self.n_bytes - owner.n_resident)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.release()


class Ledger:
    """Counts promises. For any thread; a forked child begins with none, since no engine works there."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._reservations: list[Reservation] = []

    @contextmanager
    def deciding(self) -> Iterator[int]:
        """The bytes that are neither taken nor promised. Nobody else decides meanwhile: what fits may be reserved."""
        with self._lock:
            self._reservations = self.holders()
            # Before the system is asked: what becomes resident in between counts twice rather than not at all.
            outstanding = sum(reservation.outstanding for reservation in self._reservations)
            # What is promised has its addresses already; a load that is just beginning is refused them as an error.
            yield min(available_memory() - outstanding, mappable_memory())

    def reserve(self, name: str, n_bytes: int) -> Reservation:
        """A promise that the caller has found to fit, inside `deciding()`."""
        reservation = Reservation(name, n_bytes)
        with self._lock:
            self._reservations.append(reservation)
        return reservation

    def holders(self) -> list[Reservation]:
        return [reservation for reservation in self._reservations if reservation.is_held]

    def others(self) -> str:
        """For an error: who else may still take how much; empty where nobody may."""
        waiting = [(reservation.name, reservation.outstanding) for reservation in self.holders()]
        waiting = sorted((entry for entry in waiting if entry[1]), key=lambda entry: -entry[1])
        if not waiting:
            return ""
        named = [f"{name!r} ({n_bytes:,})" for name, n_bytes in waiting[:MAX_NAMED]]
        if len(waiting) > MAX_NAMED:
            named.append(f"{len(waiting) - MAX_NAMED} more")
        total = sum(n_bytes for _, n_bytes in waiting)
        return f"; {total:,} are promised to other engines of this process: {', '.join(named)}"

    def forget(self) -> None:
        """Begins anew; a lock that another thread held at the fork would never be free again."""
        self.__init__()  # type: ignore[misc]


LEDGER = Ledger()
os.register_at_fork(after_in_child=LEDGER.forget)
