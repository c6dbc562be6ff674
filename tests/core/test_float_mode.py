"""The floating-point mode of a thread is the default one inside, and the host's again afterwards."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Iterator

import numpy as np
import pytest

from oxillama import Engine
from oxillama._core.network.float_mode import DefaultFloatMode

pytestmark = pytest.mark.skipif(os.uname().machine != "x86_64", reason="the mode is set as x86-64 has it")

FLUSH_DENORMALS = 0x8040
ROUND_UP = 0x4000


def set_mode(bits: int) -> None:
    libm = ctypes.CDLL("libm.so.6")
    environment = (ctypes.c_uint32 * 8)()  # fenv_t: the last word is MXCSR
    libm.fegetenv(environment)
    environment[7] = (environment[7] & ~(FLUSH_DENORMALS | 0x6000)) | bits
    libm.fesetenv(environment)


def flushes() -> bool:
    return bool(np.float32(2e-38) / np.float32(100) == 0)


def rounds_up() -> bool:
    return bool(np.float64(1) + np.float64(1e-30) > 1)


@pytest.fixture(autouse=True)
def restore() -> Iterator[None]:
    yield
    set_mode(0)


def test_the_host_s_mode_returns() -> None:
    set_mode(FLUSH_DENORMALS | ROUND_UP)
    assert (flushes(), rounds_up()) == (True, True)
    with DefaultFloatMode():
        assert (flushes(), rounds_up()) == (False, False)
    assert (flushes(), rounds_up()) == (True, True)


def test_it_returns_after_an_error_too() -> None:
    set_mode(ROUND_UP)
    with pytest.raises(KeyError), DefaultFloatMode():
        raise KeyError
    assert rounds_up()


def test_other_threads_keep_theirs() -> None:
    seen: list[bool] = []

    def other() -> None:
        set_mode(ROUND_UP)
        with DefaultFloatMode():
            pass
        seen.append(rounds_up())

    thread = threading.Thread(target=other)
    with DefaultFloatMode():
        thread.start()
        thread.join()
        assert not rounds_up()
    assert seen == [True]


def test_a_model_is_loaded_in_the_default_mode() -> None:
    seen: list[tuple[bool, bool]] = []
    set_mode(FLUSH_DENORMALS | ROUND_UP)
    with Engine.demo(n_threads=1, progress=lambda done, total: seen.append((flushes(), rounds_up()))):
        assert rounds_up()
    assert set(seen) == {(False, False)}
