"""The contract for encoders: a text's vectors and scores never depend on what else is read, on threads, or on other
engines. Every comparison here is of bits."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oxillama import ContextLengthError, Engine, InvalidRequestError
from oxillama.gguf import GGUFFile
from oxillama.gguf_writer import GGUFWriter
from oxillama.sampling.params import Pooling
from tests.network.models import tiny_t5
from tests.patience import eventually, is_idle
from tests.tiny_encoder import TinyEncoder

Floats = npt.NDArray[np.float32]
N_CTX = 256


class TinyT5:
    """Attention with a learned bias for each distance."""

    labels = None
    n_vocab = tiny_t5.N_VOCAB

    def write(self, path: Path) -> None:
        with GGUFWriter(path) as writer:
            for key, value in (tiny_t5.metadata() | {"t5encoder.context_length": N_CTX}).items():
                writer.add(key, value)
            for name, values in tiny_t5.weights(is_gated=True).items():
                writer.add_tensor(f"{name}.weight", values)


SHAPES: dict[str, TinyEncoder | TinyT5] = {
    "bert": TinyEncoder(),
    "bert q8_0": TinyEncoder(type_name="Q8_0", labels=1, has_pooler=True),
    "jina-bert-v2 f16": TinyEncoder("jina-bert-v2", type_name="F16"),
    "nomic-bert-moe": TinyEncoder("nomic-bert-moe", type_name="Q8_0"),
    "neo-bert": TinyEncoder("neo-bert", type_name="BF16"),
    "gemma-embedding": TinyEncoder("gemma-embedding", labels=0),
    "t5encoder": TinyT5(),
}
_open: list[Engine] = []


def written(shape: TinyEncoder | TinyT5, folder: Path) -> Path:
    path = folder / "tiny.gguf"
    shape.write(path)
    return path


@cache
def engine_of(name: str, n_threads: int, max_batch_size: int) -> Engine:
    with TemporaryDirectory() as folder:
        path = written(SHAPES[name], Path(folder))
        # So few blocks that some must wait, and a step as long as the longest text.
        engine = Engine(
            path, n_threads=n_threads, max_batch_size=max_batch_size, kv_cache_tokens=12 * 32, progress=False
        )
    _open.append(engine)
    return engine


@pytest.fixture(scope="module", autouse=True)
def closed_at_the_end() -> Iterator[None]:
    yield
    engine_of.cache_clear()
    while _open:
        _open.pop().close()


def read_together(engine: Engine, inputs: list[tuple[list[int], Pooling]]) -> list[Floats]:
    handles = [engine.submit_embedding(ids, pooling=pooling, queue_timeout=None) for ids, pooling in inputs]
    return [handle.result() for handle in handles]


@pytest.mark.parametrize("name", SHAPES)
@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_company_and_threads_change_no_bit(name: str, data: st.DataObject) -> None:
    poolings: list[Pooling] = ["none", "mean", "cls", "last", *(("rank",) if SHAPES[name].labels else ())]
    ids = st.lists(st.integers(0, SHAPES[name].n_vocab - 1), min_size=1, max_size=N_CTX)
    inputs = data.draw(st.lists(st.tuples(ids, st.sampled_from(poolings)), min_size=1, max_size=12))
    alone = [read_together(engine_of(name, 1, 1), [one])[0] for one in inputs]
    for n_threads in (1, 2):
        together = read_together(engine_of(name, n_threads, 8), inputs)
        for found, expected in zip(together, alone, strict=True):
            assert np.isfinite(expected).all()
            np.testing.assert_array_equal(found.view(np.uint32), expected.view(np.uint32))


def test_generations_of_another_engine_change_no_bit(demo: Engine) -> None:
    texts = ["the fox ran far", "a bear who had a hat " * 12, "sea", "the bear sat and sat"]
    engine = engine_of("bert q8_0", 2, 8)
    alone = engine.embed(texts, pooling="mean")
    writing = [demo.submit("Once upon a time", max_tokens=200, ignore_eos=True, seed=seed) for seed in range(4)]
    eventually(lambda: all(handle.usage.completion_tokens for handle in writing))
    beside = engine.embed(texts, pooling="mean")
    for handle in writing:
        handle.cancel()
    np.testing.assert_array_equal(beside.view(np.uint32), alone.view(np.uint32))
    eventually(lambda: is_idle(demo))


def test_every_token_sees_those_behind_it() -> None:
    engine = engine_of("bert", 1, 8)
    first, second = (engine.submit_embedding([2, 7, 9, last], pooling="none").result() for last in (11, 12))
    assert all(np.abs(a - b).max() > 1e-3 for a, b in zip(first, second, strict=True))


def test_a_text_is_read_in_one_step_and_several_share_one(tmp_path: Path) -> None:
    with Engine(written(SHAPES["bert"], tmp_path), n_threads=1, progress=False) as engine:
        engine.submit_embedding([5] * N_CTX).result()
        assert engine.stats().steps == 1
        # While the long ones are read, one a step, the short ones come.
        handles = [engine.submit_embedding([5] * N_CTX) for _ in range(20)]
        handles += [engine.submit_embedding([5] * 3 * n) for n in range(1, 11)]
        for handle in handles:
            handle.result()
        assert engine.stats().steps < 31
        assert engine.stats().preemptions == 0


def test_a_step_is_as_long_as_the_context(tmp_path: Path) -> None:
    path = written(TinyEncoder(n_ctx=1500), tmp_path)
    with Engine(path, n_threads=1, progress=False) as engine:
        assert engine.embed([5] * 1500).shape == (1, 64)
        assert engine.stats().steps == 1


def test_max_batch_tokens_bounds_what_can_be_read(tmp_path: Path) -> None:
    path = written(SHAPES["bert"], tmp_path)
    with Engine(path, max_batch_tokens=100, n_threads=1, progress=False) as engine:
        assert engine.embed([5] * 100).shape == (1, 64)
        with pytest.raises(ContextLengthError, match=r"101 tokens.*max_batch_tokens.*100") as caught:
            engine.embed([5] * 101)
        assert (caught.value.n_prompt_tokens, caught.value.n_ctx) == (101, 100)
        with pytest.raises(ContextLengthError):
            engine.embed("fox " * 100_000)
    with Engine(path, n_threads=1, progress=False) as engine, pytest.raises(ContextLengthError) as caught:
        engine.embed([5] * (N_CTX + 1))
    assert caught.value.n_ctx == N_CTX


def test_the_first_in_order_is_not_held_up_by_shorter_ones(tmp_path: Path) -> None:
    with Engine(written(SHAPES["bert"], tmp_path), n_threads=1, max_batch_tokens=N_CTX, progress=False) as engine:
        long = engine.submit_embedding([5] * N_CTX)
        submitted = time.monotonic()
        short = [engine.submit_embedding([5] * 20) for _ in range(59)]
        submitting = time.monotonic()
        short.append(engine.submit_embedding([5] * 20))
        for handle in (long, *short):
            handle.result()
        # It began before the last of them did.
        assert submitted + long.timings.queue <= submitting + short[-1].timings.queue


@pytest.mark.parametrize("ask", ["generate", "logits", "logprobs"])
def test_an_encoder_says_what_it_can_do(ask: str) -> None:
    with pytest.raises(InvalidRequestError, match="generates no text: it embeds texts") as caught:
        getattr(engine_of("bert", 1, 8), ask)("the fox")
    assert caught.value.param == "model"
    with pytest.raises(InvalidRequestError, match="ranks documents"):
        engine_of("bert q8_0", 1, 1).chat([{"role": "user", "content": "the fox"}])


def test_ranking_needs_a_classifier() -> None:
    with pytest.raises(InvalidRequestError) as caught:
        engine_of("bert", 1, 8).embed("the fox", pooling="rank")
    assert caught.value.param == "pooling"


def test_a_cut_vector_is_normalised_anew() -> None:
    engine = engine_of("bert", 1, 8)
    whole: Any = engine.embed("the fox", normalize=False)[0][:7].astype(np.float64)
    np.testing.assert_allclose(engine.embed("the fox", dimensions=7)[0], whole / np.linalg.norm(whole), rtol=1e-6)


def test_weights_of_the_written_file_are_all_used(tmp_path: Path) -> None:
    for name, shape in SHAPES.items():
        with GGUFFile(written(shape, tmp_path)) as file:
            assert "output.weight" not in file.tensors, name
