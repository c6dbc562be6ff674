"""The public Sampler: purity, frequencies, sessions, and what it refuses."""

from __future__ import annotations

import itertools
import math
import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from oxillama import InvalidRequestError, NumericalError, Sampler, SamplingParams
from oxillama.testing import strategies as ox

ROW = np.array([1.0, 3.0, 0.5, 2.0, -1.0, 2.5], dtype=np.float32)


@settings(max_examples=60, deadline=None)
@given(
    logits=ox.logits(12),
    history=ox.token_histories(12),
    params=ox.sampling_params(n_vocab=12),
    position=st.integers(0, 2**32 - 1),
    choice=st.integers(0, 2**32 - 1),
)
def test_calls_are_pure(
    logits: NDArray[np.float32], history: Any, params: SamplingParams, position: int, choice: int
) -> None:
    before = logits.copy()
    sampler = Sampler(params)
    try:
        token = sampler.sample(logits, history, position, choice)
    except InvalidRequestError as error:
        assert error.code == "no_token_left"  # noqa: PT017
        return
    probs = sampler.probs(logits, history, position)
    assert sampler.sample(logits, history, position, choice) == token
    assert Sampler(params).sample(logits, history, position, choice) == token
    np.testing.assert_array_equal(sampler.probs(logits, history, position), probs)
    np.testing.assert_array_equal(logits, before)
    assert probs.dtype == np.float32
    assert probs.sum(dtype=np.float64) == pytest.approx(1, abs=1e-5)


# 99.9 % quantiles of chi-square.
CHI_SQUARE = {1: 10.83, 2: 13.82, 3: 16.27, 4: 18.47, 5: 20.52, 6: 22.46}


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"temperature": 0.5},
        {"temperature": 2.0, "top_k": 4},
        {"top_p": 0.8},
        {"min_p": 0.2, "temperature": 1.3},
        {"typical_p": 0.7},
        {"logit_bias": {4: 3.0}, "banned_tokens": [1]},
        {"dynatemp_range": 0.5},
    ],
)
@pytest.mark.parametrize("along", ["position", "choice", "seed"])
def test_frequencies_match_the_distribution(options: dict[str, Any], along: str) -> None:
    n = 4000
    sampler = Sampler(SamplingParams(seed=2024, **options))
    expected = sampler.probs(ROW) * n
    if along == "seed":
        tokens = [Sampler(SamplingParams(seed=seed, **options)).sample(ROW) for seed in range(n)]
    else:
        draw: Any = sampler.sample
        tokens = [draw(ROW, **{along: i}) for i in range(n)]
    found = np.bincount(tokens, minlength=ROW.size)
    support = expected > 0
    assert found[~support].sum() == 0
    statistic = float(((found - expected)[support] ** 2 / expected[support]).sum())
    assert statistic < CHI_SQUARE[int(support.sum()) - 1]


def test_neighbouring_positions_are_independent() -> None:
    sampler = Sampler(SamplingParams(seed=1))
    tokens = [sampler.sample([0.0, 0.0], position=i) for i in range(4000)]
    pairs = np.bincount([2 * a + b for a, b in itertools.pairwise(tokens)], minlength=4)
    assert ((pairs - 1000) ** 2 / 1000).sum() < CHI_SQUARE[3]


def test_a_seed_is_drawn_and_told() -> None:
    sampler = Sampler(SamplingParams())
    again = Sampler(SamplingParams(seed=sampler.seed))
    assert [sampler.sample(ROW, position=i) for i in range(50)] == [again.sample(ROW, position=i) for i in range(50)]
    assert Sampler(SamplingParams()).seed != sampler.seed


def test_one_sampler_serves_rows_of_several_lengths() -> None:
    sampler = Sampler(SamplingParams(seed=3, dry_multiplier=1.0, dry_sequence_breakers=(), repetition_penalty=1.2))
    for n_vocab, n_history in ((5, 0), (3, 100), (5, 10_000), (130, 3)):
        history = [i % 3 for i in range(n_history)]
        assert sampler.probs(np.zeros(n_vocab), history).sum() == pytest.approx(1)


def test_threads_may_share_a_sampler() -> None:
    sampler = Sampler(SamplingParams(seed=5, top_p=0.9, frequency_penalty=0.5))
    rng = np.random.default_rng(1)
    rows = [rng.normal(0, 2, 300).astype(np.float32) for _ in range(40)]
    expected = [sampler.sample(row, [1, 2, 2], i) for i, row in enumerate(rows)]
    found: dict[int, list[int]] = {}

    def work(thread: int) -> None:
        found[thread] = [sampler.sample(row, [1, 2, 2], i) for i, row in enumerate(rows)]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[i] for i in range(4)] == [expected] * 4


