"""What this process may use of the machine: processors and memory, control groups included."""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Iterator
from pathlib import Path

_CGROUP_ROOT = Path("/sys/fs/cgroup")
_CPU_ROOT = Path("/sys/devices/system/cpu")
# Of vm.overcommit_memory: every mapping counts, also what is never touched.
STRICT_OVERCOMMIT = 2


def default_threads() -> int:
    """min(CPU affinity, cgroup quota rounded down, physical cores, OMP_NUM_THREADS), at least 1."""
    cpus = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))
    limits = [len(cpus), _physical_cores(cpus)]
    quota = _cpu_quota()
    if quota is not None:
        limits.append(int(quota))
    wanted = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if wanted.isdigit():
        limits.append(int(wanted))
    return max(1, min(limits))


def available_memory() -> int:
    """Bytes that this process can still take without swapping or meeting a cgroup limit."""
    limits = [_meminfo_available()]
    for folder in _cgroup_folders("memory"):
        # Version 2 names first, then version 1.
        for limit_name, usage_name in (
            ("memory.max", "memory.current"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes"),
        ):
            limit, usage = _read_int(folder / limit_name), _read_int(folder / usage_name)
            if limit is not None and usage is not None:
                # Page cache counts as usage, but gives way.
                limits.append(limit - usage + _reclaimable(folder))
    return max(0, min(limits))


def mappable_memory() -> int:
    """Bytes of addresses that this process may still map, whether it ever touches them or not: limits of the process
    (`ulimit -v`, `ulimit -d`), and of a system that hands out no more than it has."""
    status = _fields(Path("/proc/self/status"))
    limits = [sys.maxsize]
    for limit, used in ((resource.RLIMIT_AS, "VmSize"), (resource.RLIMIT_DATA, "VmData")):
        most = resource.getrlimit(limit)[0]
        if most != resource.RLIM_INFINITY:
            limits.append(most - status.get(used, 0))
    if _read_int(Path("/proc/sys/vm/overcommit_memory")) == STRICT_OVERCOMMIT:
        system = _fields(Path("/proc/meminfo"))
        if "CommitLimit" in system and "Committed_AS" in system:
            limits.append(system["CommitLimit"] - system["Committed_AS"])
    return max(0, min(limits))


def _physical_cores(cpus: list[int]) -> int:
    siblings = {_read_text(_CPU_ROOT / f"cpu{cpu}/topology/thread_siblings_list") for cpu in cpus}
    return len(cpus) if None in siblings or not siblings else len(siblings)


def _cpu_quota() -> float | None:
    quotas = []
    for folder in _cgroup_folders("cpu"):
        fields = (_read_text(folder / "cpu.max") or "").split()
        if len(fields) == 2 and fields[0].isdigit() and int(fields[1]) > 0:
            quotas.append(int(fields[0]) / int(fields[1]))
        quota, period = _read_int(folder / "cpu.cfs_quota_us"), _read_int(folder / "cpu.cfs_period_us")
        if quota is not None and quota > 0 and period:
            quotas.append(quota / period)
    return min(quotas, default=None)


def _cgroup_folders(controller: str) -> Iterator[Path]:
    """This process's folders in the control-group file system, leaf to root: a limit may stand at any level."""
    for line in (_read_text(Path("/proc/self/cgroup")) or "").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            root = _CGROUP_ROOT
        elif controller in controllers.split(","):
            root = _CGROUP_ROOT / controller
        else:
            continue
        folder = root / path.lstrip("/")
        while True:
            yield folder
            if folder == root or root not in folder.parents:
                break
            folder = folder.parent


def _reclaimable(folder: Path) -> int:
    """The page cache, be it a model's file that was read twice; in version 1 with that of the groups below."""
    found: dict[str, int] = {}
    for line in (_read_text(folder / "memory.stat") or "").splitlines():
        name, _, value = line.partition(" ")
        found[name] = int(value)
    return sum(found.get(f"total_{name}", found.get(name, 0)) for name in ("inactive_file", "active_file"))


def _meminfo_available() -> int:
    found = _fields(Path("/proc/meminfo")).get("MemAvailable")
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if found is None else found


def _fields(path: Path) -> dict[str, int]:
    """The sizes of such a table, in bytes."""
    found = {}
    for line in (_read_text(path) or "").splitlines():
        name, _, value = line.partition(":")
        if value.endswith(" kB"):
            found[name] = int(value.split()[0]) * 1024
    return found


def _read_text(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except OSError:
        return None


def _read_int(path: Path) -> int | None:
    text = _read_text(path)
    return int(text) if text is not None and text.lstrip("-").isdigit() else None
