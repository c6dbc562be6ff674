"""What becomes of a step's logits for one request: which token, which end, whose fault."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from oxillama import Engine, NumericalError
from tests.network.test_loader import write

STORY: dict[str, Any] = {"prompt": "Once upon a time", "temperature": 0}


def test_an_end_of_the_model_is_told_from_one_of_the_request(demo: Engine) -> None:
    whole = demo.generate(**STORY, max_tokens=12, ignore_eos=True)
    token = whole.token_ids[5]
    stopped = demo.generate(**STORY, max_tokens=12, ignore_eos=True, stop_token_ids=[token])
    first = whole.token_ids.index(token)
    assert stopped.token_ids == whole.token_ids[: first + 1]
    assert (stopped.finish_reason, stopped.choices[0].stop_reason) == ("stop", token)
    long = demo.generate(**STORY, max_tokens=400)
    if long.finish_reason == "stop":
        assert long.choices[0].stop_reason is None


def test_the_last_token_may_be_the_stop(demo: Engine) -> None:
    whole = demo.generate(**STORY, max_tokens=6, ignore_eos=True)
    token = whole.token_ids[-1]
    n = whole.token_ids.index(token) + 1
    assert demo.generate(**STORY, max_tokens=n, ignore_eos=True).finish_reason == "length"
    stopped = demo.generate(**STORY, max_tokens=n, ignore_eos=True, stop_token_ids=[token])
    assert stopped.finish_reason == "stop"


def test_a_stop_string_in_the_last_token_is_a_stop(demo: Engine) -> None:
    whole = demo.generate(**STORY, max_tokens=6, ignore_eos=True)
    stopped = demo.generate(**STORY, max_tokens=6, ignore_eos=True, stop=[whole.text[-2:]])
    assert stopped.finish_reason == "stop"


def test_alternatives_are_ordered_and_the_token_is_scored(demo: Engine) -> None:
    found = demo.generate(**STORY, max_tokens=4, logprobs=5, ignore_eos=True)
    assert found.logprobs is not None
    logits = demo.logits([*demo.tokenize("Once upon a time"), *found.token_ids[:-1]])[-4:].astype(np.float64)
    scores = logits - np.log(np.exp(logits - logits.max(axis=1, keepdims=True)).sum(axis=1, keepdims=True))
    scores -= logits.max(axis=1, keepdims=True)
    for row, entry in zip(scores, found.logprobs.content, strict=True):
        tops = [top.logprob for top in entry.top]
        assert tops == sorted(tops, reverse=True)
        assert entry.logprob == tops[0]
        assert math.isclose(entry.logprob, row[entry.token_id], abs_tol=1e-4)


def test_numbers_that_are_none_end_their_request_alone(tmp_path: Path) -> None:
    sound, broken = tmp_path / "sound.gguf", tmp_path / "broken.gguf"
    write(sound)
    write(broken, lambda metadata, tensors: tensors["token_embd.weight"].__setitem__(7, np.nan))
    with Engine(broken, n_threads=1, progress=False) as engine, Engine(sound, n_threads=1, progress=False) as other:
        good, bad = engine.submit([1, 2], max_tokens=30), engine.submit([7, 2], max_tokens=30)
        with pytest.raises(NumericalError):
            bad.result()
        assert bad.handles[0].fault == "numerical"
        expected = other.generate([1, 2], max_tokens=30, seed=good.seed)
        if 7 not in expected.token_ids:
            assert good.result().token_ids == expected.token_ids