def test_mirostat_needs_a_session() -> None:
    sampler = Sampler(SamplingParams(mirostat=2, seed=1))
    for call in (sampler.sample, sampler.probs):
        with pytest.raises(InvalidRequestError, match="session") as caught:
            call(ROW)
        assert caught.value.param == "mirostat"
    assert Sampler(SamplingParams(mirostat=2, temperature=0)).sample(ROW) == 1


def test_the_state_of_a_session_is_explicit() -> None:
    sampler = Sampler(SamplingParams(mirostat=2, mirostat_tau=1.5, mirostat_eta=0.5, seed=1))
    session = sampler.session()
    assert session.mu == 3.0
    states = []
    tokens = []
    for position in range(10):
        states.append(session.mu)
        probs = session.probs(ROW, position=position)
        tokens.append(session.sample(ROW, position=position))
        surprise = -math.log2(probs[tokens[-1]])
        assert session.mu == pytest.approx(states[-1] - 0.5 * (surprise - 1.5), abs=1e-5)
    resumed = sampler.session()
    assert states[6] is not None
    resumed.mu = states[6]
    assert [resumed.sample(ROW, position=i) for i in range(6, 10)] == tokens[6:]
    with pytest.raises(InvalidRequestError):
        resumed.mu = math.nan


def test_a_session_without_mirostat_has_no_state() -> None:
    sampler = Sampler(SamplingParams(seed=1))
    session = sampler.session(choice=3)
    assert session.mu is None
    assert session.sample(ROW, position=2) == sampler.sample(ROW, position=2, choice=3)
    assert session.mu is None
    with pytest.raises(InvalidRequestError):
        session.mu = 1.0


@pytest.mark.parametrize("logits", [[1.0, math.nan], [math.inf, 0.0], [0.0, -math.inf], np.array([1e300, 0.0])])
def test_logits_must_be_finite_in_float32(logits: Any) -> None:
    with pytest.raises(NumericalError):
        Sampler(SamplingParams()).sample(logits)


@pytest.mark.parametrize("logits", [[], [[1.0, 2.0]], 1.0, ["a"], [True, False], np.zeros(2**19 + 1), [1j]])
def test_logits_must_be_one_row_of_numbers(logits: Any) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        Sampler(SamplingParams()).probs(logits)
    assert caught.value.param == "logits"


@pytest.mark.parametrize("history", [[6], [-1], [0.5], ([0], [6]), [[1, 2]], "12"])
def test_history_must_be_tokens(history: Any) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        Sampler(SamplingParams()).probs(ROW, history)
    assert caught.value.param == "history"


@pytest.mark.parametrize("name", ["position", "choice"])
@pytest.mark.parametrize("value", [-1, 2**32, 0.5, True, None])
def test_counters_must_be_counters(name: str, value: Any) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        Sampler(SamplingParams()).sample(ROW, **{name: value})
    assert caught.value.param == name


def test_history_forms() -> None:
    sampler = Sampler(SamplingParams(repetition_penalty=1.5))
    expected = sampler.probs(ROW, ([1], [3, 5]))
    for history in (
        [1, 3, 5],
        (1, 3, 5),
        np.array([1, 3, 5]),
        ((1, 3), np.array([5], dtype=np.uint8)),
        ([1, 3, 5], ()),
    ):
        np.testing.assert_array_equal(sampler.probs(ROW, history), expected)
    np.testing.assert_array_equal(sampler.probs(ROW, (1, 3)), sampler.probs(ROW, [1, 3]))


def test_logits_of_any_layout_and_type() -> None:
    sampler = Sampler(SamplingParams())
    expected = sampler.probs(ROW)
    read_only = ROW.copy()
    read_only.flags.writeable = False
    shifted = np.frombuffer(b"x" + ROW.tobytes(), dtype=np.float32, offset=1)  # not aligned
    for row in (shifted, ROW.tolist(), ROW.astype(np.float64), np.repeat(ROW, 2)[::2], read_only, ROW.astype(">f4")):
        np.testing.assert_array_equal(sampler.probs(row), expected)


def test_it_takes_params_and_shows_no_text() -> None:
    with pytest.raises(TypeError, match="SamplingParams"):
        Sampler({"temperature": 1})  # type: ignore[arg-type]
    assert "secret" not in repr(Sampler(SamplingParams(stop=["secret"], seed=1)))
