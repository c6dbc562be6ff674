"""The life of adapters in an engine: names, contents, the requests that have them, what is cached of their prompts."""

from __future__ import annotations

import gc
import itertools
import math
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest

from oxillama import Engine, SamplingParams
from oxillama.adapters import table
from oxillama.adapters.pairs import LowRankAdapter
from oxillama.adapters.table import canonical, polls
from oxillama.errors import AdapterError, EngineClosedError, InvalidRequestError
from oxillama.ledger import LEDGER
from oxillama.testing.tiny_adapters import TinyAdapter
from oxillama.testing.tiny_models import TinyModel

PROMPT = list(range(3, 75))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapters")
    base = folder / "base.gguf"
    TinyModel(tokenizer=True, n_ctx=4096).write(base)
    for name, seed in (("a", 0), ("b", 1)):
        TinyAdapter.of(base, seed=seed, strength=2.0).write(folder / f"{name}.gguf")
    return folder


@pytest.fixture
def engine(folder: Path) -> Iterator[Engine]:
    with Engine(folder / "base.gguf", n_ctx=4096, n_threads=1, max_batch_size=4, progress=False) as engine:
        yield engine


def ids(engine: Engine, lora: Any = None, **options: Any) -> tuple[int, ...]:
    wanted = {"max_tokens": 24, "temperature": 0, "ignore_eos": True} | options
    return engine.generate(PROMPT, lora=lora, **wanted).token_ids


def wait_until(condition: Callable[[], bool]) -> None:
    limit = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.002)


def test_what_is_loaded_is_told(engine: Engine, folder: Path) -> None:
    assert not engine.loras
    info = engine.load_lora("a", folder / "a.gguf", scale=0.5)
    assert list(engine.loras) == [info]
    assert (info.name, info.rank, info.scale, info.running) == ("a", 4, 0.5, 0)
    assert info.bytes > 0
    assert info.to_dict()["name"] == "a"
    engine.unload_lora("a")
    assert not engine.loras


def test_a_list_is_canonical(engine: Engine, folder: Path) -> None:
    base = ids(engine)
    for name in "ab":
        engine.load_lora(name, folder / f"{name}.gguf")
    engine.load_lora("half a", folder / "a.gguf", scale=0.5)
    one = ids(engine, "a")
    assert one != base != ids(engine, "b") != one
    assert ids(engine, [("a", 1.0), ("b", 0.5)]) == ids(engine, [("b", 0.5), ("a", 1.0)])
    assert ids(engine, [("half a", 2.0)]) == one == ids(engine, [("half a", 1.0), ("a", 0.5)])
    assert ids(engine, [("a", 0.0)]) == base == ids(engine, [("a", 1.0), ("a", -1.0)])
    row = engine.logits(PROMPT)
    np.testing.assert_array_equal(engine.logits(PROMPT, lora=[("a", 0.0)]), row)
    both = engine.logits(PROMPT, lora=[("a", 1.0), ("b", 0.5)])
    np.testing.assert_array_equal(engine.logits(PROMPT, lora=[("b", 0.5), ("a", 1.0)]), both)


def test_sums_of_scales() -> None:
    x, y = b"x", b"y"
    assert canonical([(y, 1.0), (x, 0.5), (y, 0.25)]) == ((x, 0.5), (y, 1.25))
    assert canonical([(x, 1.0), (y, 0.0), (x, -1.0)]) == ()
    assert canonical([(x, 0.1), (x, 0.2), (x, 0.3)]) == canonical([(x, 0.3), (x, 0.1), (x, 0.2)])
    with pytest.raises(AdapterError, match="add up to inf"):
        canonical([(x, 1e308), (x, 1e308)])


