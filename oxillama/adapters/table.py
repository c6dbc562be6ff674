"""The adapters that an engine has loaded: by name, by content, and in the sets that are applied to its requests."""

from __future__ import annotations

import itertools
import math
import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import anyio

from oxillama._core.network.adapter import Adapter, AdapterSet
from oxillama._core.network.float_mode import DefaultFloatMode
from oxillama._core.network.program import Program
from oxillama._core.scheduling.worker import Worker
from oxillama.adapters.packing import Placed, needed_bytes, pack, place
from oxillama.adapters.pairs import Floats, LowRankAdapter, digest_of
from oxillama.adapters.reading import read_adapter
from oxillama.errors import AdapterError, EngineClosedError
from oxillama.ledger import LEDGER, Reservation
from oxillama.network.memory_plan import RESERVE_BYTES
from oxillama.network.sites import Sites
from oxillama.results.adapters import LoraInfo
from oxillama.sampling.params import Lora, named_adapters
from oxillama.values import real, refused

MAX_NAME = 200
# Sets that no request has are kept for the next request up to so many, with what is cached of their prompts.
MAX_IDLE_SETS = 64
# How often somebody who waits for an adapter's requests to end looks: soon at first, then seldom.
FIRST_POLL_SECONDS = 0.002
MAX_POLL_SECONDS = 0.25
# How long a forced unload waits for a step to notice; what is not over then ends by itself.
FORCE_SECONDS = 30.0

PromptT = TypeVar("PromptT")


@dataclass(eq=False)
class Content:
    """What an adapter adds, whatever it is called."""

    digest: bytes
    adapter: Adapter
    rank: int
    n_bytes: int
    reservation: Reservation
    names: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Entry:
    """A name of a content. scale: what the scales of requests are multiplied with."""

    id: int
    content: Content
    scale: float
    path: str
    task_name: str
    prompt_prefix: str


@dataclass(eq=False)
class Applied:
    """What is applied to a request: its set, None for the base model, and what its text begins with."""

    adapters: AdapterSet | None = None
    prompt_prefix: str = ""

    def text(self, prompt: PromptT) -> PromptT | str:
        """The prompt, a text with the adapters' beginning; token ids are what they are."""
        return self.prompt_prefix + prompt if self.prompt_prefix and isinstance(prompt, str) else prompt


