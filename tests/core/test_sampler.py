"""The compiled chain as a whole: against the reference, and the promises that hold for every setting."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from oxillama import InvalidRequestError, NumericalError, SamplingParams
from oxillama._core.sampling.gumbel import draw_token
from oxillama._core.sampling.parameters import CompiledSampling
from oxillama._core.sampling.philox import random_bits
from oxillama._core.sampling.sampler import SamplerMemory
from oxillama.testing import strategies as ox
from tests.sampler_reference import Reference, edited_logits

N_VOCAB = 70  # more than a block of 64, and no multiple of it
EOG = (3, 69)
Logits = NDArray[np.float32]

rows = ox.logits(N_VOCAB)
histories = ox.token_histories(N_VOCAB)


def ids(tokens: list[int]) -> NDArray[np.int32]:
    return np.array(tokens, dtype=np.int32)


def mask_words(allowed: NDArray[np.bool_]) -> NDArray[np.uint32]:
    padded = np.zeros(-(-allowed.size // 32) * 32, dtype=bool)
    padded[: allowed.size] = allowed
    return np.packbits(padded, bitorder="little").view(np.uint32)


class Chain:
    """One set of parameters with a working memory, for terse tests."""

    def __init__(self, params: SamplingParams, memory: SamplerMemory | None = None, n_vocab: int = N_VOCAB) -> None:
        self.compiled: CompiledSampling = params.resolve(n_vocab=n_vocab, eog_tokens=[t for t in EOG if t < n_vocab])
        self.memory = memory or SamplerMemory(n_vocab, 64)

    def probs(self, logits: Logits, history: Any = ((), ()), position: int = 0, **more: Any) -> NDArray[np.float32]:
        out = np.empty(self.memory.n_vocab, dtype=np.float32)
        prompt, output = (ids(list(part)) for part in history)
        self.memory.probs(self.compiled, logits, prompt, output, out, choice=0, position=position, **more)
        return out

    def sample(self, logits: Logits, history: Any = ((), ()), position: int = 0, choice: int = 0, **more: Any) -> Any:
        prompt, output = (ids(list(part)) for part in history)
        return self.memory.sample(
            self.compiled, logits, prompt, output, choice=choice, position=position, **more
        )  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(data=st.data(), row=rows, history=histories, position=st.integers(0, 5))
def test_distribution_equals_the_reference(
    data: st.DataObject, row: Logits, history: tuple[list[int], list[int]], position: int
) -> None:
    with_mirostat = data.draw(st.sampled_from([False, False, True]))
    params = data.draw(ox.sampling_params(n_vocab=N_VOCAB, mirostat=with_mirostat, ignore_eos=st.booleans()))
    mu = data.draw(st.floats(-1.0, 20.0)) if params.mirostat else None
    allowed = data.draw(st.none() | st.lists(st.booleans(), min_size=N_VOCAB, max_size=N_VOCAB).map(np.array))
    mask = None if allowed is None else mask_words(allowed)
    chain = Chain(params)
    x = edited_logits(params, row, *history, position, allowed, EOG)
    try:
        expected = Reference(params, x, chain.compiled.seed, position, mu)
    except ValueError:
        with pytest.raises(InvalidRequestError, match="no token"):
            chain.probs(row, history, position, mask=mask, mu=mu)
        return
    assume(not expected.ambiguous)
    found = chain.probs(row, history, position, mask=mask, mu=mu)
    doubtful = expected.doubtful_tokens()
    assert set(np.flatnonzero(found)) - doubtful == set(np.flatnonzero(expected.probs)) - doubtful
    np.testing.assert_allclose(found, expected.probs, rtol=2e-5, atol=1e-9)
    assert found.sum(dtype=np.float64) == pytest.approx(1, abs=1e-5)

    token = chain.sample(row, history, position, mask=mask, mu=mu)[0]
    assert found[token] > 0
    if params.mirostat and params.temperature > 0:
        # Mirostat's draw is the inverse of the distribution function, in the order of ids.
        point = random_bits(chain.compiled.seed, 0, position, 0) / 2**64
        below = found[:token].sum(dtype=np.float64)
        assert below - 1e-6 <= point <= below + found[token] + 1e-6
    elif params.dynatemp_range == 0:  # which leaves the last bits of the temperature open
        assert token == expected.draw(chain.compiled.seed, 0, position)


@settings(max_examples=80, deadline=None)
@given(data=st.data(), params=ox.sampling_params(n_vocab=N_VOCAB), history=histories)
def test_a_batch_may_be_sampled_in_any_order(
    data: st.DataObject, params: SamplingParams, history: tuple[list[int], list[int]]
) -> None:
    batch = data.draw(st.lists(rows, min_size=2, max_size=5))
    order = data.draw(st.permutations(range(len(batch))))
    params = params.replace(logprobs=3)
    shared = Chain(params)
    results: dict[int, Any] = {}
    try:
        alone = [Chain(params).sample(row, history, i) for i, row in enumerate(batch)]
    except InvalidRequestError:
        return
    for i in order:
        results[i] = shared.sample(batch[i], history, i)
    assert [results[i] for i in range(len(batch))] == alone


@settings(max_examples=80, deadline=None)
@given(
    row=rows,
    history=histories,
    params=ox.sampling_params(n_vocab=N_VOCAB),
    before=rows,
    params_before=ox.sampling_params(n_vocab=N_VOCAB, mirostat=True),
)
def test_what_the_memory_was_used_for_changes_no_bit(
    row: Logits, history: tuple[list[int], list[int]], params: SamplingParams, before: Logits,
    params_before: SamplingParams,
) -> None:  # fmt: skip
    memory = SamplerMemory(N_VOCAB, 64)
    with contextlib.suppress(InvalidRequestError):
        Chain(params_before, memory).sample(before, history, mu=4.0)
    try:
        fresh = Chain(params).probs(row, history)
    except InvalidRequestError:
        return
    np.testing.assert_array_equal(Chain(params, memory).probs(row, history), fresh)


@settings(max_examples=80, deadline=None)
@given(row=rows, history=histories, params=ox.sampling_params(n_vocab=N_VOCAB, temperature=0, mirostat=True))
def test_temperature_zero_is_the_argmax(
    row: Logits, history: tuple[list[int], list[int]], params: SamplingParams
) -> None:
    x = np.array(edited_logits(params, row, *history, 0, None, EOG))
    assume(np.isfinite(x).any())
    assert Chain(params).sample(row, history)[0] == int(np.argmax(x))
    assert Chain(params).probs(row, history)[int(np.argmax(x))] == 1


def test_ties_go_to_the_lowest_id() -> None:
    row = np.zeros(N_VOCAB, dtype=np.float32)
    row[[20, 66]] = -0.0  # compares equal, so it is a tie too
    row[[0, 1]] = -1
    assert Chain(SamplingParams(temperature=0)).sample(row)[0] == 2
    assert np.flatnonzero(Chain(SamplingParams(top_k=3)).probs(row)).tolist() == [2, 3, 4]
    assert np.flatnonzero(Chain(SamplingParams(top_k=20, top_p=0.5)).probs(row)).tolist() == list(range(2, 12))


@settings(max_examples=80, deadline=None)
@given(row=rows, n=st.integers(0, 20), params=ox.sampling_params(n_vocab=N_VOCAB))
def test_logprobs_are_those_of_the_raw_logits(row: Logits, n: int, params: SamplingParams) -> None:
    try:
        token, logprob, top, _ = Chain(params.replace(logprobs=n)).sample(row)
    except InvalidRequestError:
        return
    x = row.astype(np.float64)
    expected = x - x.max() - math.log(math.fsum(np.exp(x - x.max())))
    assert logprob == pytest.approx(expected[token], abs=1e-5)
    best = sorted(range(N_VOCAB), key=lambda i: (-x[i], i))[:n]
    assert [other for other, _ in top] == best
    assert [value for _, value in top] == pytest.approx([expected[i] for i in best], abs=1e-5)
    assert token == Chain(params).sample(row)[0]


def test_asking_for_logprobs_changes_no_draw() -> None:
    row = np.linspace(-1, 1, N_VOCAB, dtype=np.float32)
    plain, asking = Chain(SamplingParams(seed=4)), Chain(SamplingParams(seed=4, logprobs=2))
    tokens = [plain.sample(row, position=i)[0] for i in range(50)]
    assert tokens == [asking.sample(row, position=i)[0] for i in range(50)]


def test_without_logprobs_there_are_none() -> None:
    _, logprob, top, _ = Chain(SamplingParams()).sample(np.zeros(N_VOCAB, dtype=np.float32))
    assert math.isnan(logprob)
    assert top == []


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", [0, 63, 64, N_VOCAB - 1])
@pytest.mark.parametrize("params", [SamplingParams(), SamplingParams(temperature=0, banned_tokens=[5])])
def test_logits_that_are_not_finite_are_refused(value: float, place: int, params: SamplingParams) -> None:
    row = np.zeros(N_VOCAB, dtype=np.float32)
    row[place] = value
    with pytest.raises(NumericalError):
        Chain(params).sample(row)


@settings(max_examples=100, deadline=None)
@given(
    row=ox.logits(N_VOCAB, low=-3.4e38, high=3.4e38),
    history=histories,
    params=ox.sampling_params(n_vocab=N_VOCAB),
    penalty=st.floats(1e-300, 1e300),
    bias=st.floats(-1e300, 1e300),
)
def test_extreme_values_stay_a_distribution(
    row: Logits, history: tuple[list[int], list[int]], params: SamplingParams, penalty: float, bias: float
) -> None:
    extreme = params.replace(repetition_penalty=penalty, logit_bias={1: bias}, dry_multiplier=1e30, dry_base=1e30)
    try:
        found = Chain(extreme).probs(row, history)
    except InvalidRequestError:
        return
    assert found.sum(dtype=np.float64) == pytest.approx(1, abs=1e-5)
    assert (found >= 0).all()


@pytest.mark.parametrize("n_vocab", [1, 2, 63, 64, 65, 128, 129, 1000])
def test_vocabularies_of_every_shape(n_vocab: int) -> None:
    row = np.random.default_rng(n_vocab).normal(0, 2, n_vocab).astype(np.float32)
    for params in (
        SamplingParams(seed=1),
        SamplingParams(seed=1, top_k=5),
        SamplingParams(seed=1, top_k=n_vocab),
        SamplingParams(seed=1, top_p=0.7),
        SamplingParams(seed=1, temperature=0),
        SamplingParams(seed=1, typical_p=0.5),
    ):
        chain = Chain(params, n_vocab=n_vocab)
        expected = Reference(params, edited_logits(params, row, [], [], 0), 1, 0)
        np.testing.assert_allclose(chain.probs(row), expected.probs, rtol=2e-5, atol=1e-9)


@pytest.mark.parametrize("scale", [0.3, 2.0, 6.0])
@pytest.mark.parametrize(
    "params",
    [
        SamplingParams(top_k=40, top_p=0.95, temperature=0.8, seed=3),
        SamplingParams(top_k=3000, seed=3),
        SamplingParams(top_p=0.9, seed=3),
        SamplingParams(typical_p=0.9, seed=3),
        SamplingParams(min_p=0.05, seed=3),
        SamplingParams(top_n_sigma=1.0, seed=3),
        SamplingParams(mirostat=1, seed=3),
        SamplingParams(mirostat=2, seed=3),
    ],
)
def test_a_large_vocabulary_equals_the_reference(params: SamplingParams, scale: float) -> None:
    n_vocab = 20_011
    row = np.random.default_rng(5).normal(0, scale, n_vocab).astype(np.float32)
    expected = Reference(params, [float(x) for x in row], 3, 0, mu=9.0)
    found = Chain(params, n_vocab=n_vocab).probs(row, mu=9.0 if params.mirostat else None)
    both = (found > 0) & (expected.probs > 0)
    # Where logits lie this close, the token at the edge of a mass may be one or the other.
    assert np.count_nonzero((found > 0) ^ (expected.probs > 0)) <= (2 if expected.ambiguous else 0)
    np.testing.assert_allclose(found[both], expected.probs[both], rtol=2e-4 if expected.ambiguous else 2e-5)


@pytest.mark.parametrize("tail", [-9.0, -11.0, -14.0])
@pytest.mark.parametrize("banned", [[], [3]])
def test_top_p_where_the_head_holds_too_little_mass(tail: float, banned: list[int]) -> None:
    # Few tokens stand out, but the many far below them weigh something together.
    n_vocab = 20_011
    row = np.random.default_rng(6).normal(tail, 0.1, n_vocab).astype(np.float32)
    row[[5, 777, 15_000]] = [0.0, 0.5, -1.0]
    params = SamplingParams(top_p=0.95, seed=3, banned_tokens=banned)
    expected = Reference(params, edited_logits(params, row, [], [], 0), 3, 0)
    found = Chain(params, n_vocab=n_vocab).probs(row)
    assert np.count_nonzero((found > 0) ^ (expected.probs > 0)) <= (2 if expected.ambiguous else 0)
    assert found.sum(dtype=np.float64) == pytest.approx(1, abs=1e-5)


def test_equal_logits_everywhere() -> None:
    # Every token falls into one cell of the radix selection, and every block has the same maximum.
    row = np.full(10_000, 1.5, dtype=np.float32)
    assert np.flatnonzero(Chain(SamplingParams(top_k=7), n_vocab=10_000).probs(row)).tolist() == list(range(7))
    assert np.count_nonzero(Chain(SamplingParams(top_p=0.25), n_vocab=10_000).probs(row)) == 2500
    assert np.count_nonzero(Chain(SamplingParams(typical_p=0.25), n_vocab=10_000).probs(row)) == 2500


def test_misuse_of_the_memory_is_refused() -> None:
    memory = SamplerMemory(8, 4)
    chain = Chain(SamplingParams(dry_multiplier=1, dry_sequence_breakers=()), memory, n_vocab=8)
    row = np.zeros(8, dtype=np.float32)
    chain.sample(row, ([], [1, 1, 1, 1]))
    with pytest.raises(ValueError, match="history"):
        chain.sample(row, ([1], [1, 1, 1, 1]))
    with pytest.raises(ValueError, match="length"):
        chain.sample(np.zeros(9, dtype=np.float32))
    with pytest.raises(ValueError, match="mask has 2 words"):
        chain.sample(row, mask=np.zeros(2, dtype=np.uint32))
    with pytest.raises(ValueError, match="out has 9"):
        memory.probs(chain.compiled, row, ids([]), ids([]), np.zeros(9, np.float32), choice=0, position=0)
    with pytest.raises(InvalidRequestError, match="session"):
        Chain(SamplingParams(mirostat=2), memory, n_vocab=8).sample(row)
    with pytest.raises(TypeError, match="never initialised"):
        memory.sample(CompiledSampling.__new__(CompiledSampling), row, ids([]), ids([]), choice=0, position=0)
    for n_vocab, n_history in ((0, 1), (-1, 1), (2**19 + 1, 1), (4, -1)):
        with pytest.raises(MemoryError):
            SamplerMemory(n_vocab, n_history)


def test_tokens_outside_the_vocabulary_match_nothing() -> None:
    row = np.linspace(0, 1, 8, dtype=np.float32)
    params = SamplingParams(
        repetition_penalty=2, presence_penalty=1, dry_multiplier=1, dry_sequence_breakers=[[99]], min_tokens=9, seed=0
    )
    wide = params.replace(banned_tokens=[50], logit_bias={60: 1.0}, stop_token_ids=[70])
    compiled = wide.resolve(n_vocab=100)
    memory = SamplerMemory(8, 64)
    history = ids([8, -1, 2**31 - 1, 50, 8, -1])
    out = np.empty(8, dtype=np.float32)
    memory.probs(compiled, row, history, history, out, choice=0, position=0)
    np.testing.assert_array_equal(out, Chain(SamplingParams(seed=0), n_vocab=8).probs(row))


def test_a_mask_bans_what_it_does_not_allow() -> None:
    allowed = np.zeros(N_VOCAB, dtype=bool)
    allowed[[0, 31, 32, 64, 69]] = True
    found = Chain(SamplingParams()).probs(np.zeros(N_VOCAB, dtype=np.float32), mask=mask_words(allowed))
    np.testing.assert_allclose(found, allowed / 5, rtol=1e-6)
    with pytest.raises(InvalidRequestError, match="no token"):
        Chain(SamplingParams()).probs(np.zeros(N_VOCAB, dtype=np.float32), mask=mask_words(np.zeros(N_VOCAB, bool)))


def test_a_bias_cannot_bring_a_banned_token_back() -> None:
    row = np.zeros(N_VOCAB, dtype=np.float32)
    found = Chain(SamplingParams(banned_tokens=[4], logit_bias={4: 100.0, 5: -math.inf})).probs(row)
    assert np.flatnonzero(found == 0).tolist() == [4, 5]
    with pytest.raises(InvalidRequestError, match="no token"):
        Chain(SamplingParams(banned_tokens=range(N_VOCAB), logit_bias={4: 100.0})).probs(row)


# One stage at a time beside temperature: with several, the cut of one hides what another would have shown.
STAGES: list[dict[str, Any]] = [
    {},
    {"temperature": 0.0},
    {"temperature": 2.5},
    {"top_k": 3},
    {"top_p": 0.4},
    {"top_p": 0.999},
    {"top_k": 2, "top_p": 0.9},
    {"top_k": 1},
    {"min_p": 0.3},
    {"typical_p": 0.4},
    {"top_a": 0.5},
    {"top_n_sigma": 0.6},
    {"epsilon_cutoff": 0.1},
    {"eta_cutoff": 0.2},
    {"xtc_probability": 1.0, "xtc_threshold": 0.05},
    {"dynatemp_range": 0.99, "dynatemp_exponent": 5.0, "temperature": 1.0},
    {"mirostat": 1},
    {"mirostat": 2, "mirostat_tau": 2.0},
    {"repetition_penalty": 1.7},
    {"presence_penalty": 1.0, "frequency_penalty": 0.5},
    {"dry_multiplier": 2.0, "dry_allowed_length": 1, "dry_sequence_breakers": []},
    {"logit_bias": {3: 4.0, 5: -math.inf}},
    {"banned_tokens": [1, 2, 3]},
    {"ignore_eos": True},
    {"min_tokens": 3},
    {"logprobs": 4},
]


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: ",".join(stage) or "none")
@settings(max_examples=30, deadline=None)
@given(
    noise=st.integers(0, 2**32),
    spread=st.sampled_from([0.0, 0.5, 3.0]),
    share=st.sampled_from([0.02, 0.3, 0.9]),
    history=histories,
    position=st.integers(0, 5),
)
def test_a_mask_draws_what_bans_of_the_others_draw(
    stage: dict[str, Any], noise: int, spread: float, share: float, history: tuple[list[int], list[int]], position: int
) -> None:
    """However the mask is applied, before the draw or after it: the same token, mirostat's state and logprobs."""
    rng = np.random.default_rng(noise)
    row = (rng.normal(size=N_VOCAB) * spread).astype(np.float32)
    for seed in range(12):
        allowed = rng.random(N_VOCAB) < share
        params = SamplingParams(seed=seed, **({"temperature": 1.0} | stage))
        bans = [*params.banned_tokens, *(int(token) for token in np.flatnonzero(~allowed))]
        mu = 3.0 if params.mirostat else None
        try:
            expected = Chain(params.replace(banned_tokens=bans)).sample(row, history, position, mu=mu)
        except InvalidRequestError as error:
            with pytest.raises(InvalidRequestError, match=str(error)):
                Chain(params).sample(row, history, position, mu=mu, mask=mask_words(allowed))
            continue
        found = Chain(params).sample(row, history, position, mu=mu, mask=mask_words(allowed))
        assert repr(found) == repr(expected)