def test_unknown_and_bad_names(engine: Engine, folder: Path) -> None:
    with pytest.raises(AdapterError, match="no adapter 'a' is loaded") as caught:
        engine.submit(PROMPT, lora="a")
    assert caught.value.param == "lora"
    assert engine.stats().queue_depth == 0
    with pytest.raises(AdapterError):
        engine.unload_lora("a")
    names: tuple[Any, ...] = ("", " a", "a\n", 7, "x" * 300)
    for name in names:
        with pytest.raises(InvalidRequestError):
            engine.load_lora(name, folder / "a.gguf")
    with pytest.raises(InvalidRequestError):
        engine.load_lora("a", folder / "a.gguf", scale=float("nan"))
    engine.load_lora("a", folder / "a.gguf")
    with pytest.raises(AdapterError, match="loaded already"):
        engine.load_lora("a", folder / "b.gguf")


def test_a_failing_load_leaves_nothing(engine: Engine, folder: Path, tmp_path: Path) -> None:
    held = len(LEDGER.holders())
    wrong = tmp_path / "wrong.gguf"
    TinyAdapter("llama", {"blk.0.attn_q.weight": (64, 64), "blk.9.attn_q.weight": (64, 64)}).write(wrong)
    for path in (wrong, tmp_path / "nothing.gguf", folder / "base.gguf", tmp_path):
        with pytest.raises(AdapterError):
            engine.load_lora("a", path)
    assert not engine.loras
    assert len(LEDGER.holders()) == held
    engine.load_lora("a", folder / "a.gguf")  # the name is free


