"""Whether a measurement can be believed: time that others took from the processors, and a load made on purpose."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def busy_seconds() -> float:
    """Processor seconds that the machine spent working since it started, those stolen by its host included (Linux)."""
    fields = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    user, nice, system, _idle, _iowait, irq, softirq, steal = fields
    return (user + nice + system + irq + softirq + steal) / TICKS


def process_seconds(pids: Iterable[int]) -> float:
    """Processor seconds of this process, its children that have ended, and the processes named."""
    own = os.times()
    total = own.user + own.system + own.children_user + own.children_system
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += sum(int(field) for field in fields[11:15]) / TICKS
    return total


@contextmanager
def busy_processors(n: int) -> Iterator[list[int]]:
    """Other programs, one busy thread for each of n processors."""
    load = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(n)]
    try:
        yield [process.pid for process in load]
    finally:
        for process in load:
            process.kill()
            process.wait()
