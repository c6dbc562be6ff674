"""What is told of a loaded adapter."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class LoraInfo:
    """id: a number of the engine's own, never used again. name: by which requests ask for it. rank: the largest of its
    pairs. n_bytes: of memory. running: requests that it is applied to and that have not ended, those that wait
    included. scale: what the scales of requests are multiplied with."""

    id: int
    name: str
    path: str
    scale: float
    rank: int
    n_bytes: int
    running: int
    task_name: str = ""
    prompt_prefix: str = ""

    @property
    def bytes(self) -> int:
        return self.n_bytes

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)