class AdapterTable:
    """For any thread. Loading works in the caller's, on nothing that a step reads."""

    def __init__(self, sites: Sites, worker: Worker) -> None:
        self._sites = sites
        self._worker = worker
        self._lock = threading.RLock()
        self._entries: dict[str, Entry] = {}
        self._loading: set[str] = set()
        self._ids = itertools.count()
        self._set_ids = itertools.count(1)
        self._contents: dict[bytes, Content] = {}
        self._leaving: list[Content] = []  # without a name; freed when no request has them
        # By the contents themselves, not by their digests: a file that is loaded again while it is being unloaded is
        # another content, whose requests neither keep the first one nor are ended with it.
        self._sets: dict[tuple[tuple[int, float], ...], tuple[AdapterSet, tuple[Content, ...]]] = {}

    # --- names

    def load(
        self, name: str, path: str | os.PathLike[str], *, scale: float = 1.0, origin: str | None = None
    ) -> LoraInfo:
        """Reads, checks and packs an adapter, and then shows it, all at once. A failure leaves nothing. origin: what is
        told as its path instead of that."""
        name, scale = checked_name(name), real("scale", scale, -math.inf, math.inf)
        with self._reserved(name):
            found = read_adapter(path, self._sites)
            placed = place(found, self._sites)
            # What the file decodes to may be far more than the file.
            with promised(f"reading the adapter {name}", found.n_bytes):
                values = found.values()
                digest = digest_of(found.pairs, values)
                with self._lock:
                    content = self._contents.get(digest)
                    if content is not None:
                        content.names.add(name)
                if content is None:
                    content = self._made(name, found, digest, placed, values)
            shown = found.path if origin is None else origin
            entry = Entry(next(self._ids), content, scale, shown, found.task_name, found.prompt_prefix)
            with self._lock:
                self._program()  # the engine may have been closed meanwhile, and then nobody would forget this
                self._entries[name] = entry
                return self._info(name, entry)

    @contextmanager
    def _reserved(self, name: str) -> Iterator[None]:
        with self._lock:
            self._program()
            self._sweep()
            if name in self._entries or name in self._loading:
                raise AdapterError(
                    f"an adapter {name!r} is loaded already; unload it first", param="name", code="adapter_exists"
                )
            self._loading.add(name)
        try:
            # Numbers made here must not depend on the floating-point mode that a host library left in this thread.
            with DefaultFloatMode():
                yield
        finally:
            with self._lock:
                self._loading.discard(name)

    def _made(
        self,
        name: str,
        found: LowRankAdapter,
        digest: bytes,
        placed: list[Placed],
        values: dict[str, tuple[Floats, Floats]],
    ) -> Content:
        n_bytes = needed_bytes(placed)
        reservation = promised(f"adapter {name}", n_bytes)
        with reservation.released_on_failure():
            try:
                adapter = pack(placed, values, n_sites=len(self._sites.sites), n_bytes=n_bytes)
            except MemoryError as error:
                raise AdapterError(f"no memory for the adapter {name!r}: {error}", param="path") from None
            reservation.bind(adapter, n_bytes)
            with self._lock:
                self._program()
                # Somebody else may have loaded the same meanwhile.
                content = self._contents.get(digest)
                if content is None:
                    content = self._contents[digest] = Content(digest, adapter, found.rank, n_bytes, reservation)
                content.names.add(name)
        return content

    def unload(self, name: str, *, when_idle: bool = False, force: bool = False) -> None:
        content = self._take_away(name, when_idle=when_idle, force=force)
        for seconds in polls(FORCE_SECONDS if force else math.inf):
            if content is None or self._freed(content):
                break
            time.sleep(seconds)

    async def aunload(self, name: str, *, when_idle: bool = False, force: bool = False) -> None:
        content = self._take_away(name, when_idle=when_idle, force=force)
        for seconds in polls(FORCE_SECONDS if force else math.inf):
            if content is None or self._freed(content):
                break
            await anyio.sleep(seconds)

    def _take_away(self, name: str, *, when_idle: bool, force: bool) -> Content | None:
        """The name is gone when this returns; the content too, unless it is returned."""
        for option, value in (("when_idle", when_idle), ("force", force)):
            if not isinstance(value, bool):
                raise refused(option, "True or False", value)
        with self._lock:
            self._sweep()
            entry = self._entry(name, "name")
            content = entry.content
            is_last = content.names == {name}
            running = self._running(content) if is_last else 0
            if running and not (when_idle or force):
                raise AdapterError(
                    f"the adapter {name!r} is in use by {running} requests; unload it when_idle, or by force",
                    param="name",
                    code="adapter_in_use",
                )
            del self._entries[name]
            content.names.discard(name)
            if not is_last:
                return None
            del self._contents[content.digest]
            self._leaving.append(content)
            if force:
                for adapters in self._sets_with(content):
                    adapters.revoke()
                self._worker.wake()
            return None if self._freed(content) else content

    def _freed(self, content: Content) -> bool:
        with self._lock:
            self._sweep()
            return content not in self._leaving

    def close(self) -> None:
        """The worker has ended, and with it all requests."""
        with self._lock:
            for content in [*self._contents.values(), *self._leaving]:
                content.reservation.release()
            self._entries.clear()
            self._contents.clear()
            self._leaving.clear()
            self._sets.clear()

    # --- what is there

    def infos(self) -> tuple[LoraInfo, ...]:
        """In the order of loading."""
        with self._lock:
            self._sweep()
            return tuple(self._info(name, entry) for name, entry in self._entries.items())

    def __contains__(self, name: object) -> bool:
        """At once: neither the lock nor the requests are looked at."""
        return name in self._entries

    def _info(self, name: str, entry: Entry) -> LoraInfo:
        return LoraInfo(
            id=entry.id,
            name=name,
            path=entry.path,
            scale=entry.scale,
            rank=entry.content.rank,
            n_bytes=entry.content.n_bytes,
            running=self._running(entry.content),
            task_name=entry.task_name,
            prompt_prefix=entry.prompt_prefix,
        )

    def _entry(self, name: str, param: str) -> Entry:
        entry = self._entries.get(name)
        if entry is None:
            known = ", ".join(map(repr, itertools.islice(self._entries, 8))) or "none"
            raise AdapterError(f"no adapter {name!r} is loaded; loaded: {known}", param=param, code="adapter_not_found")
        return entry

    # --- sets

    @contextmanager
    def applied(self, lora: Lora) -> Iterator[Applied]:
        """What is applied to a request with this list, pinned until the block is left: by then its handles pin it."""
        wanted = named_adapters("lora", lora)
        if not wanted:
            yield Applied()
            return
        found = self._pinned(wanted)
        try:
            yield found
        finally:
            if found.adapters is not None:
                found.adapters.unpin()

    def _pinned(self, lora: Sequence[tuple[str, float]]) -> Applied:
        with self._lock:
            program = self._program()
            entries = [(self._entry(name, "lora"), scale) for name, scale in lora]
            key = canonical([(entry.content.digest, entry.scale * scale) for entry, scale in entries])
            prefixes = {entry.prompt_prefix for entry, scale in entries if entry.prompt_prefix and scale * entry.scale}
            if len(prefixes) > 1:
                raise AdapterError("the adapters want different beginnings of the text", param="lora")
            if not key:
                return Applied()
            contents = [(self._contents[digest], scale) for digest, scale in key]
            set_key = tuple((id(content), scale) for content, scale in contents)
            found = self._sets.pop(set_key, None)
            if found is None:
                found = self._made_set(program, contents)
            self._sets[set_key] = found  # the last that was used
            found[0].pin()
            self._sweep()
            return Applied(found[0], next(iter(prefixes), ""))

    def _made_set(
        self, program: Program, contents: Sequence[tuple[Content, float]]
    ) -> tuple[AdapterSet, tuple[Content, ...]]:
        scaled = [(content.adapter, scale) for content, scale in contents]
        adapters = AdapterSet(scaled, next(self._set_ids))
        make_room(program, adapters.width)
        self._worker.hold_adapters(adapters)
        return adapters, tuple(content for content, _ in contents)

    def _sets_with(self, content: Content) -> list[AdapterSet]:
        return [adapters for adapters, contents in self._sets.values() if content in contents]

    def _running(self, content: Content) -> int:
        return sum(adapters.num_pins for adapters in self._sets_with(content))

    def _sweep(self) -> None:
        """Frees what no request has and nobody can ask for any more."""
        idle = [key for key, (adapters, _) in self._sets.items() if adapters.num_pins == 0]
        excess = set(idle[: max(0, len(idle) - MAX_IDLE_SETS)])
        leaving = set(map(id, self._leaving))
        for key in idle:
            adapters, contents = self._sets[key]
            if key in excess or any(id(content) in leaving for content in contents):
                del self._sets[key]
                self._worker.drop_adapters(adapters)
        for content in self._leaving[:]:
            if not self._sets_with(content):
                self._leaving.remove(content)
                content.reservation.release()

    def _program(self) -> Program:
        program = self._worker.program
        if program is None:
            raise EngineClosedError("the engine is closed")
        return program


