"""A folder as PEFT saves it gives what the same adapter in a GGUF file gives."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from oxillama import Engine
from oxillama.adapters.module_names import tensor_of
from oxillama.adapters.peft import paired
from oxillama.errors import AdapterError
from oxillama.gguf import GGUFFile
from oxillama.testing.described_models import DescribedModel
from oxillama.testing.tiny_adapters import TinyAdapter
from oxillama.testing.tiny_models import TinyModel
from tests.network.models.described import MODELS

MODULES = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "ffn_gate_inp": "block_sparse_moe.gate",
}
EXPERTS = {"ffn_gate_exps": "w1", "ffn_down_exps": "w2", "ffn_up_exps": "w3"}
Array = npt.NDArray[Any]


def unpaired(rows: Array, n_heads: int) -> Array:
    """The order of the models in Python: what the converter of models undoes."""
    half = len(rows) // (2 * n_heads)
    return rows.reshape(n_heads, half, 2, -1).swapaxes(1, 2).reshape(rows.shape)


def tensors_of(adapter: TinyAdapter, heads: dict[str, int]) -> dict[str, Array]:
    """The adapter's halves under PEFT's names."""
    found: dict[str, Array] = {}
    for name in adapter.shapes:
        a, b = adapter.pair(name)
        if name == "token_embd.weight":
            module = "base_model.model.model.embed_tokens"
            found |= {f"{module}.lora_embedding_A": a.T, f"{module}.lora_embedding_B": b}
            continue
        if name == "output.weight":
            found |= {f"base_model.model.lm_head.lora_{half}.weight": x for half, x in (("A", a), ("B", b))}
            continue
        _, layer, kind, _ = name.split(".")
        prefix = f"base_model.model.model.layers.{layer}"
        if kind in EXPERTS:
            for i in range(len(a)):
                module = f"{prefix}.block_sparse_moe.experts.{i}.{EXPERTS[kind]}"
                found |= {f"{module}.lora_{half}.weight": x[i] for half, x in (("A", a), ("B", b))}
            continue
        b = unpaired(b, heads[kind]) if kind in heads else b
        found |= {f"{prefix}.{MODULES[kind]}.lora_{half}.weight": x for half, x in (("A", a), ("B", b))}
    return found


def save(folder: Path, tensors: dict[str, Array], **config: Any) -> Path:
    folder.mkdir()
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    data = b""
    for name, values in tensors.items():
        raw = np.ascontiguousarray(values).tobytes()
        kind = {"float16": "F16", "float32": "F32"}[values.dtype.name]
        header[name] = {"dtype": kind, "shape": list(values.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    head = json.dumps(header).encode()
    (folder / "adapter_model.safetensors").write_bytes(struct.pack("<Q", len(head)) + head + data)
    told = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["q_proj"]} | config
    (folder / "adapter_config.json").write_text(json.dumps(told))
    return folder


@pytest.mark.parametrize("model", [TinyModel(tokenizer=True), MODELS["mixtral"]], ids=["llama", "experts"])
def test_a_folder_and_a_file_give_the_same(model: TinyModel | DescribedModel, tmp_path: Path) -> None:
    base = tmp_path / "base.gguf"
    model.write(base)
    with GGUFFile(base) as file:
        names = [name for name, info in file.tensors.items() if len(info.shape) > 1]
        prefix = f"{file.metadata['general.architecture']}.attention.head_count"
        heads = {"attn_q": int(file.metadata[prefix]), "attn_k": int(file.metadata[f"{prefix}_kv"])}
    adapter = TinyAdapter.of(base, names, strength=0.5)
    adapter.write(tmp_path / "a.gguf")
    folder = save(tmp_path / "peft", tensors_of(adapter, heads))
    prompt = list(range(3, 30))
    with Engine(base, n_ctx=64, n_threads=1, progress=False) as engine:
        engine.load_lora("file", tmp_path / "a.gguf")
        info = engine.load_lora("folder", folder)
        assert info.rank == 4
        np.testing.assert_array_equal(engine.logits(prompt, lora="folder"), engine.logits(prompt, lora="file"))


def test_rows_of_heads_lie_in_pairs() -> None:
    rows = np.arange(16, dtype=np.float32).reshape(16, 1)
    assert paired(rows, 2).reshape(-1).tolist() == [0, 4, 1, 5, 2, 6, 3, 7, 8, 12, 9, 13, 10, 14, 11, 15]
    np.testing.assert_array_equal(unpaired(paired(rows, 2), 2), rows)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, 2.0),
        ({"use_rslora": True}, 4.0),
        ({"lora_alpha": 2}, 0.5),
        ({"alpha_pattern": {"q_proj": 1}}, 0.25),
        ({"alpha_pattern": {"v_proj": 1}}, 2.0),
    ],
)
def test_gains(config: dict[str, Any], expected: float, tmp_path: Path) -> None:
    from oxillama.adapters.peft import read_config

    folder = save(tmp_path / "peft", {}, **config)
    assert read_config(str(folder)).gain("layers.0.self_attn.q_proj", 4) == expected


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Any:
    base = tmp_path_factory.mktemp("models") / "base.gguf"
    TinyModel(tokenizer=True).write(base)
    with Engine(base, n_threads=1, progress=False) as engine:
        yield engine


A, B = np.ones((4, 64), np.float32), np.ones((64, 4), np.float32)
Q = "base_model.model.model.layers.0.self_attn.q_proj"
GOOD = {f"{Q}.lora_A.weight": A, f"{Q}.lora_B.weight": B}


@pytest.mark.parametrize(
    ("tensors", "config", "message"),
    [
        (GOOD, {"use_dora": True}, "DoRA"),
        (GOOD | {f"{Q}.lora_magnitude_vector": np.ones(64, np.float32)}, {}, "DoRA"),
        (GOOD, {"modules_to_save": ["lm_head"]}, "modules_to_save"),
        (GOOD, {"bias": "all"}, "trained biases"),
        (GOOD, {"peft_type": "IA3"}, "peft_type is 'IA3'"),
        (GOOD, {"lora_alpha": "8"}, "lora_alpha is '8'"),
        (GOOD, {"alpha_pattern": {"(a+)+$": 1}}, "no module's name"),
        (GOOD | {"base_model.model.lm_head.weight": B}, {}, "'base_model.model.lm_head.weight' is no half"),
        ({f"{Q}.lora_A.weight": A}, {}, "has no other half, lora_B"),
        (GOOD | {f"{Q}.lora_B.weight": B[:, :3].copy()}, {}, "do not agree about their rank"),
        (GOOD | {f"{Q}.lora_A.weight": A[:, :32].copy()}, {}, r"has shape \[32, 4\], expected \[64, 4\]"),
        ({name.replace("q_proj", "w_pack"): x for name, x in GOOD.items()}, {}, "no known name"),
        ({name.replace("layers.0", "layers.9"): x for name, x in GOOD.items()}, {}, "the model has no 'blk.9.attn_q"),
        ({}, {}, "no tensors"),
        (GOOD, {"init_lora_weights": "pissa"}, "'pissa': PiSSA changes the base"),
        (GOOD, {"init_lora_weights": "pissa_niter_16"}, "PiSSA changes the base"),
        (GOOD, {"init_lora_weights": "OLoRA"}, "OLoRA changes the base"),
        (GOOD, {"init_lora_weights": "corda"}, "CorDA changes the base"),
        (GOOD, {"init_lora_weights": "loftq"}, "LoftQ changes the base"),
        (GOOD, {"lora_alpha": 1e10}, r"lora_alpha is 1e\+?10|lora_alpha is 10000000000.0"),
    ],
)
def test_faults_are_named(
    tensors: dict[str, Array], config: dict[str, Any], message: str, engine: Engine, tmp_path: Path
) -> None:
    folder = save(tmp_path / "peft", tensors, **config)
    with pytest.raises(AdapterError, match=message):
        engine.load_lora("a", folder)
    assert not engine.loras


@pytest.mark.parametrize("way", [True, False, None, "gaussian", "eva", "orthogonal"])
def test_starts_that_leave_the_base_alone_are_taken(way: object, engine: Engine, tmp_path: Path) -> None:
    engine.load_lora("a", save(tmp_path / "peft", GOOD, init_lora_weights=way))
    engine.unload_lora("a")


LONG = "x" * 100_000


@pytest.mark.parametrize(
    ("tensors", "config"),
    [
        (GOOD, {"peft_type": LONG}),
        (GOOD, {"peft_type": [LONG]}),
        (GOOD, {"bias": LONG}),
        (GOOD, {"lora_alpha": LONG}),
        (GOOD, {"alpha_pattern": {f"({LONG})": 1}}),
        (GOOD, {"init_lora_weights": f"pissa_{LONG}"}),
        (GOOD | {LONG: B}, {}),
        ({f"{LONG}.lora_A.weight": A}, {}),
        ({f"{LONG}.lora_{half}.weight": x for half, x in (("A", A), ("B", B))}, {}),
    ],
)
def test_no_message_is_as_long_as_what_a_file_says(
    tensors: dict[str, Array], config: dict[str, Any], engine: Engine, tmp_path: Path
) -> None:
    folder = save(tmp_path / "peft", tensors, **config)
    with pytest.raises(AdapterError) as caught:
        engine.load_lora("a", folder)
    assert len(str(caught.value)) < len(str(folder)) + 500


@pytest.mark.parametrize(
    "spoil",
    [
        lambda raw: raw[:6],
        lambda raw: raw[:-8],
        lambda raw: struct.pack("<Q", 1 << 60) + raw[8:],
        lambda raw: raw[:8] + b"x" + raw[9:],
        lambda raw: raw.replace(b'"F32"', b'"I64"', 1),
        lambda raw: raw.replace(b'"shape": [4, ', b'"shape": [-4,', 1),
        lambda raw: raw.replace(b'"data_offsets": [0', b'"data_offsets": [9', 1),
    ],
)
def test_damaged_files_are_refused(spoil: Callable[[bytes], bytes], engine: Engine, tmp_path: Path) -> None:
    folder = save(tmp_path / "peft", GOOD)
    path = folder / "adapter_model.safetensors"
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(AdapterError):
        engine.load_lora("a", folder)
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (folder / name).unlink()
        with pytest.raises(AdapterError):
            engine.load_lora("a", folder)


def test_modules_have_names() -> None:
    assert tensor_of("model.layers.3.mlp.experts.7.up_proj") == ("blk.3.ffn_up_exps.weight", 7)
    assert tensor_of("encoder.layer.0.attention.output.dense") == ("blk.0.attn_output.weight", None)
    assert tensor_of("lm_head") == ("output.weight", None)
    assert tensor_of("vision_tower.blocks.0.attn.proj") is None