def test_memory_is_promised_and_given_back(engine: Engine, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = len(LEDGER.holders())
    engine.load_lora("a", folder / "a.gguf")
    assert len(LEDGER.holders()) == held + 1
    engine.unload_lora("a")
    assert len(LEDGER.holders()) == held
    monkeypatch.setattr("oxillama.ledger.available_memory", lambda: 0)
    with pytest.raises(AdapterError, match="does not fit into memory"):
        engine.load_lora("a", folder / "a.gguf")
    assert not engine.loras


def test_memory_is_promised_before_the_factors_are_decoded(
    engine: Engine, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def decoded(self: LowRankAdapter) -> Any:
        raise AssertionError("decoded before anybody knew that there is memory for it")

    monkeypatch.setattr(LowRankAdapter, "values", decoded)
    monkeypatch.setattr("oxillama.ledger.available_memory", lambda: 0)
    with pytest.raises(AdapterError, match="reading the adapter a does not fit into memory"):
        engine.load_lora("a", folder / "a.gguf")


@pytest.mark.parametrize("moment", ["reading", "packing"])
def test_a_load_that_a_close_overtakes_leaves_no_promise(
    folder: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    gc.collect()  # engines of other tests end whenever it pleases the collector
    held = len(LEDGER.holders())
    engine = Engine(folder / "base.gguf", n_threads=1, progress=False)
    name = {"reading": "read_adapter", "packing": "pack"}[moment]
    work = getattr(table, name)

    def overtaken(*arguments: Any, **options: Any) -> Any:
        found = work(*arguments, **options)
        engine.close()
        return found

    monkeypatch.setattr(table, name, overtaken)
    with pytest.raises(EngineClosedError):
        engine.load_lora("a", folder / "a.gguf")
    assert not engine.has_lora("a")
    assert len(LEDGER.holders()) == held


def test_who_waits_looks_seldom_in_the_end() -> None:
    seconds = list(itertools.islice(polls(math.inf), 20))
    assert seconds[0] < 0.01
    assert seconds[-1] == max(seconds) >= 0.1
    assert list(polls(-1)) == []


def test_sets_are_numbered_by_each_engine_itself(folder: Path) -> None:
    for _ in range(2):
        with Engine(folder / "base.gguf", n_threads=1, progress=False) as engine:
            engine.load_lora("a", folder / "a.gguf")
            engine.generate(PROMPT, lora="a", max_tokens=1)
            assert next(engine._adapters._set_ids) == 2


def test_cached_prompts_belong_to_what_was_applied(engine: Engine, folder: Path) -> None:
    engine.load_lora("a", folder / "a.gguf")
    first = engine.generate(PROMPT, lora="a", max_tokens=8, temperature=0)
    again = engine.generate(PROMPT, lora="a", max_tokens=8, temperature=0)
    assert (first.usage.cached_tokens, again.usage.cached_tokens) == (0, 64)
    assert again.token_ids == first.token_ids
    for lora in (None, [("a", 0.5)]):
        assert engine.generate(PROMPT, lora=lora, max_tokens=8, temperature=0).usage.cached_tokens == 0
    cached = engine.stats().kv_blocks_cached
    engine.unload_lora("a")
    wait_until(lambda: engine.stats().kv_blocks_cached < cached or _step(engine))
    # Other weights under the same name find nothing.
    engine.load_lora("a", folder / "b.gguf")
    other = engine.generate(PROMPT, lora="a", max_tokens=8, temperature=0)
    assert other.usage.cached_tokens == 0
    assert other.token_ids != first.token_ids


def _step(engine: Engine) -> bool:
    """The gauges are as old as the last step."""
    engine.generate([5], max_tokens=1)
    return False


def test_unloading_waits_or_refuses(engine: Engine, folder: Path) -> None:
    engine.load_lora("a", folder / "a.gguf")
    handle = engine.submit(PROMPT, lora="a", max_tokens=3000, temperature=0, ignore_eos=True)
    assert engine.loras[0].running == 1
    with pytest.raises(AdapterError, match="in use by 1 requests"):
        engine.unload_lora("a")
    thread = threading.Thread(target=lambda: engine.unload_lora("a", when_idle=True))
    thread.start()
    wait_until(lambda: not engine.loras)
    with pytest.raises(AdapterError):
        engine.submit(PROMPT, lora="a")
    assert thread.is_alive()
    assert not handle.done
    handle.cancel()
    thread.join(60)
    assert not thread.is_alive()


def test_by_force_requests_end_with_an_error(engine: Engine, folder: Path) -> None:
    for name in "ab":
        engine.load_lora(name, folder / f"{name}.gguf")
    options: dict[str, Any] = {"max_tokens": 3000, "temperature": 0, "ignore_eos": True}
    applied = engine.submit(PROMPT, lora="a", **options)
    both = engine.submit(PROMPT, lora=[("a", 1.0), ("b", 1.0)], **options)
    other = engine.submit(PROMPT, lora="b", **(options | {"max_tokens": 40}))
    engine.unload_lora("a", force=True)
    for handle in (applied, both):
        with pytest.raises(AdapterError, match="unloaded by force"):
            handle.result(60)
    assert other.result(60).finish_reason == "length"
    assert ids(engine, "b") == ids(engine, "b")
    # A request that was made and not yet submitted ends in the same way.
    made = engine.prepare(PROMPT, lora="b")
    thread = threading.Thread(target=lambda: engine.unload_lora("b", force=True))
    thread.start()
    wait_until(lambda: not engine.loras)
    made.enter()
    with pytest.raises(AdapterError, match="unloaded by force"):
        made.result(60)
    thread.join(60)


def test_handles_that_never_ran_outlive_the_engine(folder: Path) -> None:
    engine = Engine(folder / "base.gguf", n_ctx=4096, n_threads=1, progress=False)
    engine.load_lora("a", folder / "a.gguf")
    made = engine.prepare(PROMPT, lora="a")
    running = engine.submit(PROMPT, lora="a", ignore_eos=True)
    engine.close()
    with pytest.raises(EngineClosedError):
        running.result(60)
    del made, running
    assert not engine.loras
    with pytest.raises(EngineClosedError):
        engine.load_lora("a", folder / "a.gguf")


def test_rounds_leave_memory_flat(engine: Engine, folder: Path) -> None:
    def resident() -> int:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * 4096

    def rounds(n: int) -> None:
        for i in range(n):
            engine.load_lora("a", folder / f"{'ab'[i % 2]}.gguf")
            engine.generate(PROMPT[:4], lora=[("a", 1 + i / 1000)], max_tokens=1)
            engine.unload_lora("a", when_idle=True)

    rounds(100)
    before = resident()
    rounds(1000)
    assert resident() - before < 4 << 20


def test_async_twins(engine: Engine, folder: Path) -> None:
    async def main() -> None:
        info = await engine.aload_lora("a", folder / "a.gguf")
        assert list(engine.loras) == [info]
        done = await engine.agenerate(PROMPT, lora="a", max_tokens=4, ignore_eos=True)
        assert done.usage.completion_tokens == 4
        await engine.aunload_lora("a", when_idle=True)
        assert not engine.loras

    for backend in ("asyncio", "trio"):
        anyio.run(main, backend=backend)


def test_embeddings_have_adapters_applied(engine: Engine, folder: Path, tmp_path: Path) -> None:
    TinyAdapter.of(
        folder / "base.gguf", seed=2, others={"adapter.lora.task_name": "query", "adapter.lora.prompt_prefix": "q: "}
    ).write(tmp_path / "task.gguf")
    engine.load_lora("a", folder / "a.gguf")
    engine.load_lora("task", tmp_path / "task.gguf")
    texts = ["a fox", "a bear"]
    plain, applied = engine.embed(texts), engine.embed(texts, lora="a")
    assert np.abs(plain - applied).max() > 0.01
    np.testing.assert_array_equal(engine.embed(texts[1], lora="a")[0], applied[1])
    # A task's own beginning is put before texts, and before nothing else.
    tokens = engine.tokenize("q: a fox")
    np.testing.assert_array_equal(engine.embed("a fox", lora="task"), engine.embed(tokens, lora="task"))
    assert engine.loras[1].prompt_prefix == "q: "


def test_one_request_per_stream_among_many(engine: Engine, folder: Path) -> None:
    """Mixed batches with preemption: everybody gets what it gets alone."""
    for name in "ab":
        engine.load_lora(name, folder / f"{name}.gguf")
    sets = [None, "a", "b", [("a", 0.5), ("b", -1.0)]]
    rng = np.random.default_rng(0)
    prompts = [[int(t) for t in rng.integers(3, 200, rng.integers(1, 90))] for _ in range(16)]
    params = [
        SamplingParams(max_tokens=30, temperature=0.8, seed=i, lora=sets[i % 4], ignore_eos=True) for i in range(16)
    ]
    alone = [engine.generate(prompt, each).token_ids for prompt, each in zip(prompts, params, strict=True)]
    with Engine(
        folder / "base.gguf",
        n_ctx=256,
        n_threads=2,
        kv_cache_tokens=320,
        max_batch_size=8,
        max_batch_tokens=64,
        progress=False,
    ) as crowded:
        for name in "ba":
            crowded.load_lora(name, folder / f"{name}.gguf")
        # Whether anybody is preempted depends on who is there when; results do not.
        for _round in range(50):
            handles = [crowded.submit(prompt, each) for prompt, each in zip(prompts, params, strict=True)]
            assert [handle.result(60).token_ids for handle in handles] == alone
            if crowded.stats().preemptions > 0:
                return
        pytest.fail("nobody was preempted")


@pytest.mark.parametrize("how", ["when_idle", "force"])
def test_a_file_that_is_loaded_again_meanwhile_is_another(engine: Engine, folder: Path, how: str) -> None:
    """What still ends of the first neither ends the second's requests nor waits for them."""
    engine.load_lora("a", folder / "a.gguf")
    old = engine.submit(PROMPT, lora="a", max_tokens=3000, temperature=0, ignore_eos=True)
    wait_until(lambda: bool(old.usage.completion_tokens))
    unloading = threading.Thread(target=engine.unload_lora, args=("a",), kwargs={how: True})
    unloading.start()
    wait_until(lambda: not engine.loras)
    engine.load_lora("a", folder / "a.gguf")
    new = engine.submit(PROMPT, lora="a", max_tokens=3900, temperature=0, ignore_eos=True)
    wait_until(lambda: bool(new.usage.completion_tokens))
    assert [info.running for info in engine.loras] == [1]
    old.cancel()
    unloading.join(60)
    assert not unloading.is_alive()
    assert not new.done
    new.cancel()
