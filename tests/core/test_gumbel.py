"""The draw by Gumbel-max: its noise, its first look at every level, and the promises of the rule itself."""

from __future__ import annotations

import itertools
import math
from decimal import Decimal, localcontext

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from oxillama import SamplingParams
from oxillama._core.network.kernels import usable_levels
from oxillama._core.sampling.gumbel import draw_token, first_look, gumbel
from oxillama._core.sampling.sampler import SamplerMemory
from tests.sampler_reference import drawn, gumbel_noise, natural_log, scores, token_words

Logits = NDArray[np.float32]
Ids = NDArray[np.int32]

levels = pytest.mark.parametrize("level", usable_levels())
EDGES = [0, 1, 2, 2**32, 2**62 - 1, 2**62, 2**63 - 1, 2**63, 2**64 - 2**11, 2**64 - 2, 2**64 - 1]
seeds = st.integers(0, 2**64 - 1)
counters = st.integers(0, 2**32 - 1)
temperatures = st.sampled_from([1e-5, 0.05, 0.7, 1.0, 1.5, 40.0, 1e7])
values = st.floats(-30, 30, width=32) | st.sampled_from([0.0, -0.0, 3.4e38, -3.4e38, 1e30, -1e-40])


def everyone(n: int) -> Ids:
    return np.arange(n, dtype=np.int32)


def draw(
    ids: Ids, x: Logits, *, temperature: float = 1.0, seed: int = 5, choice: int = 0, position: int = 0,
    level: str | None = None,
) -> int:  # fmt: skip
    return draw_token(
        ids, x, temperature=temperature, seed=seed, choice=choice, position=position, level=level
    )  # fmt: skip


def softmax(x: Logits, temperature: float = 1.0) -> NDArray[np.float64]:
    weights = np.exp((x.astype(np.float64) - x.max()) / temperature)
    shares: NDArray[np.float64] = weights / weights.sum()
    return shares


def check_frequencies(tokens: list[int], probs: NDArray[np.float64]) -> None:
    """Chi-square against the distribution; the limit is five standard deviations above the mean."""
    expected = probs * len(tokens)
    statistic = float(((np.bincount(tokens, minlength=probs.size) - expected) ** 2 / expected).sum())
    freedom = probs.size - 1
    assert statistic < freedom + 5 * math.sqrt(2 * freedom) + 5


# --- the noise ---


@pytest.mark.parametrize("bits", [*EDGES, *(int(x) for x in np.random.default_rng(1).integers(0, 2**63, 40))])
def test_the_noise_has_the_error_it_promises(bits: int) -> None:
    with localcontext() as context:
        context.prec = 60
        share = (Decimal(bits) + Decimal("0.5")) / Decimal(2**64)
        exact = -(-(1 - share).ln()).ln()
        assert abs(Decimal(gumbel(bits)) - exact) < Decimal(2) ** -44
    assert -3.82 < gumbel(bits) < 45.06


def test_the_noise_falls_as_the_bits_rise() -> None:
    bits = sorted({*EDGES, *range(2**62 - 2**12, 2**62 + 2**12, 64), *(2**k for k in range(64))})
    noise = [gumbel(x) for x in bits]
    assert all(a >= b for a, b in itertools.pairwise(noise))


def test_the_noise_has_the_same_bits_as_the_reference() -> None:
    bits = np.random.default_rng(2).integers(0, 2**64, 20_000, dtype=np.uint64, endpoint=False)
    bits = np.concatenate([bits, bits >> np.uint64(40), ~(bits >> np.uint64(50)), np.array(EDGES, np.uint64)])
    expected = gumbel_noise(bits)
    assert [gumbel(int(x)) for x in bits] == expected.tolist()
    np.testing.assert_allclose(
        natural_log(np.array([1e-300, 0.5, 1.0, 3.0])), np.log([1e-300, 0.5, 1.0, 3.0]), atol=1e-12
    )


# --- the first look ---


