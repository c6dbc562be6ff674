"""Recurrent and hybrid families on tiny files: against llama.cpp, exact in any company, and what they refuse."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oxillama import Engine, ModelLoadError, UnsupportedModelError, cpu_info
from oxillama._core.network.program import Program
from oxillama.config import CacheConfig, SchedulerConfig
from oxillama.gguf import GGUFFile
from oxillama.network.loader import load_model
from tests.conftest import fixtures_folder
from tests.levels import check_at, other_levels
from tests.network.models.hybrids import HYBRIDS, N_VOCAB, PROMPT, RECORDED, Hybrid, write
from tests.schedules import interleaved

Array = npt.NDArray[np.float32]
REFERENCE = json.loads((Path(__file__).parents[2] / "data" / "hybrids.json").read_text())["logits"]
# Of these the recorded files are run, where there are any.
FILES = ["qwen35", "kimi-linear", "mamba2", "lfm2", "nemotron_h_moe", "rwkv/rwkv6", "rwkv/rwkv7"]
EXAMPLES = 6 if cpu_info().isa != "reference" else 2
MOST_ROWS = 40  # of a step, so that each may become logits


@contextmanager
def opened(name: str, **options: Any) -> Iterator[Engine]:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.gguf"
        write(HYBRIDS[name], path)
        with Engine(path, progress=False, **options) as engine:
            yield engine


@pytest.mark.parametrize("name", HYBRIDS)
def test_logits_are_those_of_llama_cpp(name: str) -> None:
    with opened(name, kv_dtype="f32") as engine:
        found = engine.logits(PROMPT)[RECORDED]
    np.testing.assert_allclose(found, np.array(REFERENCE[name]), atol=2e-4)


def load(path: Path, n_threads: int) -> Program:
    with GGUFFile(path) as file:
        return load_model(
            path,
            cache=CacheConfig(kv_dtype="f16", kv_cache_tokens=1024),
            scheduler=SchedulerConfig(max_batch_size=8, max_batch_tokens=64),
            n_threads=n_threads,
            progress=False,
            file=file,
        ).program


@cache
def programs(name: str) -> tuple[Program, Program]:
    """The same network for one thread and for two."""
    if name in FILES:
        path = fixtures_folder() / "arch" / f"{name}.gguf"
        if not path.is_file():
            pytest.skip("no conformance fixtures")
        return load(path, 1), load(path, 2)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.gguf"
        write(HYBRIDS[name], path)
        return load(path, 1), load(path, 2)


def compute(program: Program, sequences: list[list[int]], steps: list[dict[int, int]], slots: list[int]) -> list[Array]:
    """The logits of all tokens, by a plan that says how many tokens of which sequence a step computes."""
    done = [0] * len(sequences)
    rows: list[list[Array]] = [[] for _ in sequences]
    for step in steps:
        tokens: list[int] = []
        runs: list[Any] = []
        for i, n in step.items():
            tokens += sequences[i][done[i] : done[i] + n]
            blocks = np.arange(4 * slots[i], 4 * slots[i] + 4, dtype=np.int32)
            runs.append((n, done[i], blocks, slots[i]))
            done[i] += n
        found = program.forward(np.array(tokens, np.int32), runs, np.arange(len(tokens), dtype=np.int32))
        for (i, _), part in zip(step.items(), np.split(found, np.cumsum(list(step.values()))[:-1]), strict=True):
            rows[i].append(part)
    return [np.concatenate(part) for part in rows]


@st.composite
def plans(draw: st.DrawFn, n_vocab: int) -> tuple[list[list[int]], list[dict[int, int]], list[int]]:
    """Sequences, steps that compute them in chunks, and the slots of their states."""
    sequences, steps = draw(interleaved(n_vocab, longest=50, most=4, max_rows=MOST_ROWS))
    return sequences, steps, draw(st.permutations(range(8)))


@pytest.mark.parametrize("name", [*HYBRIDS, *FILES])
@settings(max_examples=EXAMPLES, deadline=None)
@given(data=st.data())
def test_batches_chunks_slots_and_threads_change_no_bit(name: str, data: st.DataObject) -> None:
    one, two = programs(name)
    sequences, steps, slots = data.draw(plans(one.n_vocab))
    alone = []
    for sequence in sequences:
        # A slot and blocks that others have used, and whose state must not be seen.
        cuts = [min(MOST_ROWS, len(sequence) - first) for first in range(0, len(sequence), MOST_ROWS)]
        alone.append(compute(one, [sequence], [{0: n} for n in cuts], [0])[0])
    for program in (one, two):
        for found, expected in zip(compute(program, sequences, steps, slots), alone, strict=True):
            assert np.isfinite(expected).all()
            np.testing.assert_array_equal(found.view(np.uint32), expected.view(np.uint32))


@pytest.mark.parametrize("name", ["falcon-mamba", "qwen3next", "falcon-h1", "lfm2moe"])
def test_in_a_crowd_with_preemption_a_request_writes_what_it_writes_alone(name: str) -> None:
    prompts = [[(5 * i + 11 * k + k * k) % N_VOCAB for i in range(30 + 7 * k)] for k in range(6)]
    with opened(name, n_threads=1) as engine:
        alone = [engine.generate(prompt, max_tokens=60, temperature=0).token_ids for prompt in prompts]
    # Room for about two of them, so that somebody begins anew all the time.
    with opened(name, n_threads=2, n_ctx=128, kv_cache_tokens=256) as engine:
        crowd = engine.generate_batch(prompts, max_tokens=60, temperature=0)
        assert engine.stats().preemptions > 0
    assert [completion.token_ids for completion in crowd] == alone


def test_a_draft_head_is_left_out(tmp_path: Path) -> None:
    trunk = HYBRIDS["qwen3next"]
    n = trunk.keys["block_count"]
    head = {f"blk.{n}.nextn.eh_proj.weight": (128, 64), f"blk.{n}.attn_norm.weight": (64,)}
    keys = trunk.keys | {"block_count": n + 1, "nextn_predict_layers": 1}
    write(Hybrid(trunk.architecture, keys, trunk.shapes | head), tmp_path / "model.gguf")
    with Engine(tmp_path / "model.gguf", kv_dtype="f32", progress=False) as engine:
        np.testing.assert_allclose(engine.logits(PROMPT)[RECORDED], np.array(REFERENCE["qwen3next"]), atol=2e-4)


def refusal(hybrid: Hybrid, **changes: Any) -> str | None:
    """Why a file with these keys is not loaded, if it is not."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.gguf"
        write(hybrid, path, **changes)
        try:
            load(path, 1)
        except (ModelLoadError, UnsupportedModelError) as error:
            return str(error)
    return None


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("falcon-mamba", {"attention__head_count": 4}, "mamba.attention.head_count is 4, expected 0"),
        ("falcon-mamba", {"ssm__conv_kernel": 17}, "mamba.ssm.conv_kernel is 17, expected an integer from 1 to 16"),
        ("falcon-h1", {"ssm__group_count": 3}, "falcon-h1.ssm.group_count 3: expected each to be a multiple"),
        ("jamba", {"attention__head_count": 0}, "jamba.attention.head_count is 0"),
        ("jamba", {"attention__head_count_kv": [0, 3, 0]}, "expected a multiple of jamba.attention.head_count_kv, 3"),
        ("lfm2moe", {"expert_gating_func": 7}, "lfm2moe.expert_gating_func is 7"),
        ("lfm2moe", {"decision_block_count": 2}, "lfm2moe.decision_block_count is 2"),
        ("qwen3next", {"ssm__inner_size": 128}, "qwen3next.ssm.inner_size is 128, expected 4 heads of 16 values"),
        ("qwen3next", {"ssm__group_count": 3}, "expected a multiple of qwen3next.ssm.group_count, 3"),
        ("qwen3next", {"attention__recurrent_layers": [True]}, "has 1 values, expected one for each of 4 layers"),
        ("granitehybrid", {"ssm__state_size": 17}, "'blk.0.ssm_in.weight' has shape"),
    ],
)
def test_what_is_not_built_or_senseless_is_named(name: str, changes: dict[str, Any], message: str) -> None:
    assert message in (refusal(HYBRIDS[name], **changes) or "")


ABSURD = [0, -1, 3, 2**31 - 1, 2**40, float("nan"), "text", [2**31 - 1] * 4]


@pytest.mark.skipif("OXILLAMA_ISA" in os.environ, reason="the same at every level")
@pytest.mark.parametrize("name", HYBRIDS)
def test_absurd_keys_are_errors_of_the_tree_or_sound(name: str) -> None:
    hybrid = HYBRIDS[name]
    for key in hybrid.keys:
        for value in (None, *ABSURD):
            reason = refusal(hybrid, **{key.replace(".", "__"): value})
            assert reason is None or len(reason) > 10


@pytest.mark.parametrize("level", other_levels())
def test_every_other_level(level: str) -> None:
    check_at(level, __file__)
