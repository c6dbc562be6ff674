"""The times between two tokens of one choice, counted by their length: a request may have millions of them."""

from __future__ import annotations

from bisect import bisect_left
from typing import Self

# Seconds, the upper ends of the classes; one more is without end. A CPU writes a token in 1 to 300 ms.
BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class TokenGaps:
    def __init__(self) -> None:
        self._counts = [0] * (len(BOUNDS) + 1)
        self.seconds: float = 0.0  # of all of them

    def add(self, seconds: float, times: int = 1) -> None:
        self._counts[bisect_left(BOUNDS, seconds)] += times
        self.seconds += seconds * times

    def __iadd__(self, other: TokenGaps) -> Self:
        self._counts = [own + new for own, new in zip(self._counts, other._counts, strict=True)]
        self.seconds += other.seconds
        return self

    def __len__(self) -> int:
        return sum(self._counts)

    def buckets(self) -> list[tuple[str, float]]:
        """As Prometheus has them: up to which length, and how many up to there."""
        cumulative, found = 0, []
        for bound, count in zip((*map(str, BOUNDS), "+Inf"), self._counts, strict=True):
            cumulative += count
            found.append((bound, float(cumulative)))
        return found
