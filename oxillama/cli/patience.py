"""How long a peer is waited for: seconds that waiting spends and what it sends regains. No clock of its own."""

from __future__ import annotations


class Patience:
    """seconds: the most that the peer may be behind. bytes_per_second: what wins one of them back; 0: nothing does."""

    def __init__(self, seconds: float, bytes_per_second: float = 0.0) -> None:
        self._most = self._left = seconds
        self._rate = bytes_per_second
        self._since: float | None = None  # when the waiting that goes on began

    def wait(self, now: float) -> None:
        """From now on the peer is waited for."""
        if self._since is None:
            self._since = now

    def rest(self, now: float) -> None:
        """From now on it is somebody else's turn."""
        self._left, self._since = self.left(now), None

    def gain(self, n_bytes: int, now: float) -> None:
        """The peer has sent something."""
        if self._rate:
            self._left = min(self._most, self.left(now) + n_bytes / self._rate)
            self._since = None if self._since is None else now

    def left(self, now: float) -> float:
        """Seconds; 0 or less: enough."""
        return self._left if self._since is None else self._left - (now - self._since)
