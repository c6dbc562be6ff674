"""Sets of sampling defaults with a name: the terminal's, and what a model's file recommends."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, TypedDict

from oxillama.errors import InvalidRequestError
from oxillama.sampling.params import SamplingParams

# The defaults of `oxillama run` and `chat`, where somebody reads along: llama.cpp's of many years. Those of the API
# are the fields' own, which change nothing that the model says.
TERMINAL: Mapping[str, Any] = MappingProxyType({"temperature": 0.8, "top_k": 40, "top_p": 0.95})

# What files name otherwise than the field. Numbers of a file are checked like anybody's.
FILE_KEYS: Mapping[str, str] = MappingProxyType(
    {
        "temp": "temperature",
        "top_k": "top_k",
        "top_p": "top_p",
        "min_p": "min_p",
        "xtc_probability": "xtc_probability",
        "xtc_threshold": "xtc_threshold",
        "penalty_last_n": "repeat_last_n",
        "penalty_repeat": "repetition_penalty",
        "mirostat": "mirostat",
        "mirostat_tau": "mirostat_tau",
        "mirostat_eta": "mirostat_eta",
    }
)
PREFIX = "general.sampling."


class RecommendedSampling(TypedDict, total=False):
    """The fields of SamplingParams that a file can have a number for."""

    temperature: float
    top_k: int
    top_p: float
    min_p: float
    xtc_probability: float
    xtc_threshold: float
    repeat_last_n: int
    repetition_penalty: float
    mirostat: int
    mirostat_tau: float
    mirostat_eta: float


def recommended(metadata: Mapping[str, Any]) -> RecommendedSampling:
    """What a file's `general.sampling.*` says, as fields of SamplingParams. `general.sampling.sequence`, an order of
    the stages, is left out: here they have one order.

    Raises InvalidRequestError, with the key, for a value that no request could use."""
    found: RecommendedSampling = {}
    for key, name in FILE_KEYS.items():
        value: Any = metadata.get(PREFIX + key)
        if value is None:
            continue
        try:
            # As the file has it: 32 bits, which are not the decimal number that was meant.
            value = float(f"{value:.7g}") if isinstance(value, float) else int(value)
            SamplingParams(**{name: value})
        except (InvalidRequestError, TypeError, ValueError) as error:
            raise InvalidRequestError(f"the file's {PREFIX}{key}: {error}", param=name) from error
        found[name] = value  # type: ignore[literal-required]
    return found
