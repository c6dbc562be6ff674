"""Single values are returned as they are used, or refused by name."""

from __future__ import annotations

import math
import time
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from oxillama import InvalidRequestError
from oxillama.values import integer, moment_after, real


@pytest.mark.parametrize("value", [1, 9, np.int8(9), np.uint64(1)])
def test_integers(value: Any) -> None:
    found = integer("x", value, 1, 9)
    assert type(found) is int
    assert found == value


@pytest.mark.parametrize("value", [0, 10, True, 1.0, "1", None, 2**80])
def test_no_integers(value: Any) -> None:
    with pytest.raises(InvalidRequestError, match="x must be an integer from 1 to 9, found") as caught:
        integer("x", value, 1, 9)
    assert caught.value.param == "x"


@pytest.mark.parametrize("value", [0, 1, 0.5, np.float32(0.25), Decimal("0.5")])
def test_reals(value: Any) -> None:
    found = real("x", value, 0.0, 1.0)
    assert type(found) is float
    assert found == value


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan"), float("inf"), True, "0.5", None, 1j])
def test_no_reals(value: Any) -> None:
    with pytest.raises(InvalidRequestError, match="x must be a number from 0 to 1, found") as caught:
        real("x", value, 0.0, 1.0)
    assert caught.value.param == "x"


def test_texts_are_not_quoted() -> None:
    with pytest.raises(InvalidRequestError, match="found a value of type str"):
        integer("x", "secret", 1, 9)


@pytest.mark.parametrize("check", [integer, real])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_number_that_python_does_not_write_is_refused_all_the_same(check: Any, sign: int) -> None:
    with pytest.raises(InvalidRequestError, match=r"found an integer of \d+ bits") as caught:
        check("x", sign * 10**5000, 0, 9)
    assert caught.value.param == "x"


@pytest.mark.parametrize("timeout", [None, math.inf])
def test_a_timeout_that_is_never_over(timeout: float | None) -> None:
    assert moment_after(timeout) == math.inf


@pytest.mark.parametrize("timeout", [0, -1, 2.5, np.float32(0.5), -math.inf])
def test_a_timeout_is_over_after_its_seconds(timeout: float) -> None:
    before = time.monotonic()
    found = moment_after(timeout)
    assert before + timeout <= found <= time.monotonic() + timeout


@pytest.mark.parametrize("timeout", [math.nan, np.float32("nan"), "1", b"1", True, [1], 10**400])
def test_a_timeout_that_is_no_number_of_seconds(timeout: Any) -> None:
    with pytest.raises(InvalidRequestError, match="timeout must be a number of seconds, or None, found"):
        moment_after(timeout)
