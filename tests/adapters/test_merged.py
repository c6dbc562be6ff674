"""What adapters add is what their matrices say: against weights with B A folded in, and against a sum in float64."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from oxillama import Engine
from oxillama.gguf import GGUFFile
from oxillama.gguf_writer import GGUFWriter
from oxillama.testing.described_models import DescribedModel
from oxillama.testing.tiny_adapters import TinyAdapter
from oxillama.testing.tiny_models import TinyModel
from tests.adapters.networks import adaptable, load
from tests.network.models.described import MODELS
from tests.network.models.described_dense import DENSE, IN_COMPANY
from tests.network.models.hybrids import HYBRIDS, Hybrid, write

SHAPES: dict[str, TinyModel | DescribedModel | Hybrid] = {
    "llama": TinyModel(n_embd=256, n_ff=320, biases=True, tokenizer=True),
    "tied": TinyModel(tied=True, tokenizer=True),
    **{name: MODELS[name] for name in ("mixtral", "gpt-oss", "deepseek2", "deepseek2-old", "llama4", "glm4moe")},
    **{name: DENSE[name] for name in ("bloom", "jais", "minicpm3", "olmo", "chatglm")},
    **{name: IN_COMPANY[name] for name in ("gemma3n", "gemma4")},
    **HYBRIDS,
}
PROMPT = [int(token) for token in np.random.default_rng(3).integers(3, 60, 40)]


def write_model(name: str, path: Path) -> None:
    model = SHAPES[name]
    if isinstance(model, Hybrid):
        write(model, path)
    else:
        model.write(path)


def fold(base: Path, adapter: TinyAdapter, merged: Path) -> None:
    """The model with the adapter in its weights, in float32."""
    with GGUFFile(base) as file, GGUFWriter(merged) as writer:
        for key in file.metadata:
            writer.add_raw(key, *file.metadata.raw(key))
        for name, info in file.tensors.items():
            data, type_name = info.data, info.type_name
            if name in adapter.shapes:
                weights = data.view(np.float32).reshape(info.shape[::-1])
                added = adapter.delta(name).reshape(weights.shape)
                data, type_name = (weights + added).astype(np.float32).view(np.uint8), "F32"
            writer.add_tensor(name, np.ascontiguousarray(data), shape=info.shape, type_name=type_name)


def logits(path: Path, *lora: tuple[str, Path, float]) -> npt.NDArray[np.float32]:
    with Engine(path, n_ctx=64, n_threads=2, kv_dtype="f32", max_batch_size=2, progress=False) as engine:
        for name, file, _ in lora:
            engine.load_lora(name, file)
        return engine.logits(PROMPT, lora=[(name, scale) for name, _, scale in lora])


@pytest.mark.parametrize("name", SHAPES)
def test_merged_weights_agree(name: str, tmp_path: Path) -> None:
    base, file, merged = (tmp_path / f"{part}.gguf" for part in ("base", "adapter", "merged"))
    write_model(name, base)
    names = adaptable(load(base).model.sites)
    if "output.weight" not in names:
        names.remove("token_embd.weight")  # what is folded in there changes the output too
    adapter = TinyAdapter.of(base, names, rank=8, strength=0.05, type_name="F32")
    adapter.write(file)
    fold(base, adapter, merged)
    plain, applied, folded = logits(base), logits(base, ("a", file, 1.0)), logits(merged)
    assert np.abs(applied - plain).max() > 0.05  # it does something
    assert np.abs(applied - folded).max() < 1e-3 * max(1.0, np.abs(folded).max())


def test_an_embedding_that_is_tied_is_changed_alone(tmp_path: Path) -> None:
    """The output keeps the base's table: the adapter names the embedding, and means it."""
    base, file = tmp_path / "base.gguf", tmp_path / "adapter.gguf"
    write_model("tied", base)
    adapter = TinyAdapter.of(base, ["token_embd.weight"], type_name="F32")
    adapter.write(file)
    untied = tmp_path / "untied.gguf"
    with GGUFFile(base) as opened, GGUFWriter(untied) as writer:
        for key in opened.metadata:
            writer.add_raw(key, *opened.metadata.raw(key))
        for name, info in opened.tensors.items():
            data = info.data
            if name == "token_embd.weight":
                writer.add_tensor("output.weight", data, shape=info.shape, type_name="F32")
                weights = data.view(np.float32).reshape(info.shape[::-1])
                data = (weights + adapter.delta(name)).astype(np.float32).view(np.uint8)
            writer.add_tensor(name, np.ascontiguousarray(data), shape=info.shape, type_name="F32")
    assert np.abs(logits(base, ("a", file, 1.0)) - logits(untied)).max() < 1e-3


def test_the_output_of_a_tied_model_is_changed_by_its_own_name(tmp_path: Path) -> None:
    base, file = tmp_path / "base.gguf", tmp_path / "adapter.gguf"
    write_model("tied", base)
    adapter = replace(TinyAdapter.of(base, ["token_embd.weight"], type_name="F32"), shapes={"output.weight": (64, 259)})
    adapter.write(file)
    plain, applied = logits(base), logits(base, ("a", file, 1.0))
    hidden = np.linalg.lstsq(_table(base), plain.T.astype(np.float64), rcond=None)[0]
    assert np.abs(applied - (plain + (adapter.delta("output.weight") @ hidden).T)).max() < 1e-3


def _table(path: Path) -> npt.NDArray[np.float64]:
    with GGUFFile(path) as file:
        info = file.tensor("token_embd.weight")
        return info.data.view(np.float32).reshape(info.shape[::-1]).astype(np.float64)


def test_two_adapters_add_up(tmp_path: Path) -> None:
    """One layer's output matrix alone, so that the sum can be made outside of the network."""
    base = tmp_path / "base.gguf"
    TinyModel(n_embd=256, tokenizer=True).write(base)
    lora = []
    total: npt.NDArray[np.float64] = np.zeros((259, 256))
    for seed, scale in ((0, 1.0), (1, -0.75)):
        adapter = TinyAdapter.of(base, ["output.weight"], rank=4 + 12 * seed, seed=seed, type_name="F32")
        adapter.write(tmp_path / f"{seed}.gguf")
        lora.append((str(seed), tmp_path / f"{seed}.gguf", scale))
        total += scale * adapter.delta("output.weight")
    plain, applied = logits(base), logits(base, *lora)
    with GGUFFile(base) as file:
        info = file.tensor("output.weight")
        weights = info.data.view(np.float32).reshape(info.shape[::-1]).astype(np.float64)
    hidden = np.linalg.lstsq(weights, plain.T.astype(np.float64), rcond=None)[0]
    assert np.abs(applied - (plain + (total @ hidden).T)).max() < 1e-3