@levels
@settings(max_examples=60, deadline=None)
@given(
    row=st.lists(values, min_size=64, max_size=64), block=st.integers(0, 2**13 - 1), temperature=temperatures,
    seed=seeds, choice=counters, position=counters, rank=st.integers(0, 63),
)  # fmt: skip
def test_the_first_look_leaves_out_nobody_who_may_win(
    level: str, row: list[float], block: int, temperature: float, seed: int, choice: int, position: int, rank: int
) -> None:
    x = np.array(row, dtype=np.float32)
    tokens = np.arange(64 * block, 64 * block + 64)
    place = {"seed": seed, "choice": choice, "position": position}
    best = float(x.max())
    # Scores as the core counts them, from the greatest logit.
    top = int(np.rint(float(x.max()) / temperature * 2.0**32))
    found = [score - top for score in scores(tokens, x, temperature, **place)]
    limit = max(sorted(found)[rank], -(2**38))
    words = np.empty(64, dtype=np.uint32)
    above = first_look(
        x, words, block=block, best=best, temperature=temperature, score=limit, level=level, **place
    )  # fmt: skip
    np.testing.assert_array_equal(words, token_words(tokens, seed, choice, position, 2))
    assert all(above >> i & 1 for i in range(64) if found[i] >= limit)


@levels
def test_the_first_look_spares_nearly_everybody(level: str) -> None:
    # With every score but the highest exceeded, few are left: the bound is within a tenth of the noise.
    words = np.empty(64, dtype=np.uint32)
    n_above = 0
    for block in range(200):
        tokens = np.arange(64 * block, 64 * block + 64)
        best = max(scores(tokens, np.zeros(64, np.float32), 1.0, 5, 0, 0))
        above = first_look(
            np.zeros(64, np.float32), words, block=block, best=0.0, temperature=1.0, seed=5, choice=0, position=0,
            score=best, level=level,
        )  # fmt: skip
        n_above += above.bit_count()
    assert 200 <= n_above < 250


# --- the rule ---


@levels
@settings(max_examples=60, deadline=None)
@given(data=st.data(), temperature=temperatures, seed=seeds, choice=counters, position=counters)
def test_a_draw_equals_the_reference_in_any_order_of_candidates(
    level: str, data: st.DataObject, temperature: float, seed: int, choice: int, position: int
) -> None:
    spread = data.draw(st.sampled_from([64, 200, 5000, 500_000]))
    ids = np.array(sorted(data.draw(st.sets(st.integers(0, spread - 1), min_size=1, max_size=64))), dtype=np.int32)
    x = np.array(data.draw(st.lists(values, min_size=ids.size, max_size=ids.size)), dtype=np.float32)
    place = {"temperature": temperature, "seed": seed, "choice": choice, "position": position}
    token = draw(ids, x, level=level, **place)  # type: ignore[arg-type]
    assert token == drawn(ids.astype(np.int64), x, **place)  # type: ignore[arg-type]
    order = np.array(data.draw(st.permutations(range(ids.size))))
    assert draw(ids[order], x[order], level=level, **place) == token  # type: ignore[arg-type]


@settings(max_examples=100, deadline=None)
@given(data=st.data(), row=st.lists(values, min_size=2, max_size=80), temperature=temperatures, seed=seeds)
def test_removing_losers_changes_no_winner(
    data: st.DataObject, row: list[float], temperature: float, seed: int
) -> None:
    ids, x = everyone(len(row)), np.array(row, dtype=np.float32)
    token = draw(ids, x, temperature=temperature, seed=seed)
    stays = np.array(data.draw(st.lists(st.booleans(), min_size=ids.size, max_size=ids.size)))
    stays[token] = True
    assert draw(ids[stays], x[stays], temperature=temperature, seed=seed) == token


@settings(max_examples=100, deadline=None)
@given(
    quarters=st.lists(st.integers(-100, 100), min_size=2, max_size=80), shift=st.integers(-4000, 4000),
    temperature=st.sampled_from([0.5, 1.0, 4.0]), seed=seeds,
)  # fmt: skip
def test_a_constant_added_to_exact_logits_changes_nothing(
    quarters: list[int], shift: int, temperature: float, seed: int
) -> None:
    x = np.array(quarters, dtype=np.float32) / np.float32(4)
    ids = everyone(x.size)
    moved = draw(ids, x + np.float32(shift / 4), temperature=temperature, seed=seed)
    assert moved == draw(ids, x, temperature=temperature, seed=seed)


def test_a_constant_added_to_any_logits_only_changes_near_ties() -> None:
    rng = np.random.default_rng(3)
    changed = 0
    for seed in range(500):
        x = rng.normal(0, 2, 50).astype(np.float32)
        shifted = x + np.float32(1000.3)
        # The sum is rounded to a multiple of 2^-14, the division of either to one of 2^-32.
        best, second = sorted(scores(np.arange(50), x, 0.7, seed, 0, 0))[:-3:-1]
        if best - second > (2.0**-14 / 0.7 + 2.0**-31) * 2**32:
            place = {"temperature": 0.7, "seed": seed}
            assert draw(everyone(50), shifted, **place) == draw(everyone(50), x, **place)  # type: ignore[arg-type]
        else:
            changed += 1
    assert changed < 5


