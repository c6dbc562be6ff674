"""Sound GGUF files that hold no language model, or one in types of other programs, are called what they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from oxillama import Engine, ModelLoadError, Tokenizer, UnsupportedModelError
from oxillama.gguf import GGUFFile
from oxillama.gguf.model_kind import FOREIGN, REMOVED, describe_type
from oxillama.gguf_writer import GGUFWriter
from oxillama.testing.tiny_models import TinyModel
from tests.metadata_mutations import Parts, parts
from tests.vocab.vocabularies import byte_pair_metadata

LOW = np.zeros((4, 64), np.float32)
LLAMA = {"general.architecture": "llama"}

# Metadata, names of tensors, what the message calls it, what it says to do.
KINDS: dict[str, tuple[dict[str, Any], tuple[str, ...], str, str]] = {
    "adapter": (
        {**LLAMA, "general.type": "adapter", "adapter.type": "lora", "adapter.lora.alpha": 16.0},
        ("blk.0.attn_q.weight.lora_a", "blk.0.attn_q.weight.lora_b"),
        "a LoRA adapter",
        "open the model itself",
    ),
    "adapter without a type": (
        LLAMA,
        ("blk.0.attn_q.weight.lora_a", "blk.0.attn_q.weight.lora_b"),
        "a LoRA adapter",
        "open the model itself",
    ),
    "another adapter": ({**LLAMA, "adapter.type": "ia3"}, ("t",), "an adapter", "open the model itself"),
    "imatrix": (
        {"general.type": "imatrix", "imatrix.chunk_count": 10, "imatrix.datasets": ["a.txt"]},
        ("blk.0.attn_q.weight.in_sum2", "blk.0.attn_q.weight.counts"),
        "an importance matrix (imatrix)",
        "open the model itself",
    ),
    "imatrix by its tensors": ({}, ("blk.0.attn_q.weight.in_sum2",), "an importance matrix", "open the model itself"),
    "projector": (
        {"general.architecture": "clip", "general.type": "mmproj", "clip.has_vision_encoder": True},
        ("mm.0.weight", "v.blk.0.attn_q.weight"),
        "a projector (mmproj)",
        "open the model that it belongs to",
    ),
    "old projector": ({"general.architecture": "clip"}, ("mm.0.weight",), "a projector (mmproj)", "it takes text only"),
    "control vector": (
        {"general.architecture": "controlvector"},
        ("direction.1",),
        "a control vector",
        "open the model itself",
    ),
    "vocabulary": ({**LLAMA, **byte_pair_metadata()}, (), "a vocabulary-only file", "Tokenizer.from_gguf()"),
    "nothing": (LLAMA, (), "a file without tensors", "open the file with the weights"),
}


def write(path: Path, metadata: dict[str, Any], tensors: tuple[str, ...]) -> Path:
    with GGUFWriter(path) as writer:
        for key, value in metadata.items():
            writer.add(key, value)
        for name in tensors:
            writer.add_tensor(name, LOW)
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_holds_no_model(kind: str, tmp_path: Path) -> None:
    metadata, tensors, what, remedy = KINDS[kind]
    path = write(tmp_path / "file.gguf", metadata, tensors)
    with pytest.raises(UnsupportedModelError) as caught:
        Engine(path)
    message = str(caught.value)
    assert message.startswith(f"{path} is {what}")
    assert ", no language model; " in message
    assert remedy in message


def test_a_vocabulary_serves_as_a_tokenizer(tmp_path: Path) -> None:
    path = write(tmp_path / "vocabulary.gguf", {**LLAMA, **byte_pair_metadata()}, ())
    tokenizer = Tokenizer.from_gguf(path)
    assert tokenizer.decode(tokenizer.encode("hello world")) == "hello world"


def test_a_model_may_say_that_it_is_one(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    TinyModel(metadata={"general.type": "model", "quantize.imatrix.file": "x.dat"}).write(path)
    with Engine(path, n_threads=1) as engine:
        assert engine.state == "ready"


def with_type(number: int, path: Path) -> Path:
    """A model whose last matrix has a type of that number."""
    known = parts("spm")
    last = known.tensors[-1]
    tensors = (*known.tensors[:-1], last[:-12] + number.to_bytes(4, "little") + last[-8:])
    path.write_bytes(Parts(known.entries, tensors, known.data).file())
    return path


@pytest.mark.parametrize(
    ("number", "name"),
    [
        (137, "IQ2_K of ik_llama.cpp"),
        (152, "IQ5_KS of ik_llama.cpp"),
        (212, "Q4_K_R4 of ik_llama.cpp"),
        (398, "Q8_KV_R8 of ik_llama.cpp"),
        (36, "I2_S of ik_llama.cpp"),
        (97, "a type of ik_llama.cpp"),
        (199, "a type of ik_llama.cpp"),
        (31, "Q4_0_4_4, no longer in use"),
        (4, "Q4_2, no longer in use"),
        (43, "not known to this version"),
        (5000, "not known to this version"),
    ],
)
def test_a_tensor_type_of_another_program(number: int, name: str, tmp_path: Path) -> None:
    path = with_type(number, tmp_path / "model.gguf")
    last = list(GGUFFile(path).tensors)[-1]
    with pytest.raises(UnsupportedModelError) as caught:
        Engine(path)
    assert str(caught.value).startswith(f"tensor {last!r} has type {number}, which is {name}")
    assert "download" in str(caught.value) or "newer" in str(caught.value)


def test_names_are_given_to_no_number_of_our_own() -> None:
    from oxillama.gguf import GGML_TYPES

    assert not GGML_TYPES.keys() & (FOREIGN.keys() | REMOVED.keys())
    assert len(describe_type(139)) < 200


@pytest.mark.parametrize("name", ["attention.head_count", "attention.head_count_kv", "feed_forward_length"])
def test_layers_that_differ_are_not_supported(name: str, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    TinyModel(metadata={f"llama.{name}": np.array([4, 2], np.int32)}).write(path)
    with pytest.raises(UnsupportedModelError, match=f"llama.{name} has 2 values: models whose layers differ"):
        Engine(path)


@pytest.mark.parametrize("value", [np.array([4], np.int32), np.array([4.0, 2.0], np.float32), ["a", "b"], "x" * 10_000])
def test_an_array_that_no_program_understands_is_damage(value: Any, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    TinyModel(metadata={"llama.attention.head_count": value}).write(path)
    with pytest.raises(ModelLoadError, match=r"llama\.attention\.head_count is .*, expected an integer") as caught:
        Engine(path)
    assert len(str(caught.value)) < 250