@settings(max_examples=60, deadline=None)
@given(
    noise=st.integers(0, 2**32), share=st.sampled_from([0.02, 0.3, 0.9]), temperature=st.sampled_from([0.2, 1.0, 3.0])
)
def test_banned_tokens_are_nothing_to_the_draw(noise: int, share: float, temperature: float) -> None:
    """What is drawn is the draw of those left alone, by themselves."""
    rng = np.random.default_rng(noise)
    row = (rng.normal(size=N_VOCAB) * 3).astype(np.float32)
    left = np.flatnonzero(rng.random(N_VOCAB) < share).astype(np.int32)
    assume(left.size)
    chain = Chain(SamplingParams(seed=7, temperature=temperature))
    allowed = np.zeros(N_VOCAB, dtype=bool)
    allowed[left] = True
    for position in range(5):
        expected = draw_token(left, row[left], temperature=temperature, seed=7, choice=0, position=position)
        assert chain.sample(row, position=position, mask=mask_words(allowed))[0] == expected
    weights = np.exp((row[left].astype(np.float64) - row[left].max()) / temperature)
    found = chain.probs(row, mask=mask_words(allowed))
    np.testing.assert_allclose(found[left], weights / weights.sum(), rtol=1e-4, atol=1e-7)
    assert not found[~allowed].any()
