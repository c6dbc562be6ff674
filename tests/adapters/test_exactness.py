"""A row's bits depend on its own input and adapters: not on its neighbours' adapters, on chunks, or on threads."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oxillama._core.network.adapter import AdapterSet
from oxillama._core.network.program import Program
from oxillama.demo import demo_path
from oxillama.testing.described_models import DescribedModel
from oxillama.testing.tiny_adapters import TinyAdapter
from oxillama.testing.tiny_models import TinyModel
from tests.adapters.networks import adaptable, adapter_set, compute, load
from tests.levels import check_at, other_levels
from tests.network.models.described import MODELS
from tests.network.models.described_dense import IN_COMPANY
from tests.schedules import interleaved

# Other levels run the same Python over other kernels, whose own tests are elsewhere.
EXAMPLES = 10 if not os.environ.get("OXILLAMA_ISA") else 2
MAX_ROWS = 32  # as many logits as every step has

SHAPES: dict[str, TinyModel | DescribedModel] = {
    "f32": TinyModel(n_embd=48, n_ff=80, head_dim=12, n_head_kv=4, biases=True),
    "f16, tied, far input": TinyModel(type_name="F16", n_embd=512, n_ff=1056, tied=True),
    "q8_0": TinyModel(type_name="Q8_0", n_embd=256, n_ff=160, n_vocab=515),
    "q4_k": TinyModel(type_name="Q4_K", n_embd=256, n_ff=512, head_dim=64),
    "bf16": TinyModel(type_name="BF16"),
    "experts": MODELS["mixtral"],
    "experts, shared ones": replace(MODELS["bailingmoe2"], type_name="Q4_0"),
    "latent attention": replace(MODELS["deepseek2"], type_name="Q8_0"),
    "streams": IN_COMPANY["gemma3n"],
}


class Adapted:
    """A model for one thread and for two, with sets of adapters of each."""

    def __init__(self, path: Path, folder: Path) -> None:
        self.models = [load(path, n_threads) for n_threads in (1, 2)]
        sites = self.models[0].model.sites
        names = adaptable(sites)
        files = []
        for seed, rank, type_name in ((0, 4, "F16"), (1, 40, "F32"), (2, 16, "F16")):
            chosen = names if seed == 0 else [name for i, name in enumerate(names) if i % 3 != seed]
            file = folder / f"{seed}.gguf"
            TinyAdapter.of(path, chosen, rank=rank, seed=seed, type_name=type_name, strength=0.3).write(file)
            files.append(file)
        a, b, c = files
        self.sets: list[AdapterSet | None] = [
            None,
            adapter_set(path, sites, (a, 1.0)),
            adapter_set(path, sites, (b, -0.5)),
            adapter_set(path, sites, (a, 0.5), (b, 1.0)),
            adapter_set(path, sites, (c, 1.0)),
            adapter_set(path, sites, (a, 0.25), (b, 0.5), (c, 2.0)),
        ]

    @property
    def programs(self) -> list[Program]:
        return [loaded.program for loaded in self.models]


@cache
def adapted_model(name: str) -> Adapted:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "tiny.gguf"
        if name == "demo":
            return Adapted(demo_path(), Path(folder))
        SHAPES[name].write(path)
        return Adapted(path, Path(folder))


@st.composite
def schedules(draw: st.DrawFn, n_vocab: int, n_sets: int) -> tuple[list[list[int]], list[dict[int, int]], list[int]]:
    """Sequences, an interleaved plan that computes them in chunks, and which adapters each has."""
    sequences, steps = draw(interleaved(n_vocab, longest=60, most=5, max_rows=MAX_ROWS))
    return sequences, steps, [draw(st.integers(0, n_sets - 1)) for _ in sequences]


@pytest.mark.parametrize("name", [*SHAPES, "demo"])
@settings(max_examples=EXAMPLES, deadline=None)
@given(data=st.data())
def test_company_chunks_and_threads_change_no_bit(name: str, data: st.DataObject) -> None:
    model = adapted_model(name)
    one, two = model.programs
    sequences, steps, chosen = data.draw(schedules(one.n_vocab, len(model.sets)))
    applied = [model.sets[i] for i in chosen]
    alone = []
    for sequence, adapters in zip(sequences, applied, strict=True):
        whole = [{0: min(MAX_ROWS, len(sequence) - first)} for first in range(0, len(sequence), MAX_ROWS)]
        alone += compute(one, [sequence], whole, [adapters])
    for program in (one, two):
        together = compute(program, sequences, steps, applied)
        for found, expected in zip(together, alone, strict=True):
            assert np.isfinite(expected).all()
            np.testing.assert_array_equal(found.view(np.uint32), expected.view(np.uint32))


@pytest.mark.parametrize("name", ["f16, tied, far input", "experts", "latent attention"])
def test_many_rows_get_what_few_get(name: str) -> None:
    model = adapted_model(name)
    prompt = [int(token) for token in np.random.default_rng(0).integers(0, 80, 90)]
    table = np.arange(4, dtype=np.int32)
    for adapters in model.sets[1:]:
        last = []
        for program, size in ((model.programs[0], 90), (model.programs[1], 90), (model.programs[1], 7)):
            for first in range(0, 90, size):
                chunk = prompt[first : first + size]
                rows = program.forward(
                    np.array(chunk, np.int32),
                    [(len(chunk), first, table, 0)],
                    np.array([len(chunk) - 1], np.int32),
                    [adapters],
                )
            last.append(rows[0].tobytes())
        assert len(set(last)) == 1


@pytest.mark.parametrize("level", other_levels())
def test_every_other_level(level: str) -> None:
    check_at(level, __file__)
