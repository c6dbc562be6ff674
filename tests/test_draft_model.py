"""A draft model changes no bit of a result, whatever it is worth; one that is worth something saves steps."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oxillama import Engine, ModelLoadError, UnsupportedModelError
from oxillama._core.testing.drafter_harness import make_draft_model_eager
from oxillama.demo import demo_path
from oxillama.ledger import LEDGER
from oxillama.testing.tiny_models import TinyModel
from tests.drafting import facts
from tests.network.models.hybrids import HYBRIDS, N_VOCAB, write
from tests.test_speculation import PROMPTS, chains

LARGE = TinyModel(tokenizer=True, n_layers=2, n_ctx=512, seed=3)
# The same, half of it (it agrees now and then), and one that knows nothing of it.
SMALL = {
    "same": LARGE,
    "half": TinyModel(tokenizer=True, n_layers=1, seed=3),
    "other": TinyModel(tokenizer=True, seed=9),
}


@cache
def engine(draft: str | None, n_threads: int = 1, kv_cache_tokens: int = 4096, max_batch_tokens: int = 64) -> Engine:
    """Of an engine with a draft model, drafts are made whatever they cost."""
    options: dict[str, Any] = {"n_threads": n_threads, "kv_cache_tokens": kv_cache_tokens, "n_ctx": 512}
    with TemporaryDirectory() as folder:
        large, small = Path(folder) / "large.gguf", Path(folder) / "small.gguf"
        LARGE.write(large)
        if draft is not None:
            SMALL[draft].write(small)
            options["draft"] = small
        opened = Engine(large, max_batch_size=8, max_batch_tokens=max_batch_tokens, progress=False, **options)
    if draft is not None:
        make_draft_model_eager(opened._worker)
    return opened


@pytest.mark.parametrize("draft", SMALL)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    waves=st.lists(
        st.lists(
            st.tuples(st.sampled_from(PROMPTS), st.sampled_from(["", PROMPTS[0] * 2]), chains), min_size=1, max_size=5
        ),
        min_size=1,
        max_size=2,
    ),
    n_threads=st.sampled_from([1, 2]),
    kv_cache_tokens=st.sampled_from([544, 4096]),
    max_batch_tokens=st.sampled_from([8, 64]),
)
def test_no_draft_model_changes_a_result(
    draft: str,
    waves: list[list[tuple[str, str, dict[str, Any]]]],
    n_threads: int,
    kv_cache_tokens: int,
    max_batch_tokens: int,
) -> None:
    drafting = engine(draft, n_threads, kv_cache_tokens, max_batch_tokens)
    for wave in waves:
        expected = [engine(None).generate(beginning + prompt, **options) for prompt, beginning, options in wave]
        running = [drafting.submit(beginning + prompt, **options) for prompt, beginning, options in wave]
        found = [request.result() for request in running]
        assert [facts(completion) for completion in found] == [facts(completion) for completion in expected]
        for completion, other in zip(found, expected, strict=True):
            assert repr(completion.prompt_logprobs) == repr(other.prompt_logprobs)
            assert completion.usage.completion_tokens == other.usage.completion_tokens


OPTIONS: dict[str, Any] = {"max_tokens": 100, "ignore_eos": True}


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": 0.0},
        {"temperature": 0.8, "seed": 3},
        {"temperature": 1.2, "seed": 4, "top_p": 0.9, "repetition_penalty": 1.3, "presence_penalty": 0.5},
        {"temperature": 0.8, "seed": 5, "mirostat": 2},
        {"temperature": 0.9, "seed": 6, "xtc_probability": 0.5, "dry_multiplier": 0.8},
    ],
)
def test_it_draws_with_the_numbers_that_the_model_draws_with(options: dict[str, Any]) -> None:
    """The same network guesses all of its own tokens, over the ends of blocks too."""
    drafting = engine("same")
    expected = engine(None).generate(PROMPTS[0], **OPTIONS, **options)
    before = drafting.stats()
    found = drafting.generate(PROMPTS[0], cache_prompt=False, **OPTIONS, **options)
    after = drafting.stats()
    assert facts(found) == facts(expected)
    usage = found.usage
    assert usage.rejected_prediction_tokens == 0
    # Eight for each token that a step would have had, once it has read the prompt.
    assert usage.accepted_prediction_tokens in (87, 88)
    assert after.steps - before.steps <= 15


def test_it_guesses_for_several_in_one_batch_and_goes_on_from_cached_blocks() -> None:
    drafting = engine("same", max_batch_tokens=32)
    prompts = [PROMPTS[0] * 2 + tail for tail in ("A", "B", "C")]
    expected = [engine(None).generate(prompt, temperature=0.7, seed=1, **OPTIONS) for prompt in prompts]
    for turn in range(2):
        running = [drafting.submit(prompt, temperature=0.7, seed=1, **OPTIONS) for prompt in prompts]
        found = [request.result() for request in running]
        assert [facts(completion) for completion in found] == [facts(completion) for completion in expected]
        assert all(completion.usage.rejected_prediction_tokens == 0 for completion in found), f"turn {turn}"
        assert all(completion.usage.accepted_prediction_tokens > 50 for completion in found)
    assert found[0].usage.cached_tokens > 0


def test_half_of_a_model_is_right_now_and_then() -> None:
    drafting = engine("half")
    before = drafting.stats()
    for seed in range(4):
        drafting.generate(PROMPTS[1], temperature=0.5, seed=seed, **OPTIONS)
    after = drafting.stats()
    assert after.accepted_draft_tokens - before.accepted_draft_tokens > 0
    assert after.rejected_draft_tokens - before.rejected_draft_tokens > 0


def test_what_does_not_pay_is_not_drafted() -> None:
    """A draft model as large as its model: a token from it costs as much as a token."""
    with Engine(demo_path(), draft=demo_path(), n_threads=1, n_ctx=256, progress=False) as drafting:
        expected = Engine.demo(n_threads=1, n_ctx=256, progress=False).generate("Once upon a time", max_tokens=60)
        found = drafting.generate("Once upon a time", max_tokens=60, seed=expected.seed)
        assert found.token_ids == expected.token_ids


def test_its_memory_is_promised_with_the_model_s() -> None:
    with Engine.demo(n_ctx=256, progress=False) as alone:
        plain = alone.memory
    with Engine(demo_path(), draft=demo_path(), n_ctx=256, progress=False) as both:
        assert both.memory.weights == 2 * plain.weights
        assert both.memory.kv_cache == 2 * plain.kv_cache
        assert "demo.gguf" in LEDGER.others()


def small_file(write: Callable[[Path], None], tmp_path: Path) -> Path:
    path = tmp_path / "small.gguf"
    write(path)
    return path


def test_another_vocabulary_is_refused_by_its_token(tmp_path: Path) -> None:
    small = small_file(LARGE.write, tmp_path)
    with pytest.raises(ModelLoadError, match="vocabulary of 259 tokens, expected the model's"):
        Engine(demo_path(), draft=small, progress=False)
    text = small.read_bytes()
    small.write_bytes(text.replace(b"<0x41>", b"<0xXX>").replace(b"<0x42>", b"<0x41>").replace(b"<0xXX>", b"<0x42>"))
    large = tmp_path / "large.gguf"
    LARGE.write(large)
    with pytest.raises(ModelLoadError, match="its token 68 is b'B', expected b'A'"):
        Engine(large, draft=small, progress=False)


def test_one_that_cannot_draft_is_refused(tmp_path: Path) -> None:
    small = small_file(lambda path: write(HYBRIDS["lfm2moe"], path), tmp_path)
    with pytest.raises(UnsupportedModelError, match="keeps recurrent states"):
        Engine(small, draft=small, progress=False)


def test_a_recurrent_model_may_have_one(tmp_path: Path) -> None:
    small = small_file(TinyModel(n_vocab=N_VOCAB, n_ctx=512).write, tmp_path)
    large = tmp_path / "large.gguf"
    write(HYBRIDS["qwen3next"], large)
    prompt = [(5 * i) % N_VOCAB for i in range(70)]
    options: dict[str, Any] = {"n_threads": 1, "n_ctx": 256, "progress": False}
    with Engine(large, **options) as alone, Engine(large, draft=small, **options) as drafting:
        make_draft_model_eager(drafting._worker)
        for seed in range(3):
            expected = alone.generate(prompt, max_tokens=60, temperature=0.9, seed=seed)
            found = drafting.generate(prompt, max_tokens=60, temperature=0.9, seed=seed)
            assert facts(found) == facts(expected)
        assert drafting.stats().rejected_draft_tokens > 0


def test_more_vocabulary_than_the_draft_s_network_has(tmp_path: Path) -> None:
    """Without tokenizers both must have as many tokens; what a network is padded with is no token."""
    small = small_file(TinyModel(n_vocab=N_VOCAB - 1).write, tmp_path)
    large = tmp_path / "large.gguf"
    write(HYBRIDS["qwen3next"], large)
    with pytest.raises(ModelLoadError, match=f"has {N_VOCAB - 1} tokens without a tokenizer, expected {N_VOCAB}"):
        Engine(large, draft=small, progress=False)
