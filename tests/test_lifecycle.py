"""Life and death of an engine, each in a process of its own with a time limit: exit, signals, fork, OpenMP."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
LIMIT = 90  # seconds; machines are busy

# What every program here begins with. `story()` and `endless()` need an engine called `engine`.
PRELUDE = """
import atexit, gc, os, signal, sys, threading, time
from oxillama import Engine, EngineClosedError, EngineForkedError, OxillamaError

def open_demo(**options):
    return Engine.demo(progress=False, **{"n_threads": 1, **options})

def story(engine):
    return engine.generate("Once upon a time", max_tokens=12, temperature=0).token_ids

def endless(engine):
    return engine.submit("Once", ignore_eos=True, max_tokens=1000)
"""
STORY = "import json; print(json.dumps(story(open_demo(n_threads=1))))"


def program(code: str) -> list[str]:
    # Python 3.12 and later warn of any fork beside threads, which is what some of these programs are about.
    warnings = ["-W", "error", "-W", "ignore:This process:DeprecationWarning"]
    return [sys.executable, "-X", "faulthandler", *warnings, "-c", PRELUDE + textwrap.dedent(code)]


def environment(**changes: str) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(REPOSITORY)} | changes


def run(code: str, **changes: str) -> str:
    """What the program prints; it must end by itself, without a word on standard error."""
    result = subprocess.run(program(code), env=environment(**changes), capture_output=True, text=True, timeout=LIMIT)
    assert (result.returncode, result.stderr) == (0, ""), result.stderr[-3000:]
    return result.stdout.strip()


@pytest.fixture(scope="module")
def expected() -> str:
    """The story, from a process in which nothing happens."""
    return run(STORY)


# Exit


def test_exit_with_a_forgotten_engine() -> None:
    assert run("engine = open_demo(n_threads=2); print(len(story(engine)))") == "12"


@pytest.mark.parametrize("n_threads", [1, 2])
def test_exit_while_it_writes(n_threads: int) -> None:
    code = f"engine = open_demo(n_threads={n_threads}); handles = [endless(engine) for _ in range(4)]; print('bye')"
    assert run(code) == "bye"


def test_exit_while_a_daemon_thread_waits() -> None:
    code = """
    engine = open_demo()
    def ask():
        try:
            while True:
                engine.generate("Once", ignore_eos=True)
        except OxillamaError:
            pass
    for _ in range(3):
        threading.Thread(target=ask, daemon=True).start()
    time.sleep(0.1)
    print("bye")
    """
    assert run(code) == "bye"


def test_exit_while_a_thread_still_works() -> None:
    code = """
    engine = open_demo()
    threading.Thread(target=lambda: print(len(story(engine)))).start()
    """
    assert run(code) == "12"


def test_exit_by_an_exception() -> None:
    result = subprocess.run(
        program("engine = open_demo(); handle = endless(engine); raise SystemExit(7)"),
        env=environment(),
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )
    assert (result.returncode, result.stderr) == (7, "")


def test_use_in_an_exit_handler() -> None:
    # Handlers run last in, first out: one registered before the import comes when engines are closed already.
    code = """
    engine = open_demo()
    atexit.register(lambda: print(len(story(engine))))
    """
    assert run(code) == "12"
    late = """
    import oxillama.lifecycle
    def late():
        try:
            engine.generate("Once")
        except EngineClosedError:
            print("closed")
    atexit.unregister(oxillama.lifecycle._close_all)
    atexit.register(late)
    atexit.register(oxillama.lifecycle._close_all)
    engine = open_demo()
    """
    assert run(late) == "closed"


def test_an_engine_opened_in_an_exit_handler() -> None:
    code = """
    import oxillama.lifecycle
    def last():
        global engine, handle
        engine = open_demo()
        print(len(story(engine)))
        handle = endless(engine)
    atexit.unregister(oxillama.lifecycle._close_all)
    atexit.register(last)
    atexit.register(oxillama.lifecycle._close_all)
    """
    assert run(code) == "12"


def test_exit_under_asyncio() -> None:
    code = """
    import asyncio
    engine = open_demo()
    async def main():
        task = asyncio.create_task(engine.agenerate("Once", ignore_eos=True))
        await asyncio.sleep(0.1)
        print("bye")
    asyncio.run(main())
    """
    assert run(code) == "bye"


# Signals


def interrupted(code: str, **changes: str) -> str:
    """Ctrl-C once the program has said that it is ready; what it prints afterwards."""
    with subprocess.Popen(
        program(code), env=environment(**changes), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            time.sleep(0.1)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=LIMIT)
        finally:
            process.kill()
    assert (process.returncode, err) == (0, "")
    return out.strip()


INTERRUPTED = """
path = os.environ["LONG_MODEL"]
engine = Engine(path, n_threads=1, progress=False)
def tell():
    while not {begun}:
        time.sleep(0.001)
    print("ready", flush=True)
threading.Thread(target=tell).start()
{before}
started = time.monotonic()
try:
    {call}
