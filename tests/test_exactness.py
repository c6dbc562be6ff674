"""The contract: a sequence's numbers never depend on what else runs, on how its prompt is cut, or on threads.

Every comparison here is of bits."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oxillama import cpu_info
from oxillama._core.network.program import Program
from oxillama.config import CacheConfig, SchedulerConfig
from oxillama.demo import demo_path
from oxillama.gguf import GGUFFile
from oxillama.network.loader import load_model
from oxillama.testing.described_models import DescribedModel
from oxillama.testing.tiny_models import TinyModel
from tests.levels import check_at, other_levels
from tests.network.models.described import MODELS
from tests.network.models.described_dense import DENSE, IN_COMPANY
from tests.schedules import interleaved

BLOCK = 32
N_BLOCKS = 48  # so few that windowed stores have as many as others
MAX_TOKENS = 96
# The scalar level is slow, and one example is as good as another there.
EXAMPLES = 12 if cpu_info().isa != "reference" else 4

SHAPES: dict[str, TinyModel | DescribedModel] = {
    "f32": TinyModel(n_embd=48, n_ff=80, head_dim=12, n_head=4, n_head_kv=4, biases=True),
    "f16 gqa": TinyModel(type_name="F16", n_head=8, n_head_kv=2, head_dim=8, n_embd=72, n_ff=172, tied=True),
    "bf16 window": TinyModel(type_name="BF16", window=40, n_embd=64),
    "q8_0": TinyModel(type_name="Q8_0", n_embd=96, n_ff=160, n_vocab=515),
    "q4_0": TinyModel(type_name="Q4_0", n_embd=288, n_ff=320, head_dim=72),
    "q4_k": TinyModel(type_name="Q4_K", n_embd=256, n_ff=512, head_dim=64),
    "qwen3": TinyModel(architecture="qwen3", type_name="Q8_0", n_embd=96, n_ff=160, head_dim=40, tied=True),
    "q2_k": TinyModel(type_name="Q2_K", n_embd=256, n_ff=512, head_dim=64),
    "q3_k": TinyModel(type_name="Q3_K", n_embd=256, n_ff=256, head_dim=64),
    "q5_k": TinyModel(type_name="Q5_K", n_embd=256, n_ff=256, head_dim=64),
    "iq4_nl": TinyModel(type_name="IQ4_NL", n_embd=96, n_ff=160, head_dim=24),
    "q8_0 and iq4_nl": TinyModel(type_name="Q8_0", v_type_name="IQ4_NL", n_embd=288, n_ff=320, head_dim=72),
    "iq4_xs": TinyModel(type_name="IQ4_XS", n_embd=256, n_ff=512, head_dim=64),
    "q6_k": TinyModel(type_name="Q6_K", n_embd=256, n_ff=256, head_dim=64, n_head_kv=1),
    "iq1_s": TinyModel(type_name="IQ1_S", n_embd=256, n_ff=256, head_dim=64),
    "iq2_xs": TinyModel(type_name="IQ2_XS", n_embd=256, n_ff=256, head_dim=64),
    "iq3_s and iq1_m": TinyModel(type_name="IQ3_S", v_type_name="IQ1_M", n_embd=256, n_ff=256, head_dim=64),
    "mxfp4": TinyModel(type_name="MXFP4", n_embd=96, n_ff=160, head_dim=24),
    "nvfp4": TinyModel(type_name="NVFP4", n_embd=64, n_ff=192, head_dim=16),
    "q1_0 and tq1_0": TinyModel(type_name="Q1_0", v_type_name="TQ1_0", n_embd=256, n_ff=384, head_dim=64),
    "experts": MODELS["mixtral"],
    "experts, q8_0": replace(MODELS["mixtral"], type_name="Q8_0"),
    "experts, groups and shared ones": replace(MODELS["bailingmoe2"], type_name="Q4_0"),
    "experts with biases, sinks, windows": MODELS["gpt-oss"],
    "experts weighed before, no positions": MODELS["llama4"],
    "latent attention": replace(MODELS["deepseek2"], type_name="Q8_0"),
    "latent attention, old": MODELS["deepseek2-old"],
    "bounds, gates of heads": MODELS["step35"],
    "streams, inputs of layers": IN_COMPANY["gemma3n"],
    "shared keys, experts beside a dense network": IN_COMPANY["gemma4"],
    "distances": DENSE["bloom-6-heads"],
    "both parts read the same, norms of heads": DENSE["stablelm-12b"],
}


def open_program(path: Path, n_threads: int, kv_dtype: str) -> Program:
    with GGUFFile(path) as file:
        return load_model(
            path,
            cache=CacheConfig(kv_dtype=kv_dtype, kv_cache_tokens=N_BLOCKS * BLOCK),
            scheduler=SchedulerConfig(max_batch_size=8, max_batch_tokens=MAX_TOKENS),
            n_threads=n_threads,
            progress=False,
            file=file,
        ).program


@cache
def programs(name: str, kv_dtype: str) -> tuple[Program, Program]:
    """The same model for one thread and for two."""
    if name == "demo":
        return open_program(demo_path(), 1, kv_dtype), open_program(demo_path(), 2, kv_dtype)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "tiny.gguf"
        SHAPES[name].write(path)
        return open_program(path, 1, kv_dtype), open_program(path, 2, kv_dtype)


def compute(
    program: Program, sequences: list[list[int]], steps: list[dict[int, int]], tables: list[npt.NDArray[np.int32]]
) -> list[npt.NDArray[np.float32]]:
    """The logits of every token of every sequence, computed as `steps` says: tokens of each sequence per step."""
    done = [0] * len(sequences)
    rows: list[list[npt.NDArray[np.float32]]] = [[] for _ in sequences]
    for step in steps:
        tokens: list[int] = []
        runs = []
        for i, n in step.items():
            tokens += sequences[i][done[i] : done[i] + n]
            runs.append((n, done[i], tables[i]))
            done[i] += n
        logits = []
        # Outputs beyond what a step may have are asked for by running it again: it stores the same K and V.
        for first in range(0, len(tokens), program.max_outputs):
            wanted = np.arange(first, min(len(tokens), first + program.max_outputs), dtype=np.int32)
            logits.append(program.forward(np.array(tokens, np.int32), runs, wanted))
        found = np.concatenate(logits)
        row = 0
        for i, n in step.items():
            rows[i] += list(found[row : row + n])
            row += n
    return [np.array(sequence) for sequence in rows]


@st.composite
def schedules(draw: st.DrawFn, n_vocab: int) -> tuple[list[list[int]], list[dict[int, int]], list[int]]:
    """Sequences, an interleaved plan that computes them in chunks, and an order of KV blocks."""
    sequences, steps = draw(interleaved(n_vocab, longest=90, most=4, max_rows=MAX_TOKENS))
    return sequences, steps, draw(st.permutations(range(N_BLOCKS)))


@pytest.mark.parametrize("name", [*SHAPES, "demo"])
@settings(max_examples=EXAMPLES, deadline=None)
@given(data=st.data())
def test_batches_chunks_blocks_and_threads_change_no_bit(name: str, data: st.DataObject) -> None:
    kv_dtype = data.draw(st.sampled_from(["f16", "f32", "bf16", "q8_0"]))
    one, two = programs(name, kv_dtype)
    sequences, steps, order = data.draw(schedules(one.n_vocab))
    tables = [np.array(order[4 * i : 4 * i + 4], np.int32) for i in range(len(sequences))]
    alone = [
        compute(one, [sequence], [{0: len(sequence)}], [np.arange(4, dtype=np.int32)])[0] for sequence in sequences
    ]
    for program in (one, two):
        together = compute(program, sequences, steps, tables)
        for found, expected in zip(together, alone, strict=True):
            assert np.isfinite(expected).all()
            np.testing.assert_array_equal(found.view(np.uint32), expected.view(np.uint32))


@pytest.mark.parametrize("level", other_levels())
def test_every_other_level(level: str) -> None:
    check_at(level, __file__)
