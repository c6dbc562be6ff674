"""Promises to several engines of one process: each counts once, and for as long as its memory lives."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from oxillama import Engine, ModelLoadError, engine, ledger
from oxillama._core.memory import Pages
from oxillama.ledger import LEDGER, Ledger
from oxillama.testing.tiny_models import TinyModel

MIB = 1 << 20
ROOM = 1000 * MIB
# 60 MiB of KV cache for each 15,360 tokens: 4 KiB a token.
SHAPE = TinyModel(n_embd=128, n_ff=64, n_layers=4, n_head=4, n_head_kv=4, head_dim=64, n_ctx=1024)
TOKEN_BYTES = 4 * 2 * 4 * 64 * 2


class Memory:
    """What a Reservation may be bound to."""

    def __init__(self, n_resident: int) -> None:
        self.n_resident = n_resident


@pytest.fixture
def book(monkeypatch: pytest.MonkeyPatch) -> Ledger:
    """A ledger of its own, in a system with ROOM left that nobody else uses."""
    monkeypatch.setattr(ledger, "available_memory", lambda: ROOM)
    return Ledger()


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process's ledger without other tests' engines, in a machine of ROOM bytes that only engines use."""
    monkeypatch.setattr(LEDGER, "_reservations", [])

    def available() -> int:
        return ROOM - sum(held.n_bytes - held.outstanding for held in LEDGER.holders())

    monkeypatch.setattr(ledger, "available_memory", available)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "first.gguf"
    SHAPE.write(path)
    return path


def room(book: Ledger) -> int:
    with book.deciding() as left:
        return left


def tokens_of(mib: int) -> int:
    return mib * MIB // TOKEN_BYTES


# The ledger alone


def test_a_promise_counts_until_it_is_released(book: Ledger) -> None:
    with book.reserve("a", 300):
        second = book.reserve("b", 20)
        assert room(book) == ROOM - 320
        assert book.others() == "; 320 are promised to other engines of this process: 'a' (300), 'b' (20)"
        second.release()
        second.release()
        assert room(book) == ROOM - 300
    assert room(book) == ROOM
    assert book.others() == ""


def test_what_is_resident_already_is_not_subtracted_again(book: Ledger) -> None:
    reservation, memory = book.reserve("a", 1), Memory(0)
    reservation.bind(memory, 1000)
    assert room(book) == ROOM - 1000
    memory.n_resident = 900
    assert room(book) == ROOM - 100
    memory.n_resident = 5000  # whole pages
    assert room(book) == ROOM
    reservation.settle()
    assert book.others() == ""


def test_a_promise_ends_with_what_it_was_made_for(book: Ledger) -> None:
    reservation, memory = book.reserve("a", 1), Memory(0)
    reservation.bind(memory, 1000)
    del memory
    assert not reservation.is_held
    assert room(book) == ROOM


def test_so_many_are_named_and_the_rest_is_counted(book: Ledger) -> None:
    for i in range(1, 8):
        book.reserve(f"engine {i}", 10 * i)
    found = book.others()
    assert found.startswith("; 280 are promised to other engines of this process: 'engine 7' (70), 'engine 6' (60), ")
    assert found.endswith(", 3 more")


