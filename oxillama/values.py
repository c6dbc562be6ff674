"""Checks of single values that a caller passes: each returns the value as it is used (of a timeout, the moment of its
end), or says what is wrong with it."""

from __future__ import annotations

import math
import operator
import time

from oxillama.errors import InvalidRequestError

# Of an integer that a message quotes. Python itself refuses to write one of some thousand digits.
SHOWN_BITS = 256


def refused(name: str, expected: str, found: object) -> InvalidRequestError:
    return InvalidRequestError(f"{name} must be {expected}, found {_shown(found)}", param=name)


def integer(name: str, value: object, low: int, high: int) -> int:
    if not isinstance(value, bool):
        try:
            number = operator.index(value)  # type: ignore[arg-type]
        except TypeError:
            pass
        else:
            if low <= number <= high:
                return number
    raise refused(name, f"an integer from {low} to {high}", value)


def real(name: str, value: object, low: float, high: float) -> float:
    if not isinstance(value, (bool, str, bytes)) and hasattr(value, "__float__"):
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if low <= number <= high and math.isfinite(number):
            return number
    if math.isinf(high):
        raise refused(name, "a finite number" if math.isinf(low) else f"a finite number of at least {low:g}", value)
    raise refused(name, f"a number from {low:g} to {high:g}", value)


def moment_after(timeout: float | None) -> float:
    """The time.monotonic() at which `timeout` seconds are over; None and infinity never are."""
    if timeout is None:
        return math.inf
    try:
        seconds = math.nan if isinstance(timeout, (bool, str, bytes)) else float(timeout)
    except (TypeError, ValueError, OverflowError):
        seconds = math.nan
    if math.isnan(seconds):
        raise refused("timeout", "a number of seconds, or None", timeout)
    return time.monotonic() + seconds


def _shown(found: object) -> str:
    if isinstance(found, int) and found.bit_length() > SHOWN_BITS:
        return f"an integer of {found.bit_length()} bits"
    # Only numbers are quoted: anything else might be somebody's text.
    return repr(found) if isinstance(found, (int, float)) else f"a value of type {type(found).__name__}"
