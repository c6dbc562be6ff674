"""An engine's figures over time: taken by a thread while something runs, and drawn afterwards."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from oxillama.errors import OxillamaError
from oxillama.extras import install_line
from oxillama.results.stats import EngineStats
from oxillama.values import real

if TYPE_CHECKING:
    from oxillama.engine import Engine

# So many are kept; then every other one goes, and half as many are taken: memory is bounded, and the whole is seen.
MAX_SAMPLES = 4096


class StatsRecording:
    """`with StatsRecording(engine) as recording: ...`, then `recording.plot()`.

    seconds: between two samples. Reading the figures never stops the worker. `samples`: pairs of the seconds since the
    start and an EngineStats; the first and the last are those of the block's ends."""

    def __init__(self, engine: Engine, *, seconds: float = 0.1) -> None:
        self._engine = engine
        self._seconds = real("seconds", seconds, 0.001, 3600)
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="oxillama stats", daemon=True)
        self._start = 0.0
        self.samples: list[tuple[float, EngineStats]] = []

    def __enter__(self) -> Self:
        self._start = time.monotonic()
        self._take()
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._end.set()
        self._thread.join()
        self._take()

    def _run(self) -> None:
        while not self._end.wait(self._seconds):
            self._take()
            if len(self.samples) > MAX_SAMPLES:
                self.samples[:] = self.samples[::2]
                self._seconds *= 2

    def _take(self) -> None:
        self.samples.append((time.monotonic() - self._start, self._engine.stats()))

    def rates(self) -> list[tuple[float, float, float]]:
        """(seconds, tokens written per second, prompt tokens computed per second) between neighbouring samples."""
        found = []
        for (before, old), (now, new) in zip(self.samples, self.samples[1:], strict=False):
            span = max(now - before, 1e-9)
            written, read = new.output_tokens - old.output_tokens, new.prompt_tokens - old.prompt_tokens
            found.append(((before + now) / 2, written / span, read / span))
        return found

    def plot(self) -> Any:
        """A matplotlib Figure: tokens per second, sequences, and the KV cache over time. A notebook shows it; elsewhere
        `.savefig("stats.svg")`. Raises OxillamaError where matplotlib is missing."""
        try:
            from matplotlib.figure import Figure
        except ImportError:
            raise OxillamaError(f"plot() needs matplotlib, which is not installed: {install_line('bench')}") from None
        figure = Figure(figsize=(9, 7), layout="constrained")
        speed, sequences, cache = figure.subplots(3, 1, sharex=True)
        rates, times = self.rates(), [at for at, _ in self.samples]
        speed.plot([at for at, _, _ in rates], [written for _, written, _ in rates], label="written")
        speed.plot([at for at, _, _ in rates], [read for _, _, read in rates], label="prompt")
        speed.set_ylabel("tokens per second")
        sequences.plot(times, [stats.running for _, stats in self.samples], label="running")
        waiting = [stats.waiting + stats.queue_depth for _, stats in self.samples]
        sequences.plot(times, waiting, label="waiting")
        sequences.set_ylabel("sequences")
        for label, name in (("used", "kv_blocks_used"), ("cached", "kv_blocks_cached")):
            cache.plot(times, [getattr(stats, name) for _, stats in self.samples], label=label)
        cache.set_ylabel("KV blocks")
        cache.set_xlabel("seconds")
        for axes in (speed, sequences, cache):
            axes.set_ylim(bottom=0)
            axes.grid(alpha=0.3)
            axes.legend(loc="upper right", fontsize=8)
        return figure
