"""Windowed stores that give back what they have left behind change no byte of a result, and take less memory."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oxillama import Engine
from oxillama._core.testing.drafter_harness import make_draft_model_eager
from oxillama.ledger import LEDGER
from oxillama.testing.described_models import DescribedModel
from oxillama.testing.tiny_models import TinyModel
from tests.drafting import drafting, facts
from tests.network.models.described import MODELS
from tests.network.models.described_dense import IN_COMPANY
from tests.patience import eventually

BLOCK = 32


def gemma3(**changes: Any) -> DescribedModel:
    """Five layers of six have a window."""
    keys: dict[str, Any] = {
        "context_length": 512,
        "block_count": 6,
        "embedding_length": 32,
        "feed_forward_length": 32,
        "attention.head_count": 2,
        "attention.head_count_kv": 1,
        "attention.key_length": 16,
        "attention.value_length": 16,
        "attention.sliding_window": 33,
        "attention.layer_norm_rms_epsilon": 1e-6,
        "rope.freq_base": 1e6,
    }
    return DescribedModel("gemma3", keys | changes, tokenizer=True)


# All layers have windows, or most; with sinks; some share the keys and values of others.
NETWORKS: dict[str, TinyModel | DescribedModel] = {
    "all": TinyModel(n_layers=3, window=40, n_ctx=1024),
    "most": gemma3(),
    "sinks": MODELS["gpt-oss"],
    "shared": IN_COMPANY["gemma4"],
}
COMMON = [(7 * i * i + 3 * i + 1) % 70 + 3 for i in range(400)]


@cache
def engine(
    name: str, is_kept: bool, n_threads: int = 1, max_batch_tokens: int = 64, n_kept: int = 0, draft: bool = False
) -> Engine:
    """is_kept: with so small a cache that giving blocks back would save nothing; nor is anything found in it."""
    options: dict[str, Any] = {"n_ctx": 512, "max_batch_size": 4, "n_threads": n_threads, "progress": False}
    if is_kept:
        options |= {"kv_cache_tokens": 512, "max_batch_size": 8, "prefix_cache": False}
    else:
        options |= {"kv_cache_tokens": 40 * BLOCK, "prefix_cache_tokens": n_kept * BLOCK}
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.gguf"
        NETWORKS[name].write(path)
        opened = Engine(path, max_batch_tokens=max_batch_tokens, draft=path if draft else None, **options)
    windows = opened._model.plan.n_window_blocks
    assert (windows == 0) == is_kept
    if draft:
        make_draft_model_eager(opened._worker)
    return opened


prompts = st.builds(
    lambda n_common, own: COMMON[:n_common] + own,
    st.sampled_from([1, 33, 64, 100, 250]),
    st.lists(st.integers(3, 72), max_size=70),
)
requests = st.tuples(
    prompts,
    st.fixed_dictionaries(
        {
            "max_tokens": st.sampled_from([1, 5, 40, 90]),
            "temperature": st.sampled_from([0.0, 0.8]),
            "seed": st.integers(0, 9),
            "logprobs": st.sampled_from([None, 2]),
            "cache_prompt": st.sampled_from([True, True, False]),
        }
    ),
)


@pytest.mark.parametrize("name", NETWORKS)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    waves=st.lists(st.lists(requests, min_size=1, max_size=5), min_size=1, max_size=2),
    n_threads=st.sampled_from([1, 2]),
    max_batch_tokens=st.sampled_from([8, 64]),
    n_kept=st.sampled_from([0, 3, 28]),
    lie=st.sampled_from([None, None, 0.0, 0.4]),
)
def test_giving_back_changes_no_bit(
    name: str,
    waves: list[list[tuple[list[int], dict[str, Any]]]],
    n_threads: int,
    max_batch_tokens: int,
    n_kept: int,
    lie: float | None,
) -> None:
    """Each alone where all is kept; then together, in chunks, preempted, after hits, with drafts right and wrong."""
    saving = engine(name, False, n_threads, max_batch_tokens, n_kept)
    for wave in waves:
        options: dict[str, Any] = {"ignore_eos": True}
        expected = [engine(name, True).generate(prompt, **options, **own) for prompt, own in wave]
        answers = [list(completion.token_ids) for completion in expected]
        with drafting(answers if lie is not None else [], lie=lie or 0.0):
            running = [saving.submit(prompt, **options, **own) for prompt, own in wave]
            found = [request.result() for request in running]
        assert [facts(completion) for completion in found] == [facts(completion) for completion in expected]
    eventually(lambda: saving.stats().kv_window_blocks_used == 0)


def test_a_draft_model_keeps_its_own() -> None:
    drafted, alone = engine("all", False, draft=True, n_kept=28), engine("all", True)
    for n in (30, 200, 300):
        found = drafted.generate(COMMON[:n], max_tokens=100, temperature=0.7, seed=n, ignore_eos=True)
        expected = alone.generate(COMMON[:n], max_tokens=100, temperature=0.7, seed=n, ignore_eos=True)
        assert facts(found) == facts(expected)
        assert found.usage.accepted_prediction_tokens > 0


def test_choices_share_a_prompt() -> None:
    """As a fork would: the second goes on from the blocks of the first."""
    options: dict[str, Any] = {"max_tokens": 60, "temperature": 0.9, "seed": 4, "n": 3, "ignore_eos": True}
    found = engine("most", False, n_kept=28).generate(COMMON[:200], **options)
    expected = engine("most", True).generate(COMMON[:200], **options)
    assert [choice.token_ids for choice in found.choices] == [choice.token_ids for choice in expected.choices]


def test_a_conversation_finds_what_it_said() -> None:
    saving = engine("most", False, n_kept=28)
    talk = COMMON[:150]
    for turn in range(3):
        reply = saving.generate(talk, max_tokens=40, temperature=0, ignore_eos=True)
        assert reply.usage.cached_tokens >= (len(talk) - 30) // BLOCK * BLOCK or turn == 0
        talk = [*talk, *reply.token_ids, *COMMON[:20]]


def test_long_texts_hold_their_windows_only() -> None:
    saving = engine("all", False)
    running = [saving.submit(COMMON, max_tokens=100, temperature=0, ignore_eos=True) for _ in range(12)]
    seen = [saving.stats()]
    while not all(request.done for request in running):
        seen.append(saving.stats())
    most = max(stats.kv_window_blocks_used for stats in seen)
    # Of four at a time, three blocks each, and those of a step. All layers have windows, so others hold nothing.
    assert 1 <= most <= 4 * 3 + 2 + 4
    plan = saving._model.plan
    assert max(stats.kv_bytes_used for stats in seen) < plan.memory.kv_cache


def test_a_long_context_has_room_for_several_times_as_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gemma 3 1B's cache at 32k: 19 sequences where there were 4, in the same memory; or the same 4 in two fifths."""
    monkeypatch.setattr(LEDGER, "_reservations", [])
    monkeypatch.setattr("oxillama.ledger.available_memory", lambda: 32 << 30)
    path = tmp_path / "model.gguf"
    heads = {"attention.head_count": 1, "attention.key_length": 256, "attention.value_length": 256}
    gemma3(**heads, **{"context_length": 32768, "block_count": 26, "attention.sliding_window": 512}).write(path)
    token_bytes = 26 * 2 * 256 * 2
    with Engine(path, progress=False) as engine:
        before = 4 * 32768 * token_bytes
        assert engine.memory.kv_cache <= before
        assert engine.stats().kv_bytes_promised == engine.memory.kv_cache
        assert engine._model.kv_tokens // 32768 == 19
    with Engine(path, kv_cache_tokens=4 * 32768, progress=False) as engine:
        assert 0.35 * before < engine.memory.kv_cache < 0.4 * before
