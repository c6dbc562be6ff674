"""Thread and memory limits, on made-up control groups."""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path

import pytest

from oxillama import limits


@pytest.fixture
def cgroup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A control-group tree in which this process is in /outer/inner."""
    inner = tmp_path / "outer" / "inner"
    inner.mkdir(parents=True)
    monkeypatch.setattr(limits, "_CGROUP_ROOT", tmp_path)
    real = limits._read_text

    def read(path: Path) -> str | None:
        return "0::/outer/inner" if str(path) == "/proc/self/cgroup" else real(path)

    monkeypatch.setattr(limits, "_read_text", read)
    return tmp_path


def test_threads_are_at_least_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "0")
    assert limits.default_threads() == 1


@pytest.mark.parametrize(("value", "expected"), [("1", 1), ("1,4", 1), ("nonsense", None), ("", None)])
def test_omp_num_threads_bounds_the_default(monkeypatch: pytest.MonkeyPatch, value: str, expected: int | None) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    unbounded = limits.default_threads()
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    assert limits.default_threads() == (expected or unbounded)


def test_a_quota_is_rounded_down_and_may_stand_at_any_level(cgroup: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_physical_cores", lambda cpus: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(64)))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    (cgroup / "outer" / "cpu.max").write_text("390000 100000\n")
    (cgroup / "outer" / "inner" / "cpu.max").write_text("max 100000\n")
    assert limits.default_threads() == 3
    (cgroup / "outer" / "inner" / "cpu.max").write_text("50000 100000\n")
    assert limits.default_threads() == 1


def test_memory_is_what_the_tightest_group_leaves(cgroup: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_meminfo_available", lambda: 1 << 40)
    inner = cgroup / "outer" / "inner"
    (inner / "memory.max").write_text("max")
    assert limits.available_memory() == 1 << 40
    (inner / "memory.max").write_text("300000")
    (inner / "memory.current").write_text("200000")
    (inner / "memory.stat").write_text("anon 1\ninactive_file 50000\n")
    assert limits.available_memory() == 150000
    (cgroup / "outer" / "memory.max").write_text("100000")
    (cgroup / "outer" / "memory.current").write_text("150000")
    assert limits.available_memory() == 0


def test_page_cache_gives_way_however_often_it_was_read(cgroup: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_meminfo_available", lambda: 1 << 40)
    inner = cgroup / "outer" / "inner"
    (inner / "memory.max").write_text("300000")
    (inner / "memory.current").write_text("290000")
    (inner / "memory.stat").write_text("anon 1\ninactive_file 50000\nactive_file 70000\n")
    assert limits.available_memory() == 130000


def test_in_version_1_a_group_s_page_cache_is_that_of_all_below(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "_cgroup_folders", lambda controller: [tmp_path])
    monkeypatch.setattr(limits, "_meminfo_available", lambda: 1 << 40)
    (tmp_path / "memory.limit_in_bytes").write_text("300000")
    (tmp_path / "memory.usage_in_bytes").write_text("290000")
    (tmp_path / "memory.stat").write_text(
        "inactive_file 1\nactive_file 2\nrss 7\ntotal_inactive_file 4000\ntotal_active_file 5000\n"
    )
    assert limits.available_memory() == 19000


def test_addresses_are_unlimited_unless_something_limits_them(monkeypatch: pytest.MonkeyPatch) -> None:
    bounds = dict.fromkeys((resource.RLIMIT_AS, resource.RLIMIT_DATA), resource.RLIM_INFINITY)
    monkeypatch.setattr(resource, "getrlimit", lambda which: (bounds[which], resource.RLIM_INFINITY))
    files = {"/proc/self/status": "Name:\tpython\nVmSize:\t100 kB\nVmData:\t30 kB", "/proc/meminfo": ""}
    monkeypatch.setattr(limits, "_read_text", lambda path: files.get(str(path)))
    assert limits.mappable_memory() == sys.maxsize
    bounds[resource.RLIMIT_AS] = 1 << 20
    assert limits.mappable_memory() == (1 << 20) - 100 * 1024
    bounds[resource.RLIMIT_DATA] = 50 << 10
    assert limits.mappable_memory() == 20 << 10
    files["/proc/meminfo"] = "MemAvailable: 9 kB\nCommitLimit: 64 kB\nCommitted_AS: 60 kB"
    files["/proc/sys/vm/overcommit_memory"] = "0"
    assert limits.mappable_memory() == 20 << 10
    files["/proc/sys/vm/overcommit_memory"] = "2"
    assert limits.mappable_memory() == 4 << 10


def test_hyper_threads_count_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_CPU_ROOT", tmp_path)
    for cpu, siblings in enumerate(["0,2", "1,3", "0,2", "1,3"]):
        topology = tmp_path / f"cpu{cpu}" / "topology"
        topology.mkdir(parents=True)
        (topology / "thread_siblings_list").write_text(siblings + "\n")
    assert limits._physical_cores([0, 1, 2, 3]) == 2
    assert limits._physical_cores([0, 2]) == 1
    assert limits._physical_cores([0, 7]) == 2