def canonical(scaled: Sequence[tuple[bytes, float]]) -> tuple[tuple[bytes, float], ...]:
    """Sorted by digest, the scales of equal ones added, without those of scale 0. The order of a request's list must
    change no bit, so equal ones are added in ascending order too."""
    sums: dict[bytes, float] = {}
    for digest, scale in sorted(scaled):
        sums[digest] = sums.get(digest, 0.0) + scale
    for scale in sums.values():
        if not math.isfinite(scale):
            raise AdapterError(f"the scales of an adapter add up to {scale}", param="lora")
    return tuple((digest, scale) for digest, scale in sorted(sums.items()) if scale != 0)


def polls(limit: float) -> Iterator[float]:
    """How long to sleep each time, until `limit` seconds have passed."""
    end, seconds = time.monotonic() + limit, FIRST_POLL_SECONDS
    while time.monotonic() < end:
        yield seconds
        seconds = min(2 * seconds, MAX_POLL_SECONDS)


def promised(name: str, n_bytes: int) -> Reservation:
    with LEDGER.deciding() as left:
        available = left - RESERVE_BYTES
        if n_bytes > available:
            raise AdapterError(
                f"{name} does not fit into memory: {max(0, available):,} bytes are left, it needs "
                f"{n_bytes:,}{LEDGER.others()}",
                param="path",
            )
        return LEDGER.reserve(name, n_bytes)


def make_room(program: Program, width: int) -> None:
    """What a step makes of rows with adapters needs memory, promised like everything else."""
    n_bytes = program.adapter_room_bytes(width)
    if not n_bytes:
        return
    try:
        reservation = promised("room for adapters", n_bytes)
        with reservation.released_on_failure():
            pages = program.make_adapter_room(width)
    except (AdapterError, MemoryError) as error:
        raise AdapterError(f"no room for so many adapters of these ranks: {error}", param="lora") from None
    if pages is None:
        reservation.release()
    else:
        reservation.bind(pages, n_bytes)


def checked_name(name: object) -> str:
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME or not name.isprintable() or name != name.strip():
        raise refused("name", f"a printable text of 1 to {MAX_NAME} characters", name)
    return name
