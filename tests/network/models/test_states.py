"""What recurrent families write depends on nothing that happens to their states: snapshots and hits, preemption, drafts
that are refused, chunks, company, threads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oxillama import Engine, cpu_info, lifecycle
from oxillama._core.testing.drafter_harness import draft_counts
from oxillama.network import memory_plan
from oxillama.network import operations as op
from oxillama.network.graph import Graph, Value
from oxillama.network.models import ARCHITECTURES
from oxillama.network.models.common import Common
from oxillama.network.models.decoder import Building, Decoder, Layer
from oxillama.network.models.hyperparameters import Hyperparameters
from oxillama.network.recurrence import delta_rule
from tests.conftest import fixtures_folder
from tests.drafting import drafting, facts
from tests.levels import check_at, other_levels
from tests.network.models import hybrids
from tests.network.models.hybrids import HYBRIDS, N_FF, RMS, WIDTH, Hybrid, common, linear, norm, write
from tests.network.running import Network

Array = npt.NDArray[Any]
# Scan, delta rule, sum with a decay beside attention, RWKV-6 and its token shift, short convolution, and a toy.
MADE = ["falcon-mamba", "qwen3next", "falcon-h1", "rwkv6-old", "lfm2moe", "running-mean"]
FILES = ["kimi-linear", "rwkv/rwkv7"]  # delta rule by key, paired rule
EXAMPLES = 20 if cpu_info().isa != "reference" else 2
N_CTX = 256


def mean_so_far(graph: Graph, x: Value, block: str) -> Value:
    """S = S + (x - S) / n, which is a delta rule with one key."""
    rate, one = (
        op.embed_position(graph, f"{block}.{name}", n_positions=N_CTX, width=1) for name in ("mean_rate", "mean_one")
    )
    return delta_rule(graph, one, one, x, one, rate, n_heads=1, n_key_heads=1)


@dataclass(frozen=True)
class RunningMean:
    """The mean of a projection of all tokens so far: a toy that needs no code of its own in the core."""

    def build(self, building: Building, x: Value) -> Value:
        values = op.linear(building.graph, x, f"{building.block}.mean_value", width=x.width)
        return mean_so_far(building.graph, values, building.block)


def running_mean(hp: Hyperparameters, graph: Graph) -> Decoder:
    sizes = Common.read(hp, graph, layout=None)
    return sizes.decoder([Layer(RunningMean(), None)] * sizes.n_layers)


def running_mean_file() -> Hybrid:
    keys = RMS | {"attention.head_count": 4, "feed_forward_length": N_FF, "context_length": N_CTX}
    layer = norm("attn_norm") | linear("mean_value", WIDTH, WIDTH)
    layer |= {f"mean_{name}.weight": (1, N_CTX) for name in ("rate", "one")}
    return common("running-mean", keys, [layer] * 2)


def values(name: str, shape: tuple[int, ...], random: np.random.Generator) -> npt.NDArray[np.float32]:
    if name.endswith("mean_rate.weight"):
        return np.reciprocal(np.arange(1, N_CTX + 1, dtype=np.float32)).reshape(-1, 1)
    if name.endswith("mean_one.weight"):
        return np.ones((N_CTX, 1), np.float32)
    return GAUSSIAN(name, shape, random)


GAUSSIAN = hybrids.values


def test_the_toy_is_a_mean() -> None:
    table = np.random.default_rng(3).standard_normal((50, 20)).astype(np.float32)
    rates = {"b.mean_rate.weight": 1 / np.arange(1, N_CTX + 1)[:, None], "b.mean_one.weight": np.ones((N_CTX, 1))}

    def describe(graph: Graph) -> None:
        x = op.embed(graph, "embedding", n_vocab=50, width=20)
        graph.output(op.hidden(graph, op.select(graph, mean_so_far(graph, x, "b"))))

    tokens = [(7 * i + i * i) % 20 for i in range(40)]
    found = Network({"embedding.weight": table, **rates}, describe).run(tokens)[0]
    expected = np.cumsum(table[tokens].astype(np.float64), axis=0) / np.arange(1, 41)[:, None]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@contextmanager
def frequent_snapshots() -> Iterator[None]:
    patch = pytest.MonkeyPatch()
    for module in (lifecycle, memory_plan):
        patch.setattr(module, "SNAPSHOT_TOKENS", 64)
    patch.setattr(hybrids, "values", values)
    patch.setitem(ARCHITECTURES, "running-mean", running_mean)
    try:
        yield
    finally:
        patch.undo()


@cache
def engine(name: str, **options: Any) -> Engine:
    options = {"n_ctx": N_CTX, "max_batch_size": 4, "progress": False} | options
    with frequent_snapshots(), TemporaryDirectory() as folder:
        path = Path(folder) / "model.gguf"
        if name in FILES:
            path = fixtures_folder() / "arch" / f"{name}.gguf"
            if not path.is_file():
                pytest.skip("no conformance fixtures")
        else:
            write(running_mean_file() if name == "running-mean" else HYBRIDS[name], path)
        return Engine(path, **options)


def tokens(seed: int, n: int, n_vocab: int) -> list[int]:
    return [int(token) for token in np.random.default_rng(seed).integers(0, n_vocab, n)]


prompts = st.tuples(st.integers(0, 2), st.sampled_from([0, 31, 64, 65, 100, 140]), st.integers(1, 50))
chains = st.fixed_dictionaries(
    {
        "temperature": st.sampled_from([0.0, 0.7, 1.3]),
        "seed": st.integers(0, 9),
        "max_tokens": st.sampled_from([1, 5, 40, 60]),
    },
    optional={"repetition_penalty": st.just(1.2), "logprobs": st.just(1), "prompt_logprobs": st.just(0)},
)


@pytest.mark.parametrize("name", [*MADE, *FILES])
@settings(max_examples=EXAMPLES, deadline=None)
@given(
    waves=st.lists(st.lists(st.tuples(prompts, chains), min_size=1, max_size=5), min_size=1, max_size=3),
    lie=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    seed=st.integers(0, 2**32),
    n_threads=st.sampled_from([1, 2]),
    kv_cache_tokens=st.sampled_from([320, 4096]),
    max_batch_tokens=st.sampled_from([7, 48, 512]),
)
def test_nothing_that_happens_to_a_state_changes_a_bit(
    name: str,
    waves: list[list[tuple[tuple[int, int, int], dict[str, Any]]]],
    lie: float,
    seed: int,
    n_threads: int,
    kv_cache_tokens: int,
    max_batch_tokens: int,
) -> None:
    """Prompts with common beginnings, in waves, against each alone in an engine without a prefix cache."""
    alone = engine(name, n_threads=1, prefix_cache=False)
    crowd = engine(name, n_threads=n_threads, kv_cache_tokens=kv_cache_tokens, max_batch_tokens=max_batch_tokens)
    for wave in waves:
        requests = []
        for (text, n_common, n_own), options in wave:
            prompt = tokens(text, n_common, alone.n_vocab) + tokens(n_own + 7 * text, n_own, alone.n_vocab)
            requests.append((prompt, {"ignore_eos": True, **options}))
        expected = [alone.generate(prompt, **options) for prompt, options in requests]
        answers = [list(completion.token_ids) for completion in expected]
        with drafting(answers, lie=lie, seed=seed):
            running = [crowd.submit(prompt, **options) for prompt, options in requests]
            found = [request.result() for request in running]
        assert [facts(completion) for completion in found] == [facts(completion) for completion in expected]
        for completion, other in zip(found, expected, strict=True):
            assert repr(completion.prompt_logprobs) == repr(other.prompt_logprobs)


@pytest.mark.parametrize("name", MADE)
def test_a_prompt_that_was_seen_goes_on_from_its_last_snapshot(name: str) -> None:
    cached, fresh = engine(name, n_threads=1), engine(name, n_threads=1, prefix_cache=False)
    prompt = tokens(11, 150, cached.n_vocab)
    first = cached.generate(prompt, max_tokens=40, temperature=0.8, seed=4, ignore_eos=True)
    again = cached.generate(prompt, max_tokens=40, temperature=0.8, seed=4, ignore_eos=True)
    alone = fresh.generate(prompt, max_tokens=40, temperature=0.8, seed=4, ignore_eos=True)
    assert (first.usage.cached_tokens, again.usage.cached_tokens) == (0, 128)
    assert again.token_ids == first.token_ids == alone.token_ids
    # The next turn of the talk.
    talk = prompt + list(first.token_ids) + tokens(12, 20, cached.n_vocab)
    answer = cached.generate(talk, max_tokens=8, temperature=0)
    assert answer.usage.cached_tokens == 160
    assert answer.token_ids == fresh.generate(talk, max_tokens=8, temperature=0).token_ids
    assert cached.stats().state_snapshots >= 4


@pytest.mark.parametrize("name", MADE)
def test_right_drafts_save_steps_where_there_is_a_state(name: str) -> None:
    one = engine(name, n_threads=1)
    options: dict[str, Any] = {"max_tokens": 60, "temperature": 0.8, "seed": 5, "ignore_eos": True}
    prompt = tokens(5, 20, one.n_vocab)
    expected = one.generate(prompt, cache_prompt=False, **options)
    before = one.stats().steps
    with drafting([list(expected.token_ids)], seed=3) as handles:
        found = one.generate(prompt, cache_prompt=False, **options)
    n_accepted, n_rejected = draft_counts(handles[0])
    assert facts(found) == facts(expected)
    assert one.stats().steps - before == 60 - n_accepted
    assert n_accepted > 30
    assert n_rejected <= 1


def test_without_room_for_snapshots_nothing_is_cached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_plan, "SNAPSHOT_SHARE", 10**12)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.gguf"
        write(HYBRIDS["lfm2moe"], path)
        with Engine(path, progress=False) as one:
            prompt = tokens(1, 80, one.n_vocab)
            answers = [one.generate(prompt, max_tokens=4, temperature=0) for _ in range(2)]
    assert [answer.usage.cached_tokens for answer in answers] == [0, 0]
    assert answers[0].token_ids == answers[1].token_ids


@pytest.mark.parametrize("level", other_levels())
def test_every_other_level(level: str) -> None:
    check_at(level, __file__)
