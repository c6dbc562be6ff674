"""One sequence seen from Python: what a handle shows before, while and after it runs."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from oxillama import Engine
from oxillama._core.output.handle import ACCEPTED, Handle, submit
from tests.patience import eventually, is_idle

PROMPT = np.array([5, 6, 7], np.int32)


def finished(handle: Handle) -> Handle:
    eventually(lambda: handle.finish_reason is not None)
    return handle


def test_before_it_is_submitted_there_is_nothing(demo: Engine) -> None:
    handle = Handle(demo._worker, PROMPT)
    assert handle.num_prompt_tokens == 3
    assert handle.num_published == handle.num_cached_tokens == handle.num_preemptions == 0
    assert handle.finish_reason is None
    assert not handle.has_update()
    assert handle.take() == ([], "", False)
    assert handle.times[1:] == (0, 0, 0, 0)
    assert handle.fits
    assert Handle(demo._worker, PROMPT).id > handle.id


def test_times_go_up_and_everything_is_taken_once(demo: Engine) -> None:
    (handle,) = demo.submit("Once", max_tokens=5, temperature=0, ignore_eos=True).handles
    finished(handle)
    assert list(handle.times) == sorted(handle.times)
    assert handle.times[0] > 0
    events, rest, is_over = handle.take()
    assert (len(events), is_over) == (5, True)
    assert all(math.isnan(event.logprob) and event.top == () for event in events)
    assert not handle.has_update()
    assert handle.take() == ([], "", True)
    assert "".join(event.text for event in events) + rest == demo.generate("Once", max_tokens=5, temperature=0).text


def test_an_evaluation_has_logits_and_an_embedding_none(demo: Engine) -> None:
    worker = demo._worker
    evaluation = Handle(worker, PROMPT, keep_logits=True, n_prompt_logprobs=2)
    embedding = Handle(worker, PROMPT, pooling="mean", dimensions=8)
    assert submit(worker, [evaluation, embedding]) == ACCEPTED
    finished(evaluation), finished(embedding)
    logits = evaluation.logits()
    assert np.array_equal(logits, demo.logits(PROMPT.tolist()))
    assert embedding.embedding().shape == (8,)
    logprobs = evaluation.prompt_logprobs()
    assert math.isnan(logprobs[0])
    shifted = logits - logits.max(axis=1, keepdims=True)
    expected = shifted - np.log(np.exp(shifted.astype(np.float64)).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(logprobs[1:], expected[[0, 1], PROMPT[1:]], atol=1e-5)
    assert [event.token for event in evaluation.prompt_events()] == PROMPT.tolist()
    assert [len(event.top) for event in evaluation.prompt_events()] == [0, 2, 2]
    with pytest.raises(ValueError, match="no embedding"):
        evaluation.embedding()
    with pytest.raises(ValueError, match="no logits"):
        embedding.logits()
    with pytest.raises(ValueError, match="no scored prompt"):
        embedding.prompt_logprobs()


def test_what_cannot_be_is_refused(demo: Engine) -> None:
    with pytest.raises(ValueError, match="0 tokens"):
        Handle(demo._worker, np.zeros(0, np.int32))
    with pytest.raises(ValueError, match="dimensions"):
        Handle(demo._worker, PROMPT, pooling="mean", dimensions=1 << 20)
    assert not Handle(demo._worker, np.ones(100_000, np.int32)).fits


def test_dropping_a_handle_ends_its_sequence(open_long: Callable[..., Engine]) -> None:
    engine = open_long()
    handle = engine.submit("x", ignore_eos=True)
    eventually(lambda: engine.stats().running == 1)
    del handle
    engine._worker.wake()
    eventually(lambda: is_idle(engine))
