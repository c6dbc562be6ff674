"""Reads the numbers of an architecture from GGUF metadata; a missing or senseless one is an error naming its key."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from oxillama.errors import ModelLoadError

_REQUIRED: Final = object()


class Hyperparameters:
    """The keys `<architecture>.<name>` of a file's metadata."""

    def __init__(self, architecture: str, metadata: Mapping[str, object]) -> None:
        self.architecture = architecture
        self._metadata = metadata

    def integer(self, name: str, default: object = _REQUIRED, *, least: int = 1, most: int = 2**31 - 1) -> int:
        key, value = self._get(name, default)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise ModelLoadError(f"{key} is {value!r}, expected an integer from {least} to {most}")
        return value

    def number(self, name: str, default: object = _REQUIRED, *, positive: bool = True) -> float:
        key, value = self._get(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise ModelLoadError(f"{key} is {value!r}, expected a number")
        if positive and value <= 0:
            raise ModelLoadError(f"{key} is {value!r}, expected a positive number")
        return float(value)

    def text(self, name: str, default: object = _REQUIRED) -> str:
        key, value = self._get(name, default)
        if not isinstance(value, str):
            raise ModelLoadError(f"{key} is {value!r}, expected a string")
        return value

    def has(self, name: str) -> bool:
        return f"{self.architecture}.{name}" in self._metadata

    def _get(self, name: str, default: object) -> tuple[str, object]:
        key = f"{self.architecture}.{name}"
        value = self._metadata.get(key, default)
        if value is _REQUIRED:
            raise ModelLoadError(f"{key} is missing from the metadata")
        return key, value