def test_address_limits_are_not_burdened_with_promises(book: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is promised has been mapped, so it is gone from these already."""
    book.reserve("a", 100)
    monkeypatch.setattr(ledger, "mappable_memory", lambda: 700)
    assert room(book) == 700


def test_threads_that_decide_together_never_promise_too_much(book: Ledger) -> None:
    size, start, promised = ROOM // 10, threading.Barrier(16), []

    def load() -> None:
        start.wait()
        with book.deciding() as left:
            if size <= left:
                promised.append(book.reserve("one of many", size))

    threads = [threading.Thread(target=load) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(promised) == 10
    assert room(book) == 0


FORK_PROGRAM = """
import os, signal, threading
from oxillama.ledger import LEDGER

def fork():
    child = os.fork()
    if child == 0:
        signal.alarm(60)  # should it wait for a lock that nobody holds here
        with LEDGER.deciding():
            os._exit(len(LEDGER.holders()))
    print(os.waitpid(child, 0)[1])

with LEDGER.reserve("parent's", 1 << 20) as reservation, LEDGER.deciding():
    thread = threading.Thread(target=fork)  # not the one that holds the lock
    thread.start()
    thread.join()
    print(reservation in LEDGER.holders())
"""


def test_a_fork_starts_with_no_promise_and_a_free_lock() -> None:
    # Newer Pythons warn of every fork beside a thread.
    command = [sys.executable, "-W", "ignore", "-c", FORK_PROGRAM]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["0", "True"]


def test_resident_pages_are_counted() -> None:
    pages = Pages(8 * MIB)
    assert pages.n_resident == 0
    memoryview(pages)[5 * MIB] = 1
    assert 0 < pages.n_resident <= 2 * MIB
    pages.touch()
    assert pages.n_resident == 8 * MIB


# Engines


@pytest.mark.usefixtures("machine")
def test_the_second_engine_that_does_not_fit_is_refused_before_allocation(path: Path) -> None:
    told: list[int] = []
    second = path.with_name("second.gguf")
    SHAPE.write(second)
    with Engine(path, kv_cache_tokens=tokens_of(600), progress=False) as first:
        promised = first.memory.promised
        assert promised > 600 * MIB
        with pytest.raises(ModelLoadError, match="does not fit into memory") as caught:
            Engine(second, kv_cache_tokens=tokens_of(600), progress=lambda done, total: told.append(done))
        message = str(caught.value)
        assert f"the KV cache of {tokens_of(600)} tokens needs {600 * MIB:,}" in message
        assert "'first' (" in message
        assert "'second'" not in message
        assert told == []
        # Nothing of the failed load is left, so what does fit is promised.
        with Engine(second, kv_cache_tokens=tokens_of(200), progress=False) as fitting:
            alone = first.generate([1, 2], max_tokens=3, temperature=0)
            assert fitting.generate([1, 2], max_tokens=3, temperature=0).token_ids == alone.token_ids
    # The first is closed.
    with Engine(second, kv_cache_tokens=tokens_of(600), progress=False):
        pass


@pytest.mark.usefixtures("machine")
def test_two_engines_of_one_file_have_two_promises(path: Path) -> None:
    with Engine(path, progress=False) as first, Engine(path, progress=False) as second:
        names = [held.name for held in LEDGER.holders()]
        assert names == ["first", "first"]
        assert sum(held.n_bytes for held in LEDGER.holders()) == first.memory.promised + second.memory.promised


@pytest.mark.usefixtures("machine")
def test_an_engine_that_is_only_dropped_gives_its_promise_back(path: Path) -> None:
    dropped = Engine(path, progress=False)
    assert len(LEDGER.holders()) == 1
    del dropped
    gc.collect()
    assert LEDGER.holders() == []


@pytest.mark.usefixtures("machine")
def test_a_failed_load_gives_its_promise_back_while_its_error_is_looked_at(path: Path) -> None:
    def fail(done: int, total: int) -> None:
        assert LEDGER.holders()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as caught:
        Engine(path, progress=fail)
    assert caught.traceback
    assert LEDGER.holders() == []


@pytest.mark.usefixtures("machine")
def test_so_does_an_engine_whose_worker_cannot_start(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> None:
        raise OSError("cannot start the worker thread")

    monkeypatch.setattr(engine, "Lifecycle", fail)
    with pytest.raises(OSError, match="worker") as caught:
        Engine(path, progress=False)
    assert caught.traceback
    assert LEDGER.holders() == []


@pytest.mark.usefixtures("machine")
def test_a_copy_is_promised_while_it_is_there_and_given_back_to_its_own_load(path: Path) -> None:
    seen: list[list[str]] = []

    def look(done: int, total: int) -> None:
        seen.append([held.name for held in LEDGER.holders()])

    with Engine(path, mmap=False, progress=look):
        assert seen[0] == ["copy of first.gguf", "first"]
        assert [held.name for held in LEDGER.holders()] == ["first"]


@pytest.mark.usefixtures("machine")
def test_growth_takes_from_the_promise_and_not_from_the_rest(path: Path) -> None:
    with Engine(path, kv_cache_tokens=tokens_of(200), progress=False) as working:
        before = room(LEDGER)
        working.generate([3] * 900, max_tokens=50, ignore_eos=True)
        assert working.stats().kv_bytes_resident > 2 * MIB
        assert room(LEDGER) == before == ROOM - working.memory.promised
