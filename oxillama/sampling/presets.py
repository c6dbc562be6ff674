"""Sets of sampling defaults with a name: the terminal's, and what a model's file recommends."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

# The defaults of `oxillama run` and `chat`, where somebody reads along: llama.cpp's of many years. Those of the API
# are the fields' own, which change nothing that the model says.
TERMINAL: Mapping[str, Any] = MappingProxyType({"temperature": 0.8, "top_k": 40, "top_p": 0.95})
