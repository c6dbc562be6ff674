"""Prompt logprobs: equal to what the logits say, in one pass with the output, exact in a crowd."""

from __future__ import annotations

import math
import random
import threading
from typing import Any

import anyio
import numpy as np
import pytest

from oxillama import Completion, Engine, InvalidRequestError, Logprobs, NumericalError, SamplingParams
from oxillama.gguf import GGUFFile
from oxillama.requests.options import EngineOptions
from oxillama.testing.tiny_models import TinyModel

TEXT = "Once upon a time there was a fox who had a hat. The fox was happy"


def entries(completion: Completion) -> list[tuple[int, float, list[tuple[int, float]]]]:
    assert completion.prompt_logprobs is not None
    return [
        (entry.token_id, entry.logprob, [(other.token_id, other.logprob) for other in entry.top])
        for entry in completion.prompt_logprobs.content
    ]


@pytest.mark.parametrize("n_top", [0, 1, 5, 20])
@pytest.mark.parametrize("n_threads", [1, 2])
def test_they_are_what_the_logits_say(n_top: int, n_threads: int) -> None:
    with Engine.demo(n_threads=n_threads, progress=False) as engine:
        ids = engine.tokenize(TEXT)
        logits = engine.logits(TEXT).astype(np.float64)
        found = entries(engine.generate(TEXT, max_tokens=0, prompt_logprobs=n_top))
        assert np.array_equal([entry[1] for entry in found], engine.logprobs(TEXT), equal_nan=True)
    assert [entry[0] for entry in found] == ids
    assert math.isnan(found[0][1])
    assert found[0][2] == []
    log_sums = np.log(np.exp(logits - logits.max(axis=1, keepdims=True)).sum(axis=1)) + logits.max(axis=1)
    for i, (token, logprob, top) in enumerate(found[1:]):
        assert logprob == pytest.approx(logits[i, token] - log_sums[i], abs=1e-5)
        # Best first, the lowest id first among equals.
        best = np.lexsort((np.arange(logits.shape[1]), -logits[i]))[:n_top]
        assert [other for other, _ in top] == best.tolist()
        np.testing.assert_allclose([value for _, value in top], logits[i, best] - log_sums[i], atol=1e-5)


def test_equal_logits_are_told_by_ascending_ids(tmp_path: Any) -> None:
    path = tmp_path / "flat.gguf"
    TinyModel(tokenizer=True).write(path)
    # Token embeddings of zero, tied, make every logit zero.
    model = TinyModel(tokenizer=True, tied=True)
    model.write(path)
    with GGUFFile(path) as file:
        info = file.tensor("token_embd.weight")
        data = bytes(info.data)
    raw = path.read_bytes()
    assert raw.count(data) == 1
    path.write_bytes(raw.replace(data, bytes(len(data))))
    with Engine(path, n_threads=1, progress=False) as engine:
        found = entries(engine.generate("abc", max_tokens=1, prompt_logprobs=4, ignore_eos=True))
    uniform = -math.log(model.vocabulary_size)
    for _, logprob, top in found[1:]:
        assert logprob == pytest.approx(uniform, abs=1e-5)
        assert [token for token, _ in top] == [0, 1, 2, 3]


def test_prompt_and_output_come_in_one_pass(demo: Engine) -> None:
    plain = demo.generate(TEXT, max_tokens=20, seed=4, logprobs=2)
    before = demo.stats()
    scored = demo.generate(TEXT, max_tokens=20, seed=4, logprobs=2, prompt_logprobs=2)
    after = demo.stats()
    assert scored.choices == plain.choices
    assert scored.usage.cached_tokens == 0
    assert after.prompt_tokens - before.prompt_tokens == scored.usage.prompt_tokens
    assert repr(entries(scored)) == repr(entries(demo.generate(TEXT, max_tokens=0, prompt_logprobs=2)))


def test_several_choices_share_one_scored_prompt(long_engine: Engine) -> None:
    prompt = [5] * 151
    before = long_engine.stats().prompt_tokens
    found = long_engine.generate(prompt, max_tokens=3, n=4, seed=1, prompt_logprobs=1, ignore_eos=True)
    assert len(entries(found)) == found.usage.prompt_tokens == 151
    # One computes the prompt; the others take its 4 complete blocks and compute the rest.
    assert long_engine.stats().prompt_tokens - before == 151 + 3 * (151 - 128)
    alone = long_engine.generate(prompt, max_tokens=3, n=4, seed=1, ignore_eos=True, cache_prompt=False)
    assert [choice.token_ids for choice in found.choices] == [choice.token_ids for choice in alone.choices]
    best = long_engine.generate(prompt, max_tokens=3, best_of=3, seed=1, prompt_logprobs=1, ignore_eos=True)
    assert repr(entries(best)) == repr(entries(found))