def test_a_tie_goes_to_the_lower_id() -> None:
    # Logits that make up for the difference in noise, where that is short enough for a float32.
    seen: set[bool | None] = set()
    for seed in range(4000):
        noise = scores(np.arange(3), np.zeros(3, np.float32), 1.0, seed, 0, 0)
        lead = noise[0] - noise[1]
        if abs(lead) < 2**24:
            x = np.array([0.0, lead / 2**32], dtype=np.float32)
            assert draw(everyone(2), x, seed=seed) == 0
            assert draw(everyone(2)[::-1].copy(), x[::-1].copy(), seed=seed) == 0
            seen.add(lead > 0)
            # A third that loses must not disturb the tie, though it has the best logit, which the others are far from.
            for third in np.array([0.03, 0.1, 0.3, 0.37, 0.7, 0.9, 1.1], dtype=np.float32):
                if noise[2] + float(third) * 2**32 < noise[0]:
                    assert draw(everyone(3), np.append(x, third), seed=seed) == 0
                    seen.add(None)
    assert seen == {False, True, None}


# --- the distribution ---


@pytest.mark.parametrize("temperature", [0.3, 1.0, 3.0])
@pytest.mark.parametrize(
    "row",
    [
        [0.0, 0.0],
        [2.0, -1.0],
        [0.0] * 20,
        [float(np.log(i + 1)) for i in range(12)],
        [5.0, 4.0, 3.0, 2.0, 1.0, 0.0],
        [100.0, 100.5, 99.0, 101.0],
    ],
)
def test_frequencies(row: list[float], temperature: float) -> None:
    x = np.array(row, dtype=np.float32)
    probs = softmax(x, temperature)
    seen = probs > 1e-4
    draws = [draw(everyone(x.size), x, temperature=temperature, position=i) for i in range(20_000)]
    merged = [token for token in draws if seen[token]]
    assert len(draws) - len(merged) <= 5 + 20_000 * 5 * probs[~seen].sum()
    places = np.cumsum(seen) - 1
    check_frequencies([int(places[token]) for token in merged], probs[seen] / probs[seen].sum())


