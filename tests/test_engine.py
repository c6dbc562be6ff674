"""What an app gets from an engine: texts, streams, logits, figures, and the end. Handles are in test_request."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from oxillama import (
    Completion,
    Engine,
    EngineClosedError,
    InvalidRequestError,
    OxillamaError,
    SamplingParams,
    UnsupportedModelError,
)
from oxillama.demo import demo_path
from oxillama.requests.options import KVType
from oxillama.results.stats import Memory
from oxillama.testing.tiny_models import BOS, EOS, FIRST_BYTE, TinyModel
from tests.patience import eventually, is_idle

PROMPT = "Once upon a time"


def log_softmax(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    wide = logits.astype(np.float64)
    wide -= wide.max(axis=-1, keepdims=True)
    return np.asarray(wide - np.log(np.exp(wide).sum(axis=-1, keepdims=True)))


@pytest.fixture(scope="module")
def tiny_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tiny") / "tiny-model.gguf"
    TinyModel(tokenizer=True).write(path)
    return path


# What it is


def test_it_tells_what_it_holds(demo: Engine) -> None:
    assert (demo.name, demo.architecture, demo.state) == ("demo", "llama", "ready")
    assert (demo.n_ctx, demo.n_vocab, demo.n_threads) == (demo.metadata["llama.context_length"], 2048, 1)
    assert demo.chat_template is not None
    assert "<|assistant|>" in demo.chat_template
    assert demo.metadata["llama.block_count"] == 5
    assert isinstance(demo.memory, Memory)
    assert demo.memory.weights > 3_000_000
    assert demo.memory.kv_cache >= demo.n_ctx * 5 * 2 * 2 * 64 * 2
    assert repr(demo) == f"<Engine 'demo': llama, context {demo.n_ctx}, ready>"


def test_metadata_outlive_the_file(tmp_path: Path) -> None:
    path = tmp_path / "gone.gguf"
    TinyModel(tokenizer=True, metadata={"general.note": "still here"}).write(path)
    with Engine(path, progress=False) as engine:
        # A mapping of a truncated file would end the process at the first look.
        path.write_bytes(b"")
        assert engine.metadata["general.note"] == "still here"
        assert engine.metadata["tokenizer.ggml.tokens"][EOS] == b"</s>"
        assert engine.generate("abc", max_tokens=4, ignore_eos=True).usage.completion_tokens == 4


def test_mapped_or_copied_the_file_means_the_same(tiny_path: Path) -> None:
    with (
        Engine(tiny_path, mmap=False, progress=False) as copied,
        Engine(tiny_path, mmap=True, progress=False) as mapped,
    ):
        assert np.array_equal(copied.logits("abc"), mapped.logits("abc"))


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("kv_dtype", ["f16", "f32", "bf16", "q8_0"])
def test_every_cache_type_writes_the_same_with_any_number_of_threads(
    tmp_path: Path, kv_dtype: KVType, n_threads: int
) -> None:
    path = tmp_path / "tiny.gguf"
    TinyModel(tokenizer=True, n_head=2, n_head_kv=1, head_dim=32).write(path)
    with (
        Engine(path, kv_dtype=kv_dtype, n_threads=n_threads, progress=False) as engine,
        Engine(path, kv_dtype=kv_dtype, n_threads=1, progress=False) as alone,
    ):
        assert np.array_equal(engine.logits("some text"), alone.logits("some text"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n_ctx", 0),
        ("n_ctx", True),
        ("n_ctx", 2.0),
        ("n_threads", 0),
        ("n_threads", 100_000),
        ("max_batch_size", 0),
        ("max_batch_tokens", "many"),
        ("max_step_ms", float("inf")),
        ("max_step_ms", -1),
        ("max_step_ms", "100"),
        ("queue_size", 0),
        ("kv_cache_tokens", -5),
        ("kv_dtype", "f64"),
        ("prefix_cache", "no"),
        ("mmap", 0),
    ],
)
def test_an_option_without_sense_is_named(tiny_path: Path, name: str, value: Any) -> None:
    with pytest.raises(InvalidRequestError, match=name) as caught:
        Engine(tiny_path, **{name: value, "progress": False})
    assert caught.value.param == name


def test_numbers_of_numpy_are_numbers(tiny_path: Path) -> None:
    with Engine(tiny_path, n_ctx=np.int64(64), n_threads=np.int32(1), max_step_ms=np.float32(5)) as engine:  # type: ignore[arg-type]
        assert engine.n_ctx == 64
        assert type(engine.n_ctx) is int


def test_an_unknown_option_is_a_type_error(tiny_path: Path) -> None:
    with pytest.raises(TypeError, match="n_gpu_layers"):
        Engine(tiny_path, n_gpu_layers=1)  # type: ignore[call-arg]


# Text and tokens


def test_text_becomes_tokens_and_comes_back(demo: Engine) -> None:
    ids = demo.tokenize(PROMPT)
    assert ids[0] == demo.tokenizer.bos_id  # type: ignore[union-attr]
    assert demo.tokenize(PROMPT, add_special=False) == ids[1:]
    assert demo.detokenize(ids[1:]) == PROMPT
    user = demo.tokenize("<|user|>", add_special=False, parse_special=True)
    assert len(user) == 1
    assert demo.tokenize("<|user|>", add_special=False) != user


def test_a_prompt_may_be_text_or_ids(demo: Engine) -> None:
    ids = demo.tokenize(PROMPT)
    found = [demo.generate(prompt, max_tokens=12, temperature=0) for prompt in (PROMPT, ids, np.array(ids), tuple(ids))]
    assert {completion.token_ids for completion in found} == {found[0].token_ids}


# Completions


def test_a_completion_has_everything(demo: Engine) -> None:
    completion = demo.generate(PROMPT, max_tokens=10, temperature=0)
    assert isinstance(completion, Completion)
    assert completion.text.startswith(", there ")
    assert demo.tokenizer is not None
    written = b"".join(demo.tokenizer.token_bytes(token) for token in completion.token_ids)
    assert completion.text == written.decode()
    assert completion.finish_reason == "length"
    assert completion.stop_reason is None
    assert completion.usage.prompt_tokens == len(demo.tokenize(PROMPT))
    assert completion.usage.completion_tokens == len(completion.token_ids) == 10
    assert completion.usage.total_tokens == completion.usage.prompt_tokens + 10
    assert completion.logprobs is None
    assert completion.id.startswith("cmpl-")
    assert completion.model == "demo"
    timings = completion.timings
    assert timings.ttft > 0
    assert timings.prefill > 0
    assert timings.decode > 0
    assert timings.queue >= 0
    assert timings.ttft <= timings.queue + timings.prefill + timings.decode


def test_temperature_zero_is_argmax(demo: Engine) -> None:
    completion = demo.generate(PROMPT, max_tokens=24, temperature=0)
    ids = demo.tokenize(PROMPT)
    logits = demo.logits([*ids, *completion.token_ids])
    assert list(completion.token_ids) == logits[len(ids) - 1 : -1].argmax(axis=1).tolist()


def test_logprobs_are_the_log_softmax_of_the_logits(demo: Engine) -> None:
    completion = demo.generate(PROMPT, max_tokens=16, temperature=1.3, seed=5, logprobs=3)
    ids = demo.tokenize(PROMPT)
    expected = log_softmax(demo.logits([*ids, *completion.token_ids]))[len(ids) - 1 : -1]
    assert completion.logprobs is not None
    for row, entry, token in zip(expected, completion.logprobs.content, completion.token_ids, strict=True):
        assert entry.token_id == token
        assert entry.logprob == pytest.approx(row[token], abs=1e-5)
        best = np.argsort(-row, kind="stable")[:3]
        assert [other.token_id for other in entry.top] == best.tolist()
        assert [other.logprob for other in entry.top] == pytest.approx(row[best].tolist(), abs=1e-5)


def test_prompt_logprobs_are_those_of_the_logits(demo: Engine) -> None:
    ids = demo.tokenize("The little dragon was sad because it had no friends.")
    found = demo.logprobs(ids)
    expected = log_softmax(demo.logits(ids))
    assert found.dtype == np.float32
    assert found.shape == (len(ids),)
    assert np.isnan(found[0])
    np.testing.assert_allclose(found[1:], expected[np.arange(len(ids) - 1), ids[1:]], atol=1e-5)
    assert np.array_equal(demo.logprobs("The little dragon was sad because it had no friends."), found, equal_nan=True)


def test_logits_have_a_row_per_token(demo: Engine) -> None:
    ids = demo.tokenize(PROMPT) * 30
    logits = demo.logits(ids)
    assert logits.dtype == np.float32
    assert logits.shape == (len(ids), demo.n_vocab)
    assert np.array_equal(logits[:7], demo.logits(ids[:7]))


def test_the_same_seed_writes_the_same(demo: Engine) -> None:
    first, second = (demo.generate(PROMPT, max_tokens=30, seed=11) for _ in range(2))
    assert first.token_ids == second.token_ids
    assert first.seed == 11
    assert demo.generate(PROMPT, max_tokens=30, seed=12).token_ids != first.token_ids


def test_without_a_seed_one_is_drawn_and_returned(demo: Engine) -> None:
    first, second = (demo.generate(PROMPT, max_tokens=30) for _ in range(2))
    assert first.seed != second.seed
    assert first.token_ids != second.token_ids
    assert demo.generate(PROMPT, max_tokens=30, seed=first.seed).token_ids == first.token_ids


def test_n_choices_differ_and_repeat(demo: Engine) -> None:
    three = demo.generate(PROMPT, max_tokens=20, n=3, seed=3)
    assert [choice.index for choice in three.choices] == [0, 1, 2]
    assert len({choice.token_ids for choice in three.choices}) == 3
    assert three.usage.completion_tokens == sum(len(choice.token_ids) for choice in three.choices)
    assert three.usage.prompt_tokens == len(demo.tokenize(PROMPT))
    assert three.text == three.choices[0].text
    # A choice does not depend on how many others there are.
    assert demo.generate(PROMPT, max_tokens=20, n=2, seed=3).choices == three.choices[:2]
    assert demo.generate(PROMPT, max_tokens=20, seed=3).token_ids == three.token_ids


def test_best_of_keeps_the_most_likely(demo: Engine) -> None:
    every = demo.generate(PROMPT, max_tokens=12, n=6, seed=9, logprobs=0)
    best = demo.generate(PROMPT, max_tokens=12, n=2, best_of=6, seed=9, logprobs=0)

    def mean(completion: Completion, index: int) -> float:
        logprobs = completion.choices[index].logprobs
        assert logprobs is not None
        return float(np.mean([entry.logprob for entry in logprobs.content]))

    ranked = sorted(range(6), key=lambda index: -mean(every, index))
    assert [choice.token_ids for choice in best.choices] == [every.choices[index].token_ids for index in ranked[:2]]
    assert [choice.index for choice in best.choices] == [0, 1]
    assert best.usage.completion_tokens == sum(len(choice.token_ids) for choice in every.choices)
    unseen = demo.generate(PROMPT, max_tokens=12, n=1, best_of=6, seed=9)
    assert unseen.token_ids == best.token_ids
    assert unseen.logprobs is None


def test_nothing_to_write(demo: Engine) -> None:
    completion = demo.generate(PROMPT, max_tokens=0)
    assert (completion.text, completion.token_ids, completion.finish_reason) == ("", (), "length")
    assert completion.usage.completion_tokens == 0
    assert [chunk.finish_reason for chunk in demo.stream(PROMPT, max_tokens=0)] == ["length"]


def test_writing_ends_where_the_context_ends(demo: Engine) -> None:
    ids = (demo.tokenize(PROMPT) * 300)[: demo.n_ctx - 10]
    completion = demo.generate(ids, temperature=0, ignore_eos=True)
    assert completion.finish_reason == "length"
    assert completion.usage.total_tokens == demo.n_ctx
    assert demo.generate(ids, max_tokens=3, temperature=0, ignore_eos=True).usage.completion_tokens == 3


# Streams


def test_a_stream_writes_what_generate_writes(demo: Engine) -> None:
    whole = demo.generate(PROMPT, max_tokens=30, seed=4, logprobs=1)
    chunks = list(demo.stream(PROMPT, max_tokens=30, seed=4, logprobs=1))
    assert "".join(chunk.text for chunk in chunks) == whole.text
    assert tuple(token for chunk in chunks for token in chunk.token_ids) == whole.token_ids
    assert [chunk.finish_reason for chunk in chunks] == [None] * (len(chunks) - 1) + [whole.finish_reason]
    assert [chunk.usage is None for chunk in chunks] == [True] * (len(chunks) - 1) + [False]
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 30
    assert len({chunk.id for chunk in chunks}) == 1
    assert whole.logprobs is not None
    streamed = [entry for chunk in chunks for entry in (chunk.logprobs.content if chunk.logprobs else ())]
    assert tuple(streamed) == whole.logprobs.content


def test_a_stream_of_several_choices_names_each(demo: Engine) -> None:
    whole = demo.generate(PROMPT, max_tokens=15, seed=4, n=3)
    texts = ["", "", ""]
    ends = []
    for chunk in demo.stream(PROMPT, max_tokens=15, seed=4, n=3):
        texts[chunk.index] += chunk.text
        ends += [chunk.index] if chunk.finish_reason else []
    assert texts == [choice.text for choice in whole.choices]
    assert sorted(ends) == [0, 1, 2]


def test_a_stream_never_splits_a_character(tiny_path: Path) -> None:
    # Random bytes: nearly everything is broken UTF-8, and most of it in the middle of a character.
    with Engine(tiny_path, progress=False) as engine:
        stream = engine.stream("x", max_tokens=200, seed=1, temperature=3, ignore_eos=True)
        chunks = list(stream)
        whole = bytes(token - FIRST_BYTE for chunk in chunks for token in chunk.token_ids if token >= FIRST_BYTE)
        assert "".join(chunk.text for chunk in chunks) == whole.decode("utf-8", "replace")


def test_params_may_be_an_object_or_keywords_but_not_both(demo: Engine) -> None:
    params = SamplingParams(max_tokens=5, seed=1)
    assert demo.generate(PROMPT, params).token_ids == demo.generate(PROMPT, max_tokens=5, seed=1).token_ids
    calls: list[Callable[..., object]] = [demo.generate, demo.stream, demo.astream, demo.submit]
    for call in calls:
        with pytest.raises(TypeError, match="exclude each other"):
            call(PROMPT, params, max_tokens=5)
        with pytest.raises(TypeError, match="max_token"):
            call(PROMPT, max_token=5)
        with pytest.raises(TypeError, match="SamplingParams"):
            call(PROMPT, {"max_tokens": 5})
    with pytest.raises(TypeError, match="exclude each other"):
        demo.generate_batch([PROMPT], params, max_tokens=5)


# Many at once


def test_many_threads_share_one_engine(demo: Engine) -> None:
    prompts = [f"Once upon a time there was number {i}" for i in range(24)]
    alone = [demo.generate(prompt, max_tokens=10, seed=i) for i, prompt in enumerate(prompts)]
    start = threading.Barrier(12)

    def ask(i: int) -> tuple[int, ...]:
        if i < 12:
            start.wait()
        return demo.generate(prompts[i], max_tokens=10, seed=i).token_ids

    with ThreadPoolExecutor(12) as pool:
        together = list(pool.map(ask, range(24)))
    assert together == [completion.token_ids for completion in alone]


def test_requests_that_do_not_fit_the_cache_together_take_turns(open_long: Callable[..., Engine]) -> None:
    crowded = open_long(n_ctx=256, kv_cache_tokens=256, max_batch_size=8)
    roomy = open_long(n_ctx=256, kv_cache_tokens=4096, max_batch_size=8, prefix_cache=False)
    # Choices enter together, so they certainly meet.
    options: dict[str, Any] = {"n": 8, "max_tokens": 150, "seed": 5, "ignore_eos": True}
    found = crowded.generate("x" * 40, **options)
    assert crowded.stats().preemptions > 0
    assert found.choices == roomy.generate("x" * 40, **options).choices
    eventually(lambda: is_idle(crowded))


# A model without a tokenizer


def test_without_a_tokenizer_ids_work_and_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mute.gguf"
    TinyModel().write(path)
    with Engine(path, progress=False) as engine:
        assert engine.tokenizer is None
        completion = engine.generate([1, 2, 3], max_tokens=5, temperature=0, logprobs=1)
        assert (completion.text, len(completion.token_ids)) == ("", 5)
        assert [chunk.text for chunk in engine.stream([1, 2, 3], max_tokens=3)] == ["", "", ""]
        assert engine.logits([1, 2, 3]).shape == (3, 80)
        assert engine.generate([1], max_tokens=5, stop_token_ids=range(80)).finish_reason == "stop"
        refused: list[Callable[[], object]] = [
            lambda: engine.generate("text", max_tokens=1),
            lambda: engine.generate([1], max_tokens=1, stop="x"),
            lambda: engine.tokenize("text"),
            lambda: engine.detokenize([1]),
            lambda: engine.logprobs("text"),
        ]
        for call in refused:
            with pytest.raises(UnsupportedModelError, match="'mute' has no tokenizer"):
                call()
        with pytest.raises(InvalidRequestError, match="needs a tokenizer") as caught:
            engine.generate([1], max_tokens=1, logit_bias={"x": 1.0})
        assert caught.value.param == "logit_bias"


# The end


def test_close_ends_waiting_callers(long_engine: Engine) -> None:
    errors: list[BaseException] = []

    def ask() -> None:
        try:
            long_engine.generate("x", ignore_eos=True)
        except OxillamaError as error:
            errors.append(error)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    eventually(lambda: long_engine.stats().running == 4)
    long_engine.close()
    for thread in threads:
        thread.join(20)
    assert [type(error) for error in errors] == [EngineClosedError] * 4
    assert long_engine.state == "closed"


def test_a_closed_engine_says_so(tiny_path: Path) -> None:
    engine = Engine(tiny_path, progress=False)
    engine.close()
    engine.close()
    calls: list[Callable[[], object]] = [
        lambda: engine.generate("x"),
        lambda: engine.stream("x"),
        lambda: engine.submit("x"),
        lambda: engine.logits("x"),
        lambda: engine.generate_batch(["x"]),
    ]
    for call in calls:
        with pytest.raises(EngineClosedError, match="closed"):
            call()
    # What needs no worker goes on.
    assert engine.detokenize([FIRST_BYTE + ord("x")]) == "x"
    assert engine.tokenize("x")[0] == BOS
    assert engine.stats().running == 0
    assert engine.n_ctx == 256
    assert engine.drain() is True


def test_leaving_with_closes(tiny_path: Path) -> None:
    with pytest.raises(KeyError), Engine(tiny_path, progress=False) as engine:
        raise KeyError
    assert engine.state == "closed"


def test_close_frees_the_weights(tmp_path: Path) -> None:
    path = tmp_path / "big.gguf"
    TinyModel(n_embd=1024, n_ff=2048, n_head=16, n_head_kv=16, head_dim=64, n_layers=1).write(path)

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

    engine = Engine(path, progress=False)
    open_bytes = resident()
    engine.close()
    assert open_bytes - resident() > 0.8 * engine.memory.weights


def test_drain_finishes_what_runs_and_refuses_the_rest(long_engine: Engine) -> None:
    handles = [long_engine.submit("x", max_tokens=2000, ignore_eos=True) for _ in range(3)]
    endless = long_engine.submit("x", ignore_eos=True)
    assert long_engine.drain(timeout=0) is False
    assert long_engine.state == "draining"
    with pytest.raises(EngineClosedError, match="draining"):
        long_engine.generate("x", max_tokens=1)
    endless.cancel()
    assert long_engine.drain(timeout=60) is True
    assert all(handle.done for handle in handles)
    assert [handle.result().usage.completion_tokens for handle in handles] == [2000] * 3


def test_a_worker_that_is_gone_is_noticed(tiny_path: Path) -> None:
    engine = Engine(tiny_path, progress=False)
    engine._worker.close()
    assert engine.state == "failed"
    with pytest.raises(EngineClosedError, match="failed"):
        engine.generate("x", max_tokens=1)
    assert engine.drain() is True
    engine.close()
    assert str(engine.state) == "closed"


def test_logprobs_of_tokens_that_the_vocabulary_does_not_have(tmp_path: Path) -> None:
    path = tmp_path / "wide.gguf"
    few: dict[str, Any] = {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": ["<unk>", "<s>", "</s>", "a"],
        "tokenizer.ggml.scores": [0.0] * 4,
        "tokenizer.ggml.token_type": [2, 3, 3, 1],
    }
    TinyModel(n_vocab=80, metadata=few).write(path)
    with Engine(path, n_threads=1, progress=False) as engine:
        logprobs = engine.generate([3], max_tokens=2, temperature=0, logprobs=20, ignore_eos=True).logprobs
    assert logprobs is not None
    tokens = [other for entry in logprobs.content for other in entry.top]
    assert {entry.token_bytes for entry in tokens if entry.token_id > 3} == {b""}


def test_a_subclass_opens_as_itself() -> None:
    class Counter(Engine):
        def count(self, text: str) -> int:
            return len(self.tokenize(text, add_special=False))

    async def opened() -> int:
        async with await Counter.aopen(demo_path(), n_threads=1, progress=False) as engine:
            return engine.count("a")  # a type checker has to know this method too

    assert asyncio.run(opened()) == 1
