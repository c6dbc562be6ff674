"""What is measured is what was asked for: the arithmetic of the figures, and a real engine under the meter."""

from __future__ import annotations

import pytest

from oxillama import Engine
from oxillama.demo import demo_path
from oxillama.gguf import GGUFFile
from oxillama.speed import (
    Limits,
    Measurement,
    Meter,
    Task,
    Work,
    cache_bytes_per_token,
    context_tokens,
    is_quiet,
    prompt_tokens,
    summarise,
)
from tests.patience import eventually


def test_the_work_of_a_model_is_what_its_tensors_say() -> None:
    work = Work.of(demo_path())
    with GGUFFile(demo_path()) as file:
        metadata, tensors = file.metadata, file.tensors
        width, inner = int(metadata["llama.embedding_length"]), int(metadata["llama.feed_forward_length"])
        layers = int(metadata["llama.block_count"])
        kv_width = width * int(metadata["llama.attention.head_count_kv"]) // int(metadata["llama.attention.head_count"])
        vocabulary = len(metadata["tokenizer.ggml.tokens"])
        assert "output.weight" not in tensors
        assert work.weight_bytes == sum(tensor.n_bytes for tensor in tensors.values())
    per_layer = 2 * width * (width + 2 * kv_width + width) + 2 * 3 * width * inner
    assert work.prefill_operations == layers * per_layer
    assert work.decode_operations == layers * per_layer + 2 * vocabulary * width
    assert work.is_int8


def test_the_cache_costs_what_its_type_says() -> None:
    sizes = {}
    for kv_dtype in ("f32", "f16"):
        with Engine.demo(n_threads=1, kv_dtype=kv_dtype, n_ctx=256) as engine:
            sizes[kv_dtype] = cache_bytes_per_token(engine)
            layers = int(engine.metadata["llama.block_count"])
            kv_width = int(engine.metadata["llama.embedding_length"]) // 2
    assert sizes["f32"] == 2 * sizes["f16"] == 2 * layers * kv_width * 4


@pytest.mark.parametrize(
    ("task", "prompt", "context"),
    [(Task("decode", 128), 33, 162), (Task("prefill", 512, 100), 97, 610), (Task("decode", 8, 64, 4), 65, 106)],
)
def test_prompts_are_whole_blocks_and_a_token(task: Task, prompt: int, context: int) -> None:
    assert prompt_tokens(task) == prompt
    assert context_tokens(task) == context


def test_labels_say_what_is_not_the_default() -> None:
    assert Task("prefill", 512).label == "prefill 512"
    assert Task("decode", 128, 4096, 8).label == "decode 128 x 8 at 4096"


@pytest.mark.parametrize(
    "task", [Task("prefill", 40), Task("prefill", 40, 64), Task("decode", 24), Task("decode", 24, 64, 3)]
)
def test_a_real_engine_is_measured(task: Task) -> None:
    with Engine.demo(n_threads=2, n_ctx=context_tokens(task), max_batch_size=task.batch) as engine:
        meter = Meter(engine, Work.of(demo_path()))
        meter.prepare(task)
        prepared = task.batch * prompt_tokens(task)
        eventually(lambda: engine.stats().prompt_tokens == prepared)
        found = meter.measure(task)
        assert found.tokens_per_second > 0
        assert found.limits.bandwidth > 0
        # Prefill computes its own tokens (after a depth, one more); decode takes its prompts from the cache.
        computed = task.tokens + (task.depth > 0) if task.kind == "prefill" else task.batch
        eventually(lambda: engine.stats().prompt_tokens == prepared + computed)
        summary = summarise(meter, task, [found] * 3)
    assert summary.tokens_per_second == found.tokens_per_second
    assert summary.spread == 0
    assert (summary.of_bandwidth is None) == (task.kind == "prefill")


def test_a_summary_takes_medians_and_shares_of_the_same_round() -> None:
    with Engine.demo(n_threads=1, n_ctx=256) as engine:
        meter = Meter(engine, Work.of(demo_path()))
        task = Task("decode", 32)
        rounds = [Measurement(rate, Limits(10 * rate, 100), Limits(10 * rate, 200)) for rate in (1.0, 3.0, 2.0)]
        found = summarise(meter, task, rounds)
        assert found.of_bandwidth == pytest.approx(meter.gigabytes(task) / 10)
    assert found.tokens_per_second == 2
    assert found.spread == 1
    assert found.bandwidth == 20
    assert found.of_peak == pytest.approx(2 * meter.gigaoperations(task) / 200)


def test_noise_is_noticed_in_either_probe() -> None:
    assert is_quiet(Limits(50, 1000), Limits(60, 900))
    assert not is_quiet(Limits(30, 1000), Limits(60, 1000))
    assert not is_quiet(Limits(50, 400), Limits(50, 1000))
    assert is_quiet(Limits(50, 0), Limits(50, 0))