except KeyboardInterrupt:
    assert time.monotonic() - started < 20
# Outside, because a traceback keeps what its frames hold.
while engine.stats().kv_blocks_used:
    time.sleep(0.01)
print("interrupted", engine.generate("x", max_tokens=3, ignore_eos=True).usage.completion_tokens)
"""


@pytest.mark.parametrize(
    "call",
    [
        "engine.generate('x', ignore_eos=True)",
        "list(engine.stream('x', ignore_eos=True))",
        "engine.generate('x' * 100_000, max_tokens=1)",
        "engine.logprobs('x' * 100_000)",
        "engine.generate_batch(['x'] * 10, ignore_eos=True)",
        "engine.submit('x', ignore_eos=True).result()",
        "engine.drain()",
    ],
    ids=["generate", "stream", "long prompt", "evaluation", "batch", "result", "drain"],
)
def test_ctrl_c_stops_promptly_and_the_engine_goes_on(long_model: Path, call: str) -> None:
    begun, before = "engine.stats().prompt_tokens", ""
    if "drain" in call:
        begun, before = "engine.state == 'draining'", "handle = engine.submit('x', ignore_eos=True)"
    code = INTERRUPTED.replace("{call}", call).replace("{begun}", begun).replace("{before}", before)
    if "drain" in call:
        # A draining engine takes nothing new, and its request was not the interrupted call's.
        code = code.replace("while engine", "handle.cancel()\nwhile engine")
        code = code.replace('engine.generate("x"', 'Engine(path, progress=False).generate("x"')
    assert interrupted(code, LONG_MODEL=str(long_model)) == "interrupted 3"


def test_ctrl_c_under_asyncio() -> None:
    code = """
    import asyncio
    engine = open_demo()
    async def main():
        print("ready", flush=True)
        while True:
            await engine.agenerate("Once", ignore_eos=True)
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        while engine.stats().kv_blocks_used:
            time.sleep(0.01)
        print("interrupted", len(story(engine)))
    """
    assert interrupted(code) == "interrupted 12"


def test_signals_reach_the_host_s_own_handlers() -> None:
    code = """
    seen = []
    def handler(number, frame):
        seen.append(threading.current_thread() is threading.main_thread())
    signal.signal(signal.SIGUSR1, handler)
    engine = open_demo()
    handle = endless(engine)
    for _ in range(20):
        os.kill(os.getpid(), signal.SIGUSR1)
        time.sleep(0.001)
    print(all(seen), len(seen) > 0)
    """
    assert run(code) == "True True"


# Fork


def test_a_forked_child_is_told_and_the_parent_goes_on(long_model: Path) -> None:
    code = """
    # What the demo model can write may be written before the fork.
    engine = Engine(os.environ["LONG_MODEL"], n_threads=1, progress=False)
    before = engine.generate("x", max_tokens=12, temperature=0, ignore_eos=True).token_ids
    running, done = engine.submit("x", ignore_eos=True), engine.submit("x", max_tokens=2, ignore_eos=True)
    done.result()
    stream = engine.stream("x", ignore_eos=True)
    child = os.fork()
    if child == 0:
        errors = []
        calls = [
            lambda: engine.generate("Once"), lambda: engine.stream("Once"), lambda: engine.logits("Once"),
            lambda: running.result(), lambda: list(stream), lambda: engine.drain(),
        ]
        for call in calls:
            try:
                call()
            except EngineForkedError:
                errors.append(1)
        assert errors == [1] * len(calls), errors
        assert len(done.result().token_ids) == 2  # what was there before the fork may be read
        assert engine.state == "closed"
        running.cancel()
        stream.close()
        engine.close()
        del running, stream, engine, call, calls
        gc.collect()
        os._exit(33)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 33
    assert not running.done
    assert engine.generate("x", max_tokens=12, temperature=0, ignore_eos=True).token_ids == before
    print("goes on")
    """
    assert run(code, LONG_MODEL=str(long_model)) == "goes on"


def test_a_forked_child_may_open_its_own(expected: str) -> None:
    code = """
    import json
    engine = open_demo()
    story(engine)
    child = os.fork()
    if child == 0:
        try:
            print(json.dumps(story(open_demo())), flush=True)
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    print(json.dumps(story(engine)))
    """
    assert run(code).splitlines() == [expected, expected]


def test_a_forked_child_may_exit_as_usual() -> None:
    code = """
    engine = open_demo()
    handle = endless(engine)
    child = os.fork()
    if child == 0:
        sys.exit(5)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), len(story(engine)))
    """
    assert run(code) == "5 12"


def test_a_pool_of_forked_processes(expected: str) -> None:
    code = """
    import json, multiprocessing
    engine = open_demo()
    story(engine)
    def work(_):
        return story(open_demo(n_threads=2))
    with multiprocessing.get_context("fork").Pool(2) as pool:
        found = pool.map(work, range(3))
    assert len(set(found)) == 1
    print(json.dumps(found[0]))
    """
    assert run(code) == expected


# Several engines, and their collection


def test_two_engines_in_one_process(expected: str) -> None:
    code = """
    import json
    first, second = open_demo(), open_demo()
    found = []
    threads = [threading.Thread(target=lambda e=engine: found.append(story(e))) for engine in (first, second) * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    first.close()
    found.append(story(second))
    assert len(found) == 7 and len(set(found)) == 1
    print(json.dumps(found[0]))
    """
    assert run(code) == expected


@pytest.mark.parametrize("cycle", [False, True], ids=["last reference", "cycle"])
def test_collection_of_an_engine_in_use(cycle: bool) -> None:
    code = """
    class Box:
        pass
    for n_threads in (1, 2) * 3:
        box = Box()
        box.engine = open_demo(n_threads=n_threads)
        box.handles = [endless(box.engine) for _ in range(6)]
        box.myself = box if CYCLE else None
        time.sleep(0.02)
        del box
        gc.collect()
    print(len(story(open_demo())))
    """
    assert run(code.replace("CYCLE", str(cycle))) == "12"


def test_close_from_another_thread_while_it_writes() -> None:
    code = """
    for _ in range(3):
        engine = open_demo(n_threads=2)
        ended = []
        def ask():
            try:
                while True:
                    engine.generate("Once", ignore_eos=True, max_tokens=1000)
            except EngineClosedError:
                ended.append(1)
        threads = [threading.Thread(target=ask) for _ in range(6)]
        closers = [threading.Thread(target=engine.close) for _ in range(3)]
        for thread in threads:
            thread.start()
        time.sleep(0.05)
        for thread in closers:
            thread.start()
        for thread in threads + closers:
            thread.join()
        assert ended == [1] * 6
        assert engine.state == "closed"
    print("closed")
    """
    assert run(code) == "closed"


def test_submitting_while_it_closes() -> None:
    code = """
    for _ in range(10):
        engine = open_demo()
        def ask():
            try:
                while True:
                    engine.submit("Once", max_tokens=3)
            except OxillamaError:
                pass
        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        time.sleep(0.01)
        engine.close()
        for thread in threads:
            thread.join()
    print("closed")
    """
    assert run(code) == "closed"


# OpenMP and the processor


@pytest.mark.parametrize(
    "changes",
    [
        {"OMP_THREAD_LIMIT": "1"},
        {"OMP_DYNAMIC": "true"},
        {"OMP_WAIT_POLICY": "active"},
    ],
    ids=lambda changes: "=".join(*changes.items()),
)
def test_settings_of_openmp_change_no_result(expected: str, changes: dict[str, str]) -> None:
    assert run("import json; print(json.dumps(story(open_demo(n_threads=2))))", **changes) == expected


@pytest.mark.parametrize("policy", ["active", "passive"])
def test_an_idle_engine_uses_no_processor(policy: str) -> None:
    code = """
    engine = open_demo(n_threads=2)
    def rests():
        for _ in range(5):  # a busy machine is slow to let it fall asleep
            before = time.process_time()
            time.sleep(0.6)
            if time.process_time() - before < 0.02:
                return True
        return False
    print(rests())
    story(engine)
    print(rests())
    """
    assert run(code, OMP_WAIT_POLICY=policy).split() == ["True", "True"]


FLOAT_MODE = """
import ctypes
import numpy as np
libm = ctypes.CDLL("libm.so.6")
environment = (ctypes.c_uint32 * 8)()  # fenv_t of x86-64: the last word is MXCSR
libm.fegetenv(environment)
environment[7] |= {bits}
libm.fesetenv(environment)
{check}
"""
FLOAT_WORK = """
import hashlib, json
with open_demo(n_threads=2) as engine:
    sampled = engine.generate("Once upon a time", max_tokens=30, seed=5, top_p=0.9, min_p=0.01, temperature=0.7)
    digest = hashlib.sha256(engine.logits("Once upon a time there was a fox.").tobytes()).hexdigest()
print(json.dumps([sampled.token_ids, digest]))
"""


@pytest.fixture(scope="module")
def undisturbed() -> str:
    return run(FLOAT_WORK)


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the modes are set as x86-64 has them")
@pytest.mark.parametrize(
    ("bits", "check"),
    [
        (0x8040, "assert np.float32(2e-38) / np.float32(100) == 0"),
        (0x4000, "assert np.float64(1) + np.float64(1e-30) > 1"),
        (0x2000, "assert np.float64(1) - np.float64(1e-30) < 1"),
    ],
    ids=["denormals flushed", "rounding up", "rounding down"],
)
def test_the_host_s_floating_point_mode_changes_no_result(undisturbed: str, bits: int, check: str) -> None:
    changed = FLOAT_MODE.replace("{bits}", str(bits)).replace("{check}", check)
    # The mode is the host's: it must still be there afterwards.
    assert run(changed + FLOAT_WORK + check) == undisturbed
