"""Embeddings: what they are made of, which inputs there are, exact in a crowd, and the end of a request for one."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import numpy.typing as npt
import pytest

from oxillama import (
    ContextLengthError,
    DeadlineExceeded,
    EmbeddingHandle,
    EmbeddingParams,
    Engine,
    EngineClosedError,
    InvalidRequestError,
    QueueFullError,
    RequestCancelled,
    UnsupportedModelError,
)
from oxillama.demo import demo_path
from oxillama.gguf import GGUFFile
from oxillama.requests.options import EngineOptions
from oxillama.sampling.params import Pooling
from oxillama.testing.tiny_models import TinyModel
from tests.patience import eventually, is_idle

TEXT = "Once upon a time there was a fox"
Floats = npt.NDArray[np.float32]


@pytest.fixture(scope="module")
def tiny_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("embedding") / "tiny.gguf"
    TinyModel(tokenizer=True).write(path)
    return path


@pytest.fixture(scope="module")
def tiny(tiny_path: Path) -> Any:
    with Engine(tiny_path, n_threads=1, progress=False) as engine:
        yield engine


def hidden_states(engine: Engine, text: str) -> Floats:
    return engine.submit_embedding(text, pooling="none", normalize=False).result()


# What they are made of


def test_hidden_states_are_what_the_output_matrix_reads(tiny: Engine, tiny_path: Path) -> None:
    with GGUFFile(tiny_path) as file:
        output = file.tensor("output.weight").data.view(np.float32).reshape(tiny.n_vocab, -1).copy()
    hidden = hidden_states(tiny, TEXT)
    assert hidden.shape == (len(tiny.tokenize(TEXT)), 64)
    np.testing.assert_allclose(hidden @ output.T, tiny.logits(TEXT), rtol=1e-4, atol=1e-4)


def test_poolings_by_their_definition(demo: Engine) -> None:
    hidden = hidden_states(demo, TEXT)

    def pooled(name: Pooling) -> Floats:
        return demo.submit_embedding(TEXT, pooling=name, normalize=False).result()

    assert np.array_equal(pooled("cls"), hidden[0])
    assert np.array_equal(pooled("last"), hidden[-1])
    total = np.zeros(hidden.shape[1])
    for row in hidden:
        total += row
    assert np.array_equal(pooled("mean"), (total / len(hidden)).astype(np.float32))


def test_rows_are_cut_and_then_normalised(demo: Engine) -> None:
    mean = demo.embed(TEXT, normalize=False)[0].astype(np.float64)
    for dimensions in (1, 5, 256):
        row = demo.embed(TEXT, dimensions=dimensions)[0]
        assert row.dtype == np.float32
        cut = mean[:dimensions]
        np.testing.assert_allclose(row, cut / np.linalg.norm(cut), rtol=1e-6, atol=1e-7)
    tokens = demo.submit_embedding(TEXT, pooling="none", dimensions=7).result()
    np.testing.assert_allclose(np.linalg.norm(tokens, axis=1), 1, rtol=1e-6)


@pytest.mark.parametrize(("number", "name"), [(0, "mean"), (1, "mean"), (2, "cls"), (3, "last")])
def test_the_file_chooses_the_pooling(tmp_path: Path, number: int, name: Pooling) -> None:
    path = tmp_path / "tiny.gguf"
    TinyModel(tokenizer=True, metadata={"llama.pooling_type": np.uint32(number)}).write(path)
    with Engine(path, n_threads=1, progress=False) as engine:
        assert np.array_equal(engine.embed(TEXT), engine.embed(TEXT, pooling=name))
        others: set[Pooling] = {"mean", "cls", "last"}
        others.remove(name)
        assert not any(np.array_equal(engine.embed(TEXT), engine.embed(TEXT, pooling=other)) for other in others)


def test_a_file_for_ranking_must_be_told_the_pooling(tmp_path: Path) -> None:
    path = tmp_path / "tiny.gguf"
    TinyModel(tokenizer=True, metadata={"llama.pooling_type": np.uint32(4)}).write(path)
    with Engine(path, n_threads=1, progress=False) as engine:
        with pytest.raises(InvalidRequestError, match="pooling_type is 4") as caught:
            engine.embed(TEXT)
        assert caught.value.param == "pooling"
        assert engine.embed(TEXT, pooling="mean").shape == (1, 64)


# Inputs


def test_a_text_or_ids_or_several_of_them(demo: Engine) -> None:
    ids = demo.tokenize(TEXT)
    expected = demo.embed(TEXT)
    assert expected.shape == (1, 256)
    one: list[Any] = [ids, tuple(ids), np.array(ids), [TEXT], [ids], np.array([ids])]
    for inputs in one:
        assert np.array_equal(demo.embed(inputs), expected), type(inputs)
    mixed: list[Any] = ["another", ids, np.array(ids)]
    several = demo.embed(mixed)
    assert np.array_equal(several, np.concatenate([demo.embed("another"), expected, expected]))
    assert demo.embed([]).shape == (0, 256)
    assert demo.embed([], dimensions=3).shape == (0, 3)


@pytest.mark.parametrize(
    "inputs", [3, None, b"bytes", [1, "text"], [[1.5]], [["a"]], "generator", [[]], np.zeros((1, 1, 1))]
)
def test_other_inputs_are_refused(demo: Engine, inputs: Any) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        demo.embed(iter([TEXT]) if inputs == "generator" else inputs)  # type: ignore[arg-type]
    assert caught.value.param == "input"


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({"pooling": "max"}, "pooling"),
        ({"pooling": 1}, "pooling"),
        ({"prompt": "passage"}, "prompt"),
        ({"prompt": "query"}, "prompt"),
        ({"prefix": 3}, "prefix"),
        ({"normalize": 1}, "normalize"),
        ({"dimensions": 0}, "dimensions"),
        ({"dimensions": 257}, "dimensions"),
        ({"dimensions": True}, "dimensions"),
        ({"priority": 0.5}, "priority"),
        ({"deadline": -1}, "deadline"),
    ],
)
def test_an_option_without_sense_is_named(demo: Engine, options: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        demo.embed(TEXT, **options)
    assert caught.value.param == param


def test_unknown_options_are_type_errors(demo: Engine) -> None:
    with pytest.raises(TypeError, match="shorten"):
        demo.embed(TEXT, shorten=True)  # type: ignore[call-overload]


def test_an_input_longer_than_the_context_is_refused(demo: Engine) -> None:
    assert demo.embed([5] * demo.n_ctx).shape == (1, 256)
    with pytest.raises(ContextLengthError) as caught:
        demo.embed([5] * (demo.n_ctx + 1))
    assert (caught.value.n_prompt_tokens, caught.value.n_ctx, caught.value.param) == (513, 512, "input")


def test_a_network_that_hides_its_state_gives_no_embeddings(tiny_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oxillama.network.operations.hidden", lambda graph, x: x)
    with Engine(tiny_path, n_threads=1, progress=False) as engine:
        assert engine.generate("a", max_tokens=3, ignore_eos=True).usage.completion_tokens == 3
        with pytest.raises(UnsupportedModelError, match="no embeddings"):
            engine.embed(TEXT)


# Exact in a crowd


@pytest.mark.parametrize("n_threads", [1, 2])
def test_a_row_is_the_same_alone_and_among_others(n_threads: int) -> None:
    chosen = random.Random(3)
    texts = [TEXT + " who had a hat" * chosen.randrange(0, 40) for _ in range(24)]
    with Engine.demo(n_threads=1, prefix_cache=False, progress=False) as alone:
        expected = [alone.embed(text)[0] for text in texts]
        written = [alone.generate(TEXT, max_tokens=250, seed=seed, ignore_eos=True).token_ids for seed in range(6)]
    # So few blocks that requests are preempted, and chunks cut by what else runs.
    options: EngineOptions = {
        "progress": False,
        "max_batch_size": 8,
        "n_threads": n_threads,
        "kv_cache_tokens": 20 * 32,
        "max_batch_tokens": 70,
        "max_step_ms": 1,
    }
    with Engine.demo(**options) as engine:
        # Not from threads, of which the first may have written all before the last begins.
        handles = [engine.submit(TEXT, max_tokens=250, seed=seed, ignore_eos=True) for seed in range(6)]
        rows = engine.embed(texts)
        found = [handle.result().token_ids for handle in handles]
        assert engine.stats().preemptions > 0
    assert found == written
    for row, lone in zip(rows, expected, strict=True):
        assert np.array_equal(row, lone)


def test_the_prefix_cache_is_neither_read_nor_filled(open_long: Callable[..., Engine]) -> None:
    engine = open_long()
    text = "x" * 200
    first = engine.embed(text)
    assert engine.generate(text, max_tokens=1).usage.cached_tokens == 0
    handle = engine.submit_embedding(text)
    assert np.array_equal(handle.result(), first[0])
    assert handle.usage.cached_tokens == 0


def test_more_inputs_than_the_queue_holds(open_long: Callable[..., Engine]) -> None:
    engine = open_long(queue_size=3, max_batch_size=2)
    told: list[tuple[int, int]] = []
    rows = engine.embed(["x" * n for n in range(1, 41)], progress=lambda *report: told.append(report))
    assert rows.shape == (40, 32)
    assert len(np.unique(rows, axis=0)) == 40
    assert told == [(i + 1, 40) for i in range(40)]


def test_a_long_input_takes_whole_steps(demo: Engine) -> None:
    eventually(lambda: is_idle(demo))  # whatever other tests have left
    before = demo.stats().steps
    demo.embed([7] * 500)
    # Hidden states need no logits, of which a step has few rows.
    assert demo.stats().steps - before == 1


# Handles


def test_a_handle_tells_usage_and_times(demo: Engine) -> None:
    handle = demo.submit_embedding(TEXT)
    row = handle.result()
    assert isinstance(handle, EmbeddingHandle)
    assert handle.done
    assert np.array_equal(handle.result(), row)
    assert handle.usage.prompt_tokens == handle.usage.total_tokens == len(demo.tokenize(TEXT))
    assert handle.timings.prefill > 0
    assert handle.timings.ttft == 0


def test_no_text_in_repr_or_logs(demo: Engine, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, logger="oxillama"):
        handle = demo.submit_embedding("a secret about vermilion")
        handle.result()
        demo.embed(["a secret about vermilion"])
    shown = repr(handle) + repr(handle.handles) + repr(EmbeddingParams()) + caplog.text
    assert "vermilion" not in shown
    assert f"{handle.usage.prompt_tokens} tokens" in repr(handle)


def test_cancelled_overdue_full_and_closed(open_long: Callable[..., Engine]) -> None:
    engine = open_long(max_batch_size=1, queue_size=1)
    busy = engine.submit("x", ignore_eos=True)
    eventually(lambda: busy.usage.completion_tokens > 0)
    waiting = engine.submit_embedding("y")
    with pytest.raises(QueueFullError):
        engine.submit_embedding("z")
    with pytest.raises(TimeoutError, match="still running"):
        waiting.result(timeout=0.05)
    waiting.cancel()
    with pytest.raises(RequestCancelled):
        waiting.result()
    with pytest.raises(DeadlineExceeded):
        engine.embed("y", deadline=0.05)
    open_at_the_end = engine.submit_embedding("y")
    engine.close()
    with pytest.raises(EngineClosedError):
        open_at_the_end.result()
    with pytest.raises(EngineClosedError):
        engine.embed("y")


def test_dropping_the_handle_is_the_cancellation(long_engine: Engine) -> None:
    handle = long_engine.submit_embedding([5] * 100_000)
    eventually(lambda: long_engine.stats().running == 1)
    del handle
    eventually(lambda: is_idle(long_engine))


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_the_async_twins_answer_as_the_others_do(demo: Engine, backend: str) -> None:
    texts = [f"{TEXT} number {i}" for i in range(10)]
    expected = demo.embed(texts)

    async def main() -> None:
        assert np.array_equal(await demo.aembed(texts), expected)
        handle = await demo.asubmit_embedding(texts[3])
        assert np.array_equal(await handle.aresult(), expected[3])
        rows: list[Floats | None] = [None] * len(texts)

        async def one(i: int) -> None:
            rows[i] = (await demo.aembed(texts[i]))[0]

        async with anyio.create_task_group() as tasks:
            for i in range(len(texts)):
                tasks.start_soon(one, i)
        assert np.array_equal(np.stack(rows), expected)  # type: ignore[arg-type]

    anyio.run(main, backend=backend)


def test_a_cancelled_task_cancels_what_is_in_flight(long_engine: Engine) -> None:
    async def main() -> None:
        with anyio.move_on_after(0.1):
            await long_engine.aembed([[5] * 100_000] * 3)

    anyio.run(main)
    eventually(lambda: is_idle(long_engine))


def test_the_demo_finds_the_nearer_text() -> None:
    with Engine(demo_path(), n_threads=1, progress=False) as engine:
        dog, also_dog, sea = engine.embed(["The dog ran.", "The little dog ran fast.", "She sat by the sea."])
    assert dog @ also_dog > dog @ sea


def test_a_row_per_token_for_each_of_several(demo: Engine) -> None:
    found = demo.embed([TEXT, "the fox"], pooling="none", dimensions=9)
    assert [rows.shape for rows in found] == [(len(demo.tokenize(text)), 9) for text in (TEXT, "the fox")]
    for text, rows in zip((TEXT, "the fox"), found, strict=True):
        alone = demo.submit_embedding(text, pooling="none", dimensions=9).result()
        np.testing.assert_array_equal(rows, alone)
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-5)


def test_a_prefix_stands_before_the_text(demo: Engine) -> None:
    np.testing.assert_array_equal(demo.embed(TEXT, prefix="query: "), demo.embed(f"query: {TEXT}"))
    np.testing.assert_array_equal(demo.embed(TEXT, prompt="query", prefix=""), demo.embed(TEXT))
    with pytest.raises(InvalidRequestError, match="token ids are read as they are"):
        demo.embed([[5, 6]], prefix="query: ")
