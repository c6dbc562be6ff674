"""The probes give plausible figures, and refuse what they cannot measure."""

from __future__ import annotations

import pytest

from oxillama._core.network.kernels import usable_levels
from oxillama._core.network.machine_probe import ReadProbe, float_rate, int8_rate, read_bandwidth


@pytest.mark.parametrize("n_threads", [1, 2])
def test_reads_are_timed(n_threads: int) -> None:
    probe = ReadProbe(n_threads=n_threads, megabytes=8)
    assert probe.n_threads == n_threads
    assert 0.01 < probe.run() < 10000
    assert 0.01 < read_bandwidth(n_threads=n_threads, megabytes=8, repeats=3) < 10000


@pytest.mark.parametrize("rate", [int8_rate, float_rate])
@pytest.mark.parametrize("level", usable_levels())
def test_a_rate_is_positive_where_a_loop_exists(rate: object, level: str) -> None:
    assert callable(rate)
    found = rate(level=level, repeats=3)
    exists = level.startswith("avx") or (level == "base" and rate is int8_rate)
    assert (0.1 < found < 1e6) if exists else found == 0


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="n_threads must be at least 1, found 0"):
        int8_rate(n_threads=0)
    with pytest.raises(ValueError, match="repeats must be at least 1, found 0"):
        float_rate(repeats=0)
    with pytest.raises(ValueError, match="'sse9' is not usable here"):
        int8_rate(level="sse9")
