"""Bad files: each its own clear error, before weights are read; and what fits into memory."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from oxillama import Engine, InvalidRequestError, ModelLoadError, UnsupportedModelError, tokenizer
from oxillama.demo import demo_path
from oxillama.gguf import GGUFFile
from oxillama.gguf_writer import GGUFWriter
from oxillama.network.models import ARCHITECTURES
from oxillama.requests.options import F16Weights
from oxillama.testing.random_blocks import FORMATS
from oxillama.testing.tiny_models import TinyModel
from tests.vocab.vocabularies import byte_pair_metadata, sentencepiece_metadata, wordpiece_metadata

Tensors = dict[str, npt.NDArray[np.float32]]
Change = Callable[[dict[str, Any], Tensors], object]

GIB = 1 << 30


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.gguf"


def write(path: Path, change: Change | None = None, **shape: Any) -> None:
    """A tiny model with F32 tensors, after `change(metadata, tensors)`."""
    model = TinyModel(**shape)
    rng = np.random.default_rng(0)
    metadata = model._metadata()
    tensors = {name: rng.standard_normal(size).astype(np.float32) for name, size in model.tensor_shapes().items()}
    if change is not None:
        change(metadata, tensors)
    with GGUFWriter(path) as writer:
        for key, value in metadata.items():
            writer.add(key, value)
        for name, values in tensors.items():
            writer.add_tensor(name, values)


def refusal(path: Path, kind: type[Exception] = ModelLoadError, **options: Any) -> str:
    with pytest.raises(kind) as caught:
        Engine(path, **{"progress": False, **options})
    assert type(caught.value) is kind
    return str(caught.value)


def test_the_unchanged_model_opens(path: Path) -> None:
    write(path)
    with Engine(path, progress=False) as engine:
        assert engine.generate([1], max_tokens=3).usage.completion_tokens == 3


# No model file at all


def test_a_missing_file(path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"model\.gguf"):
        Engine(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "found an empty file"),
        (b"Once upon a time\n" * 40, "the magic b'GGUF'"),
        (b"GGUF", "header"),
        (b"GGUF\x03\x00\x00\x00", "number of tensors"),
        (b"GGUF\x01\x00\x00\x00" + bytes(64), "found version 1"),
        (b"GGUF\x00\x00\x00\x03" + bytes(64), "big-endian"),
        (bytes(1000), "nothing but zeros"),
    ],
    ids=["empty", "text", "four bytes", "eight bytes", "version 1", "big-endian", "zeros"],
)
@pytest.mark.parametrize("mmap", [True, False])
def test_a_file_that_is_no_model(path: Path, content: bytes, message: str, mmap: bool) -> None:
    path.write_bytes(content)
    found = refusal(path, mmap=mmap)
    assert message in found
    assert "model.gguf" in found


def test_a_folder(tmp_path: Path) -> None:
    assert "expected a regular file" in refusal(tmp_path)


def test_every_truncation_is_an_error(path: Path) -> None:
    write(path, n_layers=1, n_embd=32, n_ff=32)
    whole = path.read_bytes()
    for n_bytes in [*range(8, 400, 37), len(whole) // 2, len(whole) - 5000, len(whole) - 1]:
        path.write_bytes(whole[:n_bytes])
        message = refusal(path)
        assert "model.gguf" in message
    assert "before the end of the file" in message


# Architecture


def test_an_unknown_architecture(path: Path) -> None:
    write(path, lambda metadata, tensors: metadata.update({"general.architecture": "perceptron"}))
    message = refusal(path, UnsupportedModelError)
    assert message == f"architecture 'perceptron' is not supported; supported: {', '.join(sorted(ARCHITECTURES))}"


@pytest.mark.parametrize("value", [None, 5])
def test_no_architecture(path: Path, value: int | None) -> None:
    def change(metadata: dict[str, Any], tensors: Tensors) -> None:
        del metadata["general.architecture"]
        if value is not None:
            metadata["general.architecture"] = value

    write(path, change)
    assert refusal(path) == f"general.architecture is {value!r}, expected the name of an architecture"


@pytest.mark.parametrize(
    "name",
    [
        "context_length",
        "block_count",
        "embedding_length",
        "feed_forward_length",
        "attention.head_count",
        "attention.layer_norm_rms_epsilon",
    ],
)
def test_a_missing_hyperparameter(path: Path, name: str) -> None:
    write(path, lambda metadata, tensors: metadata.pop(f"llama.{name}"))
    assert refusal(path) == f"llama.{name} is missing from the metadata"


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("block_count", 0, "an integer from 1 to 1000"),
        ("block_count", "two", "an integer from 1"),
        ("block_count", 100_000, "an integer from 1 to 1000"),
        ("embedding_length", -64, "an integer from 1"),
        ("context_length", True, "an integer from 1"),
        ("attention.layer_norm_rms_epsilon", 0.0, "a positive number"),
        ("attention.layer_norm_rms_epsilon", float("nan"), "a number"),
        ("attention.head_count_kv", 3, "llama.attention.head_count_kv, 3"),
        ("attention.key_length", 0, "an integer from 1"),
        ("rope.dimension_count", 15, "an even number up to 16"),
        ("rope.dimension_count", 64, "an even number up to 16"),
        ("rope.freq_base", 0.0, "a positive number"),
        ("rope.freq_base", 1.0, "a number above 1"),
        ("rope.freq_base", float("inf"), "a number"),
    ],
)
def test_a_senseless_hyperparameter(path: Path, name: str, value: Any, expected: str) -> None:
    write(path, lambda metadata, tensors: metadata.update({f"llama.{name}": value}))
    message = refusal(path)
    assert expected in message
    assert f"llama.{name.removesuffix('_kv')}" in message


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"llama.rope.scaling.type": "ntk"}, "'ntk'; supported: none, linear, yarn, longrope"),
        ({"llama.residual_scale": 0.5}, "llama.residual_scale is 0.5; architecture llama is not built with it"),
    ],
)
def test_what_llama_has_and_this_version_does_not(path: Path, change: dict[str, Any], message: str) -> None:
    write(path, lambda metadata, tensors: metadata.update(change))
    assert message in refusal(path, UnsupportedModelError)


# Tensors


@pytest.mark.parametrize("name", ["token_embd", "output_norm", "blk.0.attn_q", "blk.1.ffn_down", "blk.1.attn_norm"])
def test_a_missing_tensor(path: Path, name: str) -> None:
    write(path, lambda metadata, tensors: tensors.pop(f"{name}.weight"))
    message = refusal(path)
    assert f"'{name}.weight' is missing" in message


def test_layers_that_the_file_does_not_have(path: Path) -> None:
    write(path, lambda metadata, tensors: metadata.update({"llama.block_count": 3}))
    assert refusal(path) == "tensor 'blk.2.attn_norm.weight' is missing; expected shape [64]"


@pytest.mark.parametrize(
    ("name", "shape", "expected"),
    [
        ("blk.0.attn_q.weight", (32, 64), "shape [64, 32], expected [64, 64]"),
        ("blk.0.attn_norm.weight", (63,), "shape [63], expected [64]"),
        ("blk.1.ffn_down.weight", (96, 64), "shape [64, 96], expected [96, 64]"),
        ("output.weight", (81, 64), "shape [64, 81], expected [64, 80]"),
        ("token_embd.weight", (80,), "shape [80], expected a matrix"),
        ("blk.0.attn_k.weight", (2, 16, 64), "shape [64, 16, 2], expected [64, 32]"),
        ("blk.0.attn_q.bias", (63,), "shape [63], expected [64]"),
    ],
)
def test_a_wrong_shape(path: Path, name: str, shape: tuple[int, ...], expected: str) -> None:
    write(path, lambda metadata, tensors: tensors.update({name: np.zeros(shape, np.float32)}))
    message = refusal(path)
    assert f"tensor {name!r} has {expected}" in message


@pytest.mark.parametrize("factor", [0.0, -1.0, np.inf, np.nan])
def test_frequency_factors_without_sense(path: Path, factor: float) -> None:
    factors = np.array([1] * 7 + [factor], np.float32)
    write(path, lambda metadata, tensors: tensors.update({"rope_freqs.weight": factors}))
    assert refusal(path) == f"a frequency factor of RoPE is {factor}, expected positive numbers"


def test_tensors_that_nobody_uses(path: Path) -> None:
    extra = {f"blk.0.attn_{name}_norm.weight": np.zeros(16, np.float32) for name in ("q", "k", "v", "w", "z")}
    write(path, lambda metadata, tensors: tensors.update(extra))
    message = refusal(path, UnsupportedModelError)
    assert message.startswith("the file has tensors this architecture does not use: blk.0.attn_q_norm.weight, ")
    assert message.endswith(" and 2 more")


@pytest.mark.parametrize(
    ("type_name", "per_row"), [("I32", 4 * 256), ("F64", 8 * 256), ("Q8_1", 36 * 8), ("Q8_K", 292)]
)
def test_a_type_without_kernels(path: Path, type_name: str, per_row: int) -> None:
    rows, k = 64, 256
    model = TinyModel(n_embd=k, n_head=4, head_dim=16)
    rng = np.random.default_rng(0)
    with GGUFWriter(path) as writer:
        for key, value in model._metadata().items():
            writer.add(key, value)
        for name, shape in model.tensor_shapes().items():
            if name == "blk.0.attn_q.weight":
                raw = np.zeros((rows * per_row,), np.uint8)
                writer.add_tensor(name, raw, shape=(k, rows), type_name=type_name)
            else:
                writer.add_tensor(name, rng.standard_normal(shape).astype(np.float32))
    message = refusal(path, UnsupportedModelError)
    assert message == f"tensor 'blk.0.attn_q.weight' has type {type_name}, which is not supported"


def test_a_quantised_norm(path: Path) -> None:
    model = TinyModel()
    with GGUFWriter(path) as writer:
        for key, value in model._metadata().items():
            writer.add(key, value)
        for name, shape in model.tensor_shapes().items():
            if name == "output_norm.weight":
                writer.add_tensor(name, np.zeros(68, np.uint8), shape=(64,), type_name="Q8_0")
            else:
                writer.add_tensor(name, np.zeros(shape, np.float32))
    message = refusal(path, UnsupportedModelError)
    assert message == "tensor 'output_norm.weight' is Q8_0, expected F32, F16 or BF16"


@pytest.mark.parametrize("type_name", sorted(FORMATS))
def test_every_type_that_is_built_runs(path: Path, type_name: str) -> None:
    TinyModel(type_name=type_name, n_embd=256, n_ff=256, n_head=4, head_dim=64, n_layers=1).write(path)
    with Engine(path, progress=False) as engine:
        assert np.isfinite(engine.logits([1, 2, 3])).all()


# Tokenizer


def with_vocabulary(change: Mapping[str, Any]) -> Change:
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(77))]
    vocabulary = {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": pieces,
        "tokenizer.ggml.scores": np.zeros(80, np.float32),
        "tokenizer.ggml.token_type": np.array([2, 3, 3] + [6] * 77, np.int32),
    }
    return lambda metadata, tensors: metadata.update(vocabulary | dict(change))


def test_an_absent_tokenizer_is_no_error(path: Path) -> None:
    for model in (None, "none", "no_vocab"):
        write(path, lambda metadata, tensors, m=model: metadata.update({"tokenizer.ggml.model": m} if m else {}))  # type: ignore[misc]
        with Engine(path, progress=False) as engine:
            assert engine.tokenizer is None
            assert engine.generate([1], max_tokens=1).token_ids


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"tokenizer.ggml.model": "plamo2"}, UnsupportedModelError, "plamo2"),
        ({"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "martian"}, UnsupportedModelError, "martian"),
        ({"tokenizer.ggml.model": 5}, ModelLoadError, "tokenizer.ggml.model"),
        ({"tokenizer.ggml.tokens": 5}, ModelLoadError, "tokenizer.ggml.tokens"),
        ({"tokenizer.ggml.scores": np.zeros(3, np.float32)}, ModelLoadError, "has 3 entries"),
        ({"tokenizer.ggml.tokens": [f"t{i}" for i in range(90)], "tokenizer.ggml.scores": np.zeros(90, np.float32),
          "tokenizer.ggml.token_type": np.ones(90, np.int32)}, ModelLoadError, "has 90 tokens, the embedding 80"),
    ],
    ids=["family", "pre-tokenizer", "type of model", "type of tokens", "scores", "more tokens than rows"],
)  # fmt: skip
def test_a_tokenizer_that_is_none(path: Path, change: dict[str, Any], kind: type[Exception], message: str) -> None:
    write(path, with_vocabulary(change))
    told: list[int] = []
    found = refusal(path, kind, progress=lambda done, total: told.append(done))
    assert message in found
    # Known before any weight is read.
    assert told == []


@pytest.mark.parametrize(("n_ctx", "warned"), [(334, True), (333, False), (40, False), (None, False)])
def test_a_context_beyond_the_trained_one_is_warned_of(
    path: Path, caplog: pytest.LogCaptureFixture, n_ctx: int | None, warned: bool
) -> None:
    write(path, n_ctx=333)
    with caplog.at_level(logging.WARNING, "oxillama"), Engine(path, n_ctx=n_ctx, progress=False):
        found = [record.getMessage() for record in caplog.records]
    assert len(found) == warned
    if warned:
        assert found[0].startswith("a context of 334 tokens is longer than the 333 the model was trained for")


# The tokenizer


DAMAGED: dict[str, tuple[dict[str, Any], str]] = {
    "merges of no tokens": (byte_pair_metadata(merges=[b"qq zz"]), r"merges\[0\] is 'qq' \+ 'zz'"),
    "no merges": (byte_pair_metadata(merges=None), "merges: expected an array"),
    "merges of numbers": (byte_pair_metadata(merges=np.zeros(3, np.int32)), "merges: expected strings"),
    "words without an unknown one": (wordpiece_metadata(unknown_token_id=-1), "unknown_token_id"),
    "a piece of bytes that others lack": (
        sentencepiece_metadata("bpe", unknown_token_id=50),
        "the SentencePiece vocabulary is inconsistent",
    ),
    "a normalisation of nothing": (
        sentencepiece_metadata("unigram", precompiled_charsmap=np.arange(40, dtype=np.uint8)),
        "the SentencePiece vocabulary is inconsistent",
    ),
}


def write_with_vocabulary(path: Path, vocabulary: dict[str, Any]) -> None:
    types = {"scores": "float32", "token_type": "int32"}
    metadata = {}
    for key, value in vocabulary.items():
        element = types.get(key.rpartition(".")[2])
        metadata[key] = np.array(value, element) if element else value
    TinyModel(n_vocab=len(vocabulary["tokenizer.ggml.tokens"]), n_layers=1, metadata=metadata).write(path)


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_tokenizer_that_cannot_work_is_found_when_the_file_is_opened(kind: str, path: Path) -> None:
    vocabulary, message = DAMAGED[kind]
    write_with_vocabulary(path, vocabulary)
    with pytest.raises(ModelLoadError, match=message):
        Engine(path, progress=False)


def test_a_server_with_such_a_tokenizer_is_never_ready(path: Path) -> None:
    write_with_vocabulary(path, DAMAGED["merges of no tokens"][0])
    arguments = [sys.executable, "-m", "oxillama", "serve", str(path), "--port", "0"]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "tokenizer.ggml.merges[0] is 'qq' + 'zz', but 'qq' is no token" in done.stderr


def test_nothing_of_a_tokenizer_is_left_for_the_first_request(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("built by a request")

    write_with_vocabulary(path, byte_pair_metadata())
    with Engine(path, progress=False) as engine:
        monkeypatch.setattr(tokenizer, "build_encoder", fail)
        assert engine.generate("hello world", max_tokens=1).usage.prompt_tokens > 1


# While it loads


def test_progress_counts_the_bytes_of_the_weights() -> None:
    told: list[tuple[int, int]] = []
    with Engine(demo_path(), progress=lambda done, total: told.append((done, total))):
        pass
    assert told == sorted(told)
    assert told[-1][0] == told[-1][1] > 3_000_000
    assert len({total for _, total in told}) == 1


def test_an_error_of_the_callable_ends_the_loading(path: Path) -> None:
    def fail(done: int, total: int) -> None:
        raise ZeroDivisionError

    write(path)
    threads = set(threading.enumerate())
    with pytest.raises(ZeroDivisionError):
        Engine(path, progress=fail)
    assert set(threading.enumerate()) <= threads


def test_what_is_loaded_is_logged_without_text(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(path)
    with caplog.at_level(logging.INFO, "oxillama"), Engine(path, progress=False):
        assert "loaded model" in caplog.text


def test_bad_options_are_said_before_the_file_is_opened(path: Path) -> None:
    with pytest.raises(InvalidRequestError):
        Engine(path, kv_dtype="f64")  # type: ignore[arg-type]


def write_halves(path: Path, *, rounded: bool) -> None:
    """A tiny model whose matrices are F16, or what the nearest BF16 to each of these values is."""

    def change(metadata: dict[str, Any], tensors: Tensors) -> None:
        for name, values in tensors.items():
            if values.ndim > 1:
                halves = values.astype(np.float16)
                bits = halves.astype(np.float32).view(np.uint32)
                nearest = (bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000
                tensors[name] = nearest.view(np.float32) if rounded else halves  # type: ignore[assignment]

    if not rounded:
        write(path, change)
        return
    write(path.with_suffix(".f32"), change)
    with GGUFFile(path.with_suffix(".f32")) as file, GGUFWriter(path) as writer:
        for key in file.metadata:
            writer.add_raw(key, *file.metadata.raw(key))
        for name, info in file.tensors.items():
            data = np.array(info.data)
            if len(info.shape) > 1:
                data = (data.view(np.uint32) >> 16).astype(np.uint16).view(np.uint8)
            writer.add_tensor(name, data, shape=info.shape, type_name="BF16" if len(info.shape) > 1 else "F32")


def test_f16_weights_rounded_on_request_are_those_of_a_bf16_file(tmp_path: Path) -> None:
    found: dict[str, npt.NDArray[np.float32]] = {}
    files: list[tuple[str, bool, F16Weights]] = [
        ("f16", False, "exact"),
        ("as bf16", False, "bf16"),
        ("bf16", True, "exact"),
    ]
    for name, rounded, f16 in files:
        path = tmp_path / f"{name}.gguf"
        write_halves(path, rounded=rounded)
        with Engine(path, n_threads=2, progress=False, f16=f16) as engine:
            found[name] = engine.logits(list(range(1, 40)))
    assert np.array_equal(found["as bf16"], found["bf16"])
    assert not np.array_equal(found["f16"], found["bf16"])
    np.testing.assert_allclose(found["f16"], found["bf16"], atol=0.2 * np.abs(found["f16"]).max())


def test_rounding_f16_weights_leaves_other_files_alone(path: Path) -> None:
    write(path)
    with Engine(path, progress=False) as exact, Engine(path, progress=False, f16="bf16") as rounded:
        assert np.array_equal(exact.logits([1, 2, 3]), rounded.logits([1, 2, 3]))


def test_a_step_evaluates_a_block_of_rows(path: Path) -> None:
    write(path)
    with Engine(path, n_threads=1, max_batch_size=1, progress=False) as engine:
        engine.logits([1] * 64)
        assert engine._worker.stats()["num_steps"] == 2
