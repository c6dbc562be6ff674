"""vLLM's offline calls, with its defaults and outputs, give what the engine gives."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from oxillama import InvalidRequestError
from oxillama.compat.vllm import LLM, SamplingParams
from oxillama.demo import demo_path

PROMPTS = ["Once upon a time", "The little dog"]
GREEDY = SamplingParams(temperature=0, max_tokens=12)


@pytest.fixture(scope="module")
def llm() -> Iterator[LLM]:
    with LLM(str(demo_path()), max_model_len=256, gpu_memory_utilization=0.9, dtype="auto") as llm:
        yield llm


def test_outputs_are_in_the_order_of_their_prompts(llm: LLM) -> None:
    outputs = llm.generate(PROMPTS, GREEDY, use_tqdm=False)
    for prompt, output in zip(PROMPTS, outputs, strict=True):
        expected = llm.engine.generate(prompt, max_tokens=12, temperature=0)
        assert output.prompt == prompt
        assert output.prompt_token_ids == llm.engine.tokenize(prompt)
        assert output.outputs[0].text == expected.text
        assert output.outputs[0].token_ids == list(expected.token_ids)
        assert output.outputs[0].finish_reason == "length"
        assert output.finished


def test_a_prompt_is_a_text_ids_or_a_mapping(llm: LLM) -> None:
    ids = llm.engine.tokenize(PROMPTS[0])
    forms: list[Any] = [PROMPTS[0], ids, {"prompt": PROMPTS[0]}, {"prompt_token_ids": ids}]
    texts = [llm.generate(form, GREEDY, use_tqdm=False)[0].outputs[0].text for form in forms]
    assert len(set(texts)) == 1
    assert len(llm.generate(forms, GREEDY, use_tqdm=False)) == 4
    assert llm.generate([], GREEDY, use_tqdm=False) == []


def test_defaults_are_vllm_s(llm: LLM) -> None:
    (output,) = llm.generate(PROMPTS[0], SamplingParams(seed=5), use_tqdm=False)
    assert output.outputs[0].text == llm.engine.generate(PROMPTS[0], max_tokens=16, temperature=1.0, seed=5).text


def test_requests_without_a_seed_count_up_from_the_model_s() -> None:
    with LLM(demo_path(), seed=3) as llm:
        texts = [llm.generate(PROMPTS[0], use_tqdm=False)[0].outputs[0].text for _ in range(3)]
        again = [llm.generate(PROMPTS[0], SamplingParams(seed=seed), use_tqdm=False) for seed in (3, 4, 5)]
    assert texts == [outputs[0].outputs[0].text for outputs in again]


def test_each_prompt_may_have_its_own_parameters(llm: LLM) -> None:
    params = [SamplingParams(temperature=0, max_tokens=2), SamplingParams(n=2, seed=1, max_tokens=3, ignore_eos=True)]
    first, second = llm.generate(PROMPTS, params, use_tqdm=False, priority=[1, 0])
    assert [len(output.token_ids) for output in (*first.outputs, *second.outputs)] == [2, 3, 3]
    with pytest.raises(InvalidRequestError, match="2 prompts"):
        llm.generate(PROMPTS, params[:1], use_tqdm=False)


def test_logprobs_are_mappings_with_ranks(llm: LLM) -> None:
    params = SamplingParams(temperature=0, max_tokens=4, logprobs=2, prompt_logprobs=1)
    (output,) = llm.generate(PROMPTS[0], params, use_tqdm=False)
    choice = output.outputs[0]
    assert choice.logprobs is not None
    for token, told in zip(choice.token_ids, choice.logprobs, strict=True):
        assert told[token].rank == 1
        assert len(told) == 2
    assert choice.cumulative_logprob == pytest.approx(
        math.fsum(told[token].logprob for token, told in zip(choice.token_ids, choice.logprobs, strict=True))
    )
    assert output.prompt_logprobs is not None
    assert output.prompt_logprobs[0] is None
    for token, entry in zip(output.prompt_token_ids[1:], output.prompt_logprobs[1:], strict=True):
        assert entry is not None
        assert token in entry


def test_tokens_are_allowed_or_bad(llm: LLM) -> None:
    allowed = llm.engine.tokenize(" little dog", add_special=False)
    params = SamplingParams(max_tokens=8, allowed_token_ids=allowed, seed=1)
    (output,) = llm.generate(PROMPTS[0], params, use_tqdm=False)
    assert set(output.outputs[0].token_ids) <= set(allowed)


def test_a_chat_and_several(llm: LLM) -> None:
    conversation = [{"role": "user", "content": "Tell me a story."}]
    (one,) = llm.chat(conversation, GREEDY, use_tqdm=False)
    assert one.outputs[0].text == llm.engine.chat(conversation, max_tokens=12, temperature=0).text
    assert one.prompt_token_ids == llm.engine.tokenize_chat(conversation)
    both = llm.chat([conversation, conversation], GREEDY, use_tqdm=False)
    assert [output.outputs[0].text for output in both] == [one.outputs[0].text] * 2


def test_embeddings_and_their_cosine(llm: LLM) -> None:
    outputs = llm.embed(["one", "two"], use_tqdm=False)
    rows = llm.engine.embed(["one", "two"])
    assert [output.outputs.embedding for output in outputs] == rows.tolist()  # type: ignore[union-attr]
    (score,) = llm.score("one", "two", use_tqdm=False)
    assert score.outputs.score == pytest.approx(float(np.sum(rows[0] * rows[1])), abs=1e-6)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "options", [{"include_stop_str_in_output": True}, {"skip_special_tokens": False}, {"bad_words": ["two words here"]}]
)
def test_what_has_no_counterpart_is_refused(llm: LLM, options: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError):
        llm.generate(PROMPTS, SamplingParams(**options), use_tqdm=False)


def test_loading_takes_what_a_gpu_would_use_and_refuses_the_rest() -> None:
    with pytest.raises(InvalidRequestError, match="tensor_parallel_size"):
        LLM(demo_path(), tensor_parallel_size=2)
    with pytest.raises(TypeError, match="max_modellen"):
        LLM(demo_path(), max_modellen=5)
