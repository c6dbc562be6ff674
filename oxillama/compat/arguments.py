"""Arguments of other engines that mean nothing here: known by name, and refused where they would change a result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from oxillama.errors import InvalidRequestError


class Foreign:
    """What a call of another engine takes and this one does not use.

    harmless: names, with blanks between them, whose value changes no result here (where a GPU would keep its layers).
    neutral: names that are refused with any other value than this one, because the caller counts on an effect."""

    def __init__(self, harmless: str, neutral: Mapping[str, Any]) -> None:
        self._harmless = frozenset(harmless.split())
        self._neutral = neutral

    def check(self, call: str, given: Mapping[str, Any]) -> None:
        """Raises TypeError for a name that neither knows, InvalidRequestError for a value that is not taken."""
        for name, value in given.items():
            if name in self._harmless:
                continue
            if name not in self._neutral:
                raise TypeError(f"{call}() got an unexpected keyword argument {name!r}")
            if value is not None and value != self._neutral[name]:
                raise InvalidRequestError(
                    f"{name} has no counterpart here: expected {self._neutral[name]!r} or None, found a "
                    f"{type(value).__name__}",
                    param=name,
                )
