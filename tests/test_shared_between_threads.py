"""Whatever threads may share, shared by many at once: results are those of one thread, and misuse ends in an error.

Without a GIL (a free-threaded interpreter, `make test-free-threading`) nothing but the code itself keeps them apart;
`OXILLAMA_STRESS_SECONDS` says how long each of these goes on."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from oxillama import (
    Engine,
    EngineClosedError,
    InvalidRequestError,
    RequestCancelled,
    RequestHandle,
    Sampler,
    SamplingParams,
)
from oxillama.demo import demo_path
from oxillama.gguf import GGUFFile

REPOSITORY = Path(__file__).resolve().parent.parent
SECONDS = float(os.environ.get("OXILLAMA_STRESS_SECONDS", "0.3"))
THREADS = 8
PROMPTS = ("Once upon a time", "One day", "The little fox", "Mia went to the sea")
IS_FREE = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))


def at_once(*work: Callable[[int], None], seconds: float = SECONDS, threads: int = THREADS) -> None:
    """Each thread repeats one of the works from the same moment on; what one raises is raised here."""
    begin, end = threading.Barrier(threads), threading.Event()
    failures: list[BaseException] = []

    def repeat(number: int) -> None:
        begin.wait()
        rounds = 0
        while rounds == 0 or not end.is_set():
            try:
                work[number % len(work)](number + rounds)
            except BaseException as error:
                failures.append(error)
                end.set()
            rounds += 1

    crowd = [threading.Thread(target=repeat, args=[number]) for number in range(threads)]
    for thread in crowd:
        thread.start()
    end.wait(seconds)
    end.set()
    for thread in crowd:
        thread.join()
    if failures:
        raise failures[0]


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with Engine.demo(n_threads=2, max_batch_size=4, kv_cache_tokens=512) as opened:
        yield opened


def test_the_interpreter_keeps_its_freedom() -> None:
    """A module that does not declare itself safe turns the GIL on, with a warning, for everybody."""
    if not IS_FREE:
        pytest.skip("this interpreter has a GIL")
    code = (
        "import sys; from oxillama import Engine\n"
        "with Engine.demo(n_threads=1) as engine: engine.generate('One day', max_tokens=2)\n"
        "assert not sys._is_gil_enabled()"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=REPOSITORY, check=True, timeout=120)


def test_an_engine_s_calls(engine: Engine) -> None:
    texts = [engine.generate(prompt, max_tokens=8, temperature=0).text for prompt in PROMPTS]
    rows = [engine.embed(prompt).tobytes() for prompt in PROMPTS]
    scores = [engine.logprobs(prompt).tobytes() for prompt in PROMPTS]

    def generate(number: int) -> None:
        at = number % len(PROMPTS)
        assert engine.generate(PROMPTS[at], max_tokens=8, temperature=0, queue_timeout=60).text == texts[at]

    def stream(number: int) -> None:
        at = number % len(PROMPTS)
        with engine.stream(PROMPTS[at], max_tokens=8, temperature=0, queue_timeout=60) as chunks:
            assert "".join(chunk.text for chunk in chunks) == texts[at]

    def read(number: int) -> None:
        at = number % len(PROMPTS)
        assert engine.embed(PROMPTS[at]).tobytes() == rows[at]
        assert engine.logprobs(PROMPTS[at]).tobytes() == scores[at]

    def leave(number: int) -> None:
        handle = engine.submit(PROMPTS[number % len(PROMPTS)], max_tokens=100, ignore_eos=True, queue_timeout=60)
        handle.cancel()
        with pytest.raises(RequestCancelled):
            handle.result(timeout=60)
        assert engine.stats().queue_depth >= 0

    at_once(generate, stream, read, leave)


def test_requests_have_numbers_of_their_own(engine: Engine) -> None:
    seen: list[str] = []
    at_once(lambda number: seen.append(engine.prepare("One day", max_tokens=1).id))
    assert len(seen) == len(set(seen))


@pytest.mark.parametrize("waits", [False, True], ids=["iterate", "iterate and wait"])
def test_one_handle_that_several_read(waits: bool, engine: Engine) -> None:
    alone = engine.generate("Once upon a time", max_tokens=24, temperature=0)
    end = time.monotonic() + SECONDS
    while True:
        handle = engine.submit("Once upon a time", max_tokens=24, temperature=0)
        chunks: list[str] = []

        def iterate(handle: RequestHandle = handle, chunks: list[str] = chunks) -> None:
            chunks.extend(chunk.text for chunk in handle)

        def wait(handle: RequestHandle = handle) -> None:
            assert handle.result(timeout=60).text == alone.text

        crowd = [threading.Thread(target=work) for work in ((iterate, wait) if waits else (iterate, iterate)) * 2]
        for thread in crowd:
            thread.start()
        for thread in crowd:
            thread.join()
        assert handle.done
        assert handle.result(timeout=60).token_ids == alone.token_ids
        # Each piece goes to one of those who iterate; whoever waits for all of it takes them too.
        assert waits or len("".join(chunks)) == len(alone.text)
        if time.monotonic() > end:
            break


def test_samplers_and_tokenizers(engine: Engine) -> None:
    logits = np.linspace(-3, 3, 2048, dtype=np.float32)
    sampler = Sampler(SamplingParams(temperature=0.8, top_p=0.9, repetition_penalty=1.2, seed=3))
    drawn = [sampler.sample(logits, [1, 2, at], position=at) for at in range(16)]
    tokenizer = engine.tokenizer
    assert tokenizer is not None
    ids = [tokenizer.encode(prompt) for prompt in PROMPTS]

    def sample(number: int) -> None:
        at = number % 16
        assert sampler.sample(logits, [1, 2, at], position=at) == drawn[at]

    def encode(number: int) -> None:
        at = number % len(PROMPTS)
        assert tokenizer.encode(PROMPTS[at]) == ids[at]
        assert tokenizer.decode(ids[at], skip_special=True) == PROMPTS[at]

    at_once(sample, encode)


def test_adapters_that_come_and_go(engine: Engine) -> None:
    path = REPOSITORY / "examples" / "pirate.gguf"
    plain = engine.generate("One day", max_tokens=8, temperature=0).text
    engine.load_lora("pirate", path)
    applied = engine.generate("One day", max_tokens=8, temperature=0, lora="pirate").text

    def come_and_go(number: int) -> None:
        name = f"pirate {number} {threading.get_ident()}"
        engine.load_lora(name, path)
        assert engine.generate("One day", max_tokens=8, temperature=0, lora=name, queue_timeout=60).text == applied
        engine.unload_lora(name, when_idle=True)

    def use(number: int) -> None:
        lora = "pirate" if number % 2 else None
        text = engine.generate("One day", max_tokens=8, temperature=0, lora=lora, queue_timeout=60).text
        assert text == (applied if lora else plain)

    at_once(come_and_go, use, use, threads=6)
    engine.unload_lora("pirate", when_idle=True)
    assert engine.loras == ()


def test_files(engine: Engine) -> None:
    with GGUFFile(demo_path()) as file:
        name = next(iter(file.tensors))
        raw = bytes(file.tensor(name).data)

        def look(number: int) -> None:
            assert bytes(file.tensor(name).data) == raw
            assert len(list(file.metadata["tokenizer.ggml.tokens"])) == engine.n_vocab

        at_once(look)


def test_closing_while_everybody_calls() -> None:
    end = time.monotonic() + SECONDS
    while True:
        engine = Engine.demo(n_threads=1, max_batch_size=4)
        goes_on = threading.Event()

        def call(number: int, engine: Engine = engine, goes_on: threading.Event = goes_on) -> None:
            try:
                engine.generate(PROMPTS[number % len(PROMPTS)], max_tokens=8, queue_timeout=60)
                engine.embed(PROMPTS[number % len(PROMPTS)])
                goes_on.set()
            except (EngineClosedError, InvalidRequestError):
                return
            finally:
                assert engine.stats().running >= 0
                _ = engine.program, repr(engine), engine.memory

        def close(number: int, engine: Engine = engine, goes_on: threading.Event = goes_on) -> None:
            goes_on.wait(60)
            engine.close()

        at_once(call, call, call, close, seconds=0.05)
        engine.close()
        assert engine.state == "closed"
        if time.monotonic() > end:
            break


def test_opening_and_closing_at_once() -> None:
    def open_and_close(number: int) -> None:
        with Engine.demo(n_threads=1, max_batch_size=2) as engine:
            assert engine.generate("One day", max_tokens=1, temperature=0).usage.completion_tokens == 1

    at_once(open_and_close, threads=4)