@pytest.mark.parametrize("along", ["seed", "choice", "position"])
def test_a_flat_row_of_a_whole_vocabulary_is_drawn_evenly(along: str) -> None:
    n_vocab = 128_256
    x = np.zeros(n_vocab, dtype=np.float32)
    memory = SamplerMemory(n_vocab, 0)
    nothing = np.empty(0, dtype=np.int32)
    tokens = []
    for i in range(3000):
        compiled = SamplingParams(seed=77 + (i if along == "seed" else 0)).resolve(n_vocab=n_vocab)
        choice, position = (i if along == "choice" else 0), (i if along == "position" else 0)
        tokens.append(memory.sample(compiled, x, nothing, nothing, choice=choice, position=position)[0])
    # The high part of the id, and where it lies in its block of random words.
    for parts, n in (([t * 64 // n_vocab for t in tokens], 64), ([t % 64 for t in tokens], 64)):
        check_frequencies(parts, np.full(n, 1 / n))


def test_rare_tokens_come_as_often_as_they_should() -> None:
    # 5000 tokens ten nats down weigh e^-10 each, 0.185 together; none of them may be favoured or forgotten.
    x = np.full(5001, -10.0, dtype=np.float32)
    x[17] = 0.0
    share = 1 - softmax(x)[17]
    n = 4000
    rare = [t for t in (draw(everyone(5001), x, position=i) for i in range(n)) if t != 17]
    assert abs(len(rare) - n * share) < 5 * math.sqrt(n * share)
    check_frequencies([t % 4 for t in rare], np.full(4, 0.25))


def test_tiny_and_huge_temperatures() -> None:
    x = np.array([0.0, 0.001, -3.0, 0.0005], dtype=np.float32)
    assert {draw(everyone(4), x, temperature=1e-5, position=i) for i in range(200)} == {1}
    check_frequencies([draw(everyone(4), x, temperature=1e7, position=i) for i in range(8000)], np.full(4, 0.25))
    wild = np.array([3.4e38, -3.4e38, 3.3e38], dtype=np.float32)
    for temperature in (1e-5, 1.0, 1e7):
        assert {draw(everyone(3), wild, temperature=temperature, position=i) for i in range(50)} == {0}
    assert {draw(everyone(2), wild[1:], temperature=1e-5, position=i) for i in range(50)} == {1}


# --- close distributions ---


@pytest.mark.parametrize(("spread", "better"), [(0.1, 0.005), (0.3, 0.01), (1.0, 0.01)])
def test_close_distributions_draw_the_same_token(spread: float, better: float) -> None:
    """(1 - TV) / (1 + TV) is what this coupling promises (M. Daliri et al., arXiv:2408.07978), 1 - TV the most that any
    could; a draw by the inverse of the distribution function with one shared number agrees less often."""
    rng = np.random.default_rng(8)
    n, n_vocab = 6000, 300
    promised = agreed = agreed_inverse = 0.0
    for i in range(n):
        x = (rng.standard_t(3, n_vocab) * 1.5).astype(np.float32)
        y = (x + rng.normal(0, spread, n_vocab)).astype(np.float32)
        p, q = softmax(x), softmax(y)
        distance = 0.5 * float(np.abs(p - q).sum())
        promised += (1 - distance) / (1 + distance)
        agreed += draw(everyone(n_vocab), x, position=i) == draw(everyone(n_vocab), y, position=i)
        point = rng.random()
        agreed_inverse += int(np.searchsorted(p.cumsum(), point)) == int(np.searchsorted(q.cumsum(), point))
    noise = 3 * math.sqrt(n) / 2
    assert agreed >= promised - noise
    assert agreed >= agreed_inverse + better * n - noise / 3


def test_choices_are_independent() -> None:
    x = np.array([1.0, 0.0, 0.5, -1.0], dtype=np.float32)
    n = 20_000
    pairs = [
        4 * draw(everyone(4), x, position=i, choice=0) + draw(everyone(4), x, position=i, choice=1) for i in range(n)
    ]
    p = softmax(x)
    check_frequencies(pairs, np.outer(p, p).ravel())


# --- whole rows ---


def rows_of(n_vocab: int) -> dict[str, Logits]:
    rng = np.random.default_rng(4)
    flat = rng.normal(0, 2, n_vocab).astype(np.float32)
    peaked = flat.copy()
    peaked[rng.integers(0, n_vocab, 50)] = rng.uniform(8, 20, 50).astype(np.float32)
    steep = np.linspace(-3e5, 0, n_vocab, dtype=np.float32)
    return {"flat": flat, "peaked": peaked, "ascending": np.sort(flat), "steep": steep, "zero": np.zeros_like(flat)}


@pytest.mark.parametrize("n_vocab", [1, 63, 64, 65, 1000, 128_256])
def test_a_whole_row_is_drawn_alike_at_every_level_and_equals_the_reference(n_vocab: int) -> None:
    memories = [SamplerMemory(n_vocab, 0, level=level) for level in usable_levels()]
    nothing = np.empty(0, dtype=np.int32)
    for temperature in (0.2, 1.0, 2.5):
        compiled = SamplingParams(seed=12, temperature=temperature).resolve(n_vocab=n_vocab)
        for x in rows_of(n_vocab).values():
            for position in range(3 if n_vocab < 2000 else 1):
                expected = drawn(np.arange(n_vocab), x, temperature, 12, 1, position)
                found = {
                    memory.sample(compiled, x, nothing, nothing, choice=1, position=position)[0] for memory in memories
                }
                assert found == {expected}


def test_a_list_of_candidates_is_drawn_like_the_whole_row() -> None:
    x = rows_of(20_000)["flat"]
    memory = SamplerMemory(x.size, 0)
    nothing = np.empty(0, dtype=np.int32)
    banned = [3, 7000, 19_999]
    plain = SamplingParams(seed=2).resolve(n_vocab=x.size)
    without = SamplingParams(seed=2, banned_tokens=banned).resolve(n_vocab=x.size)
    for position in range(200):
        token = memory.sample(plain, x, nothing, nothing, choice=0, position=position)[0]
        assert token not in banned  # of 200 draws from so many, with this seed
        assert memory.sample(without, x, nothing, nothing, choice=0, position=position)[0] == token


def test_what_a_seed_gives() -> None:
    # Recorded: a change here changes the text of every seeded request.
    x = np.round(np.random.default_rng(0).normal(0, 2, 1000), 2).astype(np.float32)
    recorded = [168, 74, 270, 662, 219, 219, 435, 933, 6, 7, 995, 955]
    assert [draw(everyone(1000), x, temperature=0.8, seed=42, position=i) for i in range(12)] == recorded
