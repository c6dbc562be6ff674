"""The engine's own threads: made once, named, joined at the end, and an error, never an exit, when they are refused."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import oxillama
from oxillama import Engine
from oxillama._core.network.team import Team
from tests.patience import eventually

LIMIT = 90  # seconds; machines are busy
REPOSITORY = Path(__file__).resolve().parent.parent.parent


def thread_names() -> list[str]:
    """Of the threads of this process that are ours."""
    names = []
    for task in Path("/proc/self/task").iterdir():
        try:
            names.append((task / "comm").read_text().strip())
        except FileNotFoundError:  # it has just ended
            continue
    return sorted(name for name in names if name.startswith("oxillama"))


def run(code: str) -> str:
    """What a program of its own prints."""
    # Python 3.12 and later warn of any fork beside threads.
    command = [sys.executable, "-X", "faulthandler", "-W", "ignore:This process:DeprecationWarning", "-c"]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    result = subprocess.run(
        [*command, textwrap.dedent(code)], env=environment, capture_output=True, text=True, timeout=LIMIT, check=False
    )
    assert (result.returncode, result.stderr) == (0, ""), result.stderr[-3000:]
    return result.stdout.strip()


def test_threads_are_made_once_and_joined_at_the_end() -> None:
    before = thread_names()
    engine = Engine.demo(n_threads=3, progress=False)
    own = thread_names()
    assert own == sorted([*before, "oxillama", "oxillama-1", "oxillama-2", "oxillama-masks"])
    for _ in range(3):
        engine.generate_batch(["Once upon a time"] * 4, max_tokens=10, ignore_eos=True)
        assert thread_names() == own
    engine.close()
    eventually(lambda: thread_names() == before)


def test_an_engine_that_fails_to_load_leaves_no_thread() -> None:
    class StopLoadingError(Exception):
        pass

    def stop(done: int, total: int) -> None:
        raise StopLoadingError

    before = thread_names()
    with pytest.raises(StopLoadingError):
        Engine.demo(n_threads=3, progress=stop)
    eventually(lambda: thread_names() == before)


def test_a_team_may_be_closed_twice_and_needs_a_thread() -> None:
    team = Team(3)
    assert team.size == 3
    team.close()
    team.close()
    assert team.size == 1
    with pytest.raises(ValueError, match="n_threads must be at least 1, found 0"):
        Team(0)


def test_two_hundred_engines_one_after_another() -> None:
    before = thread_names()
    for i in range(200):
        with Engine.demo(n_threads=1 + i % 4, progress=False) as engine:
            if i % 3:
                engine.generate_batch(["Once"] * 3, max_tokens=2, ignore_eos=True)
    eventually(lambda: thread_names() == before)


# Root is not bound by the limit, and has no use for being root here beyond its own files.
LIMITED = """
import ctypes, os, resource, sys, threading
from oxillama import Engine, ModelLoadError, OxillamaError

def story(n_threads):
    with Engine.demo(n_threads=n_threads, progress=False) as engine:
        return engine.generate("Once upon a time", max_tokens=8, temperature=0).text

expected = story(2)
if os.getuid() == 0:
    os.setresuid(54321, 0, 0)
    header, nothing = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    assert ctypes.CDLL(None, use_errno=True).capset(header, nothing) == 0
before = resource.getrlimit(resource.RLIMIT_NPROC)
resource.setrlimit(resource.RLIMIT_NPROC, (1, before[1]))
try:
    threading.Thread(target=int).start()
    print("not limited")
    sys.exit()
except RuntimeError:
    pass
for n_threads in (4, 1):
    try:
        story(n_threads)
    except OxillamaError as error:
        print(type(error).__name__, error)
resource.setrlimit(resource.RLIMIT_NPROC, before)
print(story(2) == expected)
"""


def test_refused_threads_are_an_error_and_the_process_goes_on() -> None:
    found = run(LIMITED).splitlines()
    if found == ["not limited"]:
        pytest.skip("this system does not keep RLIMIT_NPROC")
    assert len(found) == 3
    for line, which in zip(found, ("thread 2 of 4", "thread 2 of 2"), strict=False):
        assert line.startswith(f"ModelLoadError the system refused {which} (")
        assert "ulimit -u: 1;" in line
        assert "pids.max" in line
    assert found[2] == "True"


def test_nothing_is_asked_of_the_system_after_loading() -> None:
    """Neither threads nor processes: an engine with a team runs, falls asleep and wakes where none can be had."""
    code = LIMITED.replace("expected = story(2)", "engine = Engine.demo(n_threads=3, progress=False)")
    code = code[: code.index("for n_threads")] + textwrap.dedent("""
    import time
    for _ in range(3):
        time.sleep(0.05)
        print(len(engine.generate_batch(["Once"] * 5, max_tokens=20, ignore_eos=True)))
    engine.close()
    """)
    found = run(code).split()
    if found == ["not", "limited"]:
        pytest.skip("this system does not keep RLIMIT_NPROC")
    assert found == ["5"] * 3


def test_a_forked_child_has_no_members_and_waits_for_none() -> None:
    code = """
    import gc, os
    import numpy as np
    from oxillama import Engine
    engine = Engine.demo(n_threads=3, progress=False)
    program = engine.program
    tokens = np.arange(20, 60, dtype=np.int32)
    runs = [(40, 0, np.arange(2, dtype=np.int32))]
    def forward():
        return program.forward(tokens, runs, np.array([39], np.int32)).tobytes()
    expected = forward()
    child = os.fork()
    if child == 0:
        same = forward() == expected and program.team.size == 1
        program.team.close()
        engine.close()
        del engine, program
        gc.collect()
        os._exit(33 if same else 1)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), forward() == expected, program.team.size)
    """
    assert run(code) == "33 True 3"


def test_a_closed_program_goes_on_alone() -> None:
    code = """
    import numpy as np
    from oxillama import Engine
    engine = Engine.demo(n_threads=3, progress=False)
    program = engine.program
    def forward():
        runs = [(3, 0, np.zeros(1, np.int32))]
        return program.forward(np.arange(20, 23, dtype=np.int32), runs, np.array([2], np.int32)).tobytes()
    expected = forward()
    engine.close()
    print(forward() == expected, program.team.size)
    """
    assert run(code) == "True 1"


def test_no_compiled_module_needs_the_compiler_s_thread_library() -> None:
    modules = list((Path(oxillama.__file__).parent / "_core").rglob("*.so"))
    assert modules
    assert [path.name for path in modules if b"GOMP_" in path.read_bytes() or b"libomp" in path.read_bytes()] == []