@pytest.mark.parametrize("prefix_cache", [True, False])
def test_exact_in_a_crowd_with_preemption(prefix_cache: bool) -> None:
    chosen = random.Random(5)
    jobs = [
        (
            TEXT + " and he ran" * chosen.randrange(0, 40),
            SamplingParams(
                max_tokens=chosen.choice([0, 5, 200]),
                seed=i,
                ignore_eos=True,
                prompt_logprobs=chosen.choice([None, 0, 3]),
            ),
        )
        for i in range(24)
    ]
    with Engine.demo(n_threads=1, prefix_cache=False, progress=False) as alone:
        expected = [alone.generate(*job) for job in jobs]
    found: dict[int, Completion] = {}
    options: EngineOptions = {
        "n_threads": 2,
        "progress": False,
        "kv_cache_tokens": 20 * 32,
        "max_batch_tokens": 70,
        "max_step_ms": 1,
        "prefix_cache": prefix_cache,
    }
    with Engine.demo(**options) as engine:

        def run(i: int) -> None:
            found[i] = engine.generate(*jobs[i], queue_timeout=None)

        threads = [threading.Thread(target=run, args=(i,)) for i in range(len(jobs))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert engine.stats().preemptions > 0
    for i, completion in enumerate(expected):
        assert found[i].choices == completion.choices
        if completion.prompt_logprobs is None:
            assert found[i].prompt_logprobs is None
        else:
            assert repr(entries(found[i])) == repr(entries(completion))


def test_a_handle_has_them_with_the_first_token(long_engine: Engine) -> None:
    handle = long_engine.submit([5, 6, 7, 8], ignore_eos=True, prompt_logprobs=0)
    stream = iter(handle)
    next(stream)
    assert isinstance(handle.prompt_logprobs, Logprobs)
    assert len(handle.prompt_logprobs.content) == 4
    stream.close()
    unscored = long_engine.submit("abc", max_tokens=2)
    unscored.result()
    assert unscored.prompt_logprobs is None
    with pytest.raises(ValueError, match="no scored prompt"):
        unscored.handles[0].prompt_logprobs()
    with pytest.raises(ValueError, match="keeps no logits"):
        handle.handles[0].logits()


def test_the_async_call_has_them_too(demo: Engine) -> None:
    expected = entries(demo.generate(TEXT, max_tokens=2, prompt_logprobs=1))
    found = anyio.run(lambda: demo.agenerate(TEXT, max_tokens=2, prompt_logprobs=1))
    assert repr(entries(found)) == repr(expected)


def test_what_they_look_like_in_json(demo: Engine) -> None:
    shape = demo.generate(TEXT, max_tokens=1, prompt_logprobs=2).to_dict()["prompt_logprobs"]
    assert shape["token_logprobs"][0] is None
    assert shape["top_logprobs"][0] is None
    assert len(shape["tokens"]) == len(demo.tokenize(TEXT))
    assert all(len(top) == 2 for top in shape["top_logprobs"][1:])
    assert "prompt_logprobs" not in demo.generate(TEXT, max_tokens=1).to_dict()


@pytest.mark.parametrize("value", [-1, 21, 1.5, True, "2"])
def test_their_number_is_limited(demo: Engine, value: Any) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        demo.generate(TEXT, prompt_logprobs=value)
    assert caught.value.param == "prompt_logprobs"


def test_logits_that_are_no_numbers_end_the_request_alone(tmp_path: Any) -> None:
    path = tmp_path / "nan.gguf"
    TinyModel(tokenizer=True).write(path)
    with GGUFFile(path) as file:
        data = bytes(file.tensor("token_embd.weight").data)
    table = np.frombuffer(data, np.float32).reshape(-1, 64).copy()
    table[ord("b") + 3] = np.nan
    path.write_bytes(path.read_bytes().replace(data, table.tobytes()))
    with Engine(path, n_threads=1, progress=False) as engine:
        for max_tokens in (0, 5):
            with pytest.raises(NumericalError):
                engine.generate("abc", prompt_logprobs=1, max_tokens=max_tokens)
        with pytest.raises(NumericalError):
            engine.logprobs("abc")
        with pytest.raises(NumericalError):
            engine.embed("abc")
        assert engine.generate("ac", max_tokens=2, prompt_logprobs=1, ignore_eos=True).usage.completion_tokens == 2
