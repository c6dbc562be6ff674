from __future__ import annotations

import gc
import json
import os
import re
import sys
from collections import Counter
from pathlib import Path
from struct import pack
from typing import Any

import numpy as np
import pytest

from oxillama.errors import ModelLoadError
from oxillama.gguf import GGML_TYPES, GGUFFile, StringArray, TensorInfo
from oxillama.gguf_writer import GGUFWriter
from tests.gguf_bytes import array, entry, gguf, text


def weights(seed: int, n_rows: int = 2) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(seed).standard_normal((n_rows, 16)).astype(np.float32)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.gguf"
    with GGUFWriter(path) as writer:
        writer.add("general.architecture", "llama")
        writer.add("words", ["a", "bc"])
        writer.add("numbers", np.arange(1000, dtype=np.int32))
        for i in range(3):
            writer.add_tensor(f"t{i}", weights(i))
    return path


def write_shards(folder: Path, n_shards: int = 3, **changes: Any) -> list[Path]:
    """A split model with the tensors t0 .. of one shard each; ``changes`` spoil it."""
    paths = []
    for index in range(n_shards):
        path = folder / f"model-{index + 1:05d}-of-{n_shards:05d}.gguf"
        with GGUFWriter(path) as writer:
            if index == 0:
                writer.add("general.architecture", "llama")
            writer.add("split.no", changes.get("numbers", range(n_shards))[index], "uint16")
            writer.add("split.count", changes.get("counts", [n_shards] * n_shards)[index], "uint16")
            writer.add("split.tensors.count", changes.get("n_tensors", n_shards), changes.get("type", "int32"))
            writer.add_tensor(changes.get("names", ["t0", "t1", "t2"])[index], weights(index))
        paths.append(path)
    return paths


@pytest.mark.parametrize("mmap", [True, False])
def test_metadata_and_tensors_are_mappings(model: Path, mmap: bool) -> None:
    with GGUFFile(model, mmap=mmap) as file:
        assert (file.path, file.paths, file.version, file.alignment) == (str(model), (str(model),), 3, 32)
        assert list(file.metadata) == ["general.architecture", "words", "numbers"]
        assert len(file.metadata) == 3
        assert "words" in file.metadata
        assert "absent" not in file.metadata
        assert file.metadata.get("absent", 7) == 7
        assert file.metadata["general.architecture"] == "llama"
        assert isinstance(file.metadata["words"], StringArray)
        assert file.metadata["words"] is file.metadata["words"]
        assert file.metadata.type_of("numbers") == "array[int32]"
        assert list(file.tensors) == ["t0", "t1", "t2"]
        info = file.tensor("t1")
        assert isinstance(info, TensorInfo)
        assert info.shape == (16, 2)
        assert np.array_equal(info.data.view("<f4").reshape(info.shape[::-1]), weights(1))
        assert repr(file) == f"<GGUFFile {str(model)!r}, 3 tensors>"
        assert repr(file.metadata) == "<Metadata of 3 keys>"
        for call in (lambda: file.metadata["absent"], lambda: file.metadata.type_of("absent")):
            with pytest.raises(KeyError):
                call()
        with pytest.raises(
            ModelLoadError, match=re.escape(f"{model}: expected a tensor 'x', found no such name among 3")
        ):
            file.tensor("x")


@pytest.mark.parametrize("mmap", [True, False])
def test_views_outlive_the_file(model: Path, mmap: bool) -> None:
    with GGUFFile(model, mmap=mmap) as file:
        words, numbers, info = file.metadata["words"], file.metadata["numbers"], file.tensor("t2")
        data = info.data
    file.close()
    assert file.closed
    assert "closed" in repr(file)
    for attribute in ("metadata", "tensors"):
        with pytest.raises(ValueError, match=re.escape(f"{model}: the GGUF file is closed")):
            getattr(file, attribute)
    with pytest.raises(ValueError, match="is closed"), file:
        pass
    del file
    gc.collect()
    assert list(words) == [b"a", b"bc"]
    assert numbers.sum() == 499500
    assert np.array_equal(data, info.data)
    assert np.array_equal(data.view("<f4"), weights(2).ravel())


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc/self/maps")
def test_mapping_ends_with_the_last_view(model: Path) -> None:
    def is_mapped() -> bool:
        gc.collect()
        return str(model) in Path("/proc/self/maps").read_text()

    file = GGUFFile(model)
    data = file.tensor("t0").data
    file.close()
    del file
    assert is_mapped()
    del data
    assert not is_mapped()
    copied = GGUFFile(model, mmap=False)
    assert copied.tensors
    assert not is_mapped()


def test_without_mmap_the_file_may_change(model: Path) -> None:
    file = GGUFFile(model, mmap=False)
    os.truncate(model, 0)
    assert list(file.metadata["words"]) == [b"a", b"bc"]
    assert np.array_equal(file.tensor("t0").data.view("<f4"), weights(0).ravel())


@pytest.mark.parametrize("mmap", [True, False])
def test_not_a_file(tmp_path: Path, mmap: bool) -> None:
    with pytest.raises(FileNotFoundError):
        GGUFFile(tmp_path / "absent.gguf", mmap=mmap)
    with pytest.raises(ModelLoadError, match="expected a regular file, found a directory"):
        GGUFFile(tmp_path, mmap=mmap)
    empty = tmp_path / "empty.gguf"
    empty.touch()
    with pytest.raises(ModelLoadError, match=re.escape(f"{empty}: expected a GGUF file, found an empty file")):
        GGUFFile(empty, mmap=mmap)


def test_a_value_is_checked_when_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "a.gguf"
    interpreted = ["general.architecture", "tokenizer.ggml.model", "tokenizer.chat_template"]
    keys = [*interpreted, "general.author", "quantize.imatrix.file"]
    path.write_bytes(
        gguf((*(entry(key, 8, text(b"J\xfcrgen")) for key in keys), entry("words", 9, array(8, 1, text(b"\xff")))))
    )
    with GGUFFile(path) as file:
        for key in interpreted:
            with pytest.raises(ModelLoadError, match=re.escape(f"{path}: metadata key {key!r}: expected UTF-8")):
                file.metadata[key]
            assert file.metadata.read(key, strict=False) == "J\ufffdrgen"
        for key in ("general.author", "quantize.imatrix.file"):
            assert file.metadata[key] == "J\ufffdrgen"
        assert file.metadata["words"][0] == b"\xff"


@pytest.mark.parametrize("mmap", [True, False])
def test_split_model(tmp_path: Path, mmap: bool) -> None:
    paths = write_shards(tmp_path)
    with GGUFFile(paths[0], mmap=mmap) as file:
        assert file.paths == tuple(map(str, paths))
        assert file.metadata["general.architecture"] == "llama"
        assert [(info.name, info.shard) for info in file.tensors.values()] == [("t0", 0), ("t1", 1), ("t2", 2)]
        for index in range(3):
            assert np.array_equal(file.tensor(f"t{index}").data.view("<f4"), weights(index).ravel())


def test_split_model_by_a_relative_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_shards(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert len(GGUFFile("model-00001-of-00003.gguf").tensors) == 3


def test_a_split_count_of_one_is_a_whole_model(tmp_path: Path) -> None:
    path = write_shards(tmp_path, 1)[0].rename(tmp_path / "any name")
    assert len(GGUFFile(path).tensors) == 1


def test_missing_shard(tmp_path: Path) -> None:
    paths = write_shards(tmp_path)
    paths[1].unlink()
    message = f"{paths[0]}: the split model is incomplete: expected 3 files, found no 'model-00002-of-00003.gguf'"
    with pytest.raises(ModelLoadError, match=re.escape(message)):
        GGUFFile(paths[0])


def test_damaged_shard(tmp_path: Path) -> None:
    paths = write_shards(tmp_path)
    paths[2].write_bytes(paths[2].read_bytes()[:-1])
    message = f"{paths[2]}: tensor 't2': expected 128 bytes of data, found 127 before the end of the file"
    with pytest.raises(ModelLoadError, match=re.escape(message)):
        GGUFFile(paths[0])


def test_another_shard_than_the_first(tmp_path: Path) -> None:
    paths = write_shards(tmp_path)
    message = (
        "expected the first file of the split model, 'model-00001-of-00003.gguf', found 'model-00002-of-00003.gguf'"
    )
    with pytest.raises(ModelLoadError, match=re.escape(message)):
        GGUFFile(paths[1])


def test_a_shard_under_another_name(tmp_path: Path) -> None:
    path = write_shards(tmp_path)[0].rename(tmp_path / "renamed.gguf")
    message = "'split.count': expected a name that ends in -00001-of-00003.gguf, found 'renamed.gguf'"
    with pytest.raises(ModelLoadError, match=re.escape(message)):
        GGUFFile(path)


@pytest.mark.parametrize(
    ("changes", "place", "message"),
    [
        ({"numbers": [0, 2, 1]}, 1, "metadata key 'split.no': expected 1, found 2"),
        ({"numbers": [1, 1, 2]}, 0, "metadata key 'split.no': expected 0, found 1"),
        ({"counts": [3, 3, 4]}, 2, "metadata key 'split.count': expected 3, found 4"),
        ({"n_tensors": 4}, 0, "metadata key 'split.tensors.count': expected 3, found 4"),
        (
            {"n_tensors": 3.0, "type": "float32"},
            0,
            "metadata key 'split.tensors.count': expected an integer, found float32",
        ),
        ({"names": ["t0", "t1", "t0"]}, 2, "tensor 't0': expected unique names, found it in"),
        ({"counts": [2, 3, 3]}, 0, "expected a name that ends in -00001-of-00002.gguf"),
    ],
)
def test_inconsistent_shards(tmp_path: Path, changes: dict[str, Any], place: int, message: str) -> None:
    paths = write_shards(tmp_path, **changes)
    with pytest.raises(ModelLoadError, match=re.escape(message)) as caught:
        GGUFFile(paths[0])
    assert str(caught.value).startswith(f"{paths[place]}: ")


def test_absurd_headers_allocate_nothing(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    path = tmp_path / "a.gguf"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for count in (10**6, 10**9, 2**40, 2**61, 2**64 - 1):
        for element_type in (0, 7, 8, 9, 10):
            path.write_bytes(gguf((entry("a", 9, pack("<IQ", element_type, count) + bytes(1000)),)))
            with pytest.raises(ModelLoadError):
                GGUFFile(path)
        path.write_bytes(gguf(n_tensors=count, data=bytes(1000)))
        with pytest.raises(ModelLoadError):
            GGUFFile(path)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert after - before < 8 * 1024  # KiB


def test_every_fixture_opens(fixtures_dir: Path) -> None:
    paths = sorted(fixtures_dir.rglob("*.gguf"))
    assert paths
    for path in paths:
        with GGUFFile(path) as file:
            assert isinstance(file.metadata["general.architecture"], str)
            for key in file.metadata:
                assert file.metadata[key] is not None
            for info in file.tensors.values():
                assert info.is_known
                assert info.data.nbytes == info.n_bytes


def test_fixtures_have_the_recorded_tensors(fixtures_dir: Path) -> None:
    recorded = {
        fixtures_dir / name: facts
        for name, facts in json.loads((fixtures_dir / "stories260K.json").read_text())["files"].items()
    }
    for path in (fixtures_dir / "quant" / "models").glob("*.json"):
        facts = json.loads(path.read_text())
        recorded[path.parent / facts["gguf"]] = facts
    assert len(recorded) > 20
    for path, facts in recorded.items():
        with GGUFFile(path) as file:
            assert Counter(info.type_name for info in file.tensors.values()) == facts["tensor_types"], path
        assert path.stat().st_size == facts["bytes"]


def test_vocabularies_have_the_recorded_size(fixtures_dir: Path) -> None:
    for name, facts in json.loads((fixtures_dir / "vocab" / "vocab.json").read_text())["vocabs"].items():
        with GGUFFile(fixtures_dir / "vocab" / f"ggml-vocab-{name}.gguf") as file:
            tokens = file.metadata["tokenizer.ggml.tokens"]
            assert len(tokens) == facts["n_vocab"]
            assert tokens.text(0)
            assert len(file.metadata["tokenizer.ggml.token_type"]) == len(tokens)


def test_the_table_of_types_has_the_recorded_sizes(fixtures_dir: Path) -> None:
    for name, facts in json.loads((fixtures_dir / "quant" / "blocks.json").read_text())["types"].items():
        row = GGML_TYPES[facts["type_id"]]
        assert (row.name.lower(), row.block_size, row.block_bytes) == (
            name.lower(),
            facts["block"],
            facts["block_bytes"],
        )


def test_the_gguf_package_agrees(fixtures_dir: Path) -> None:
    package = pytest.importorskip("gguf")
    for path in sorted((fixtures_dir / "arch").glob("*.gguf"))[::5]:
        reader = package.GGUFReader(path)
        with GGUFFile(path) as file:
            assert len(reader.tensors) == len(file.tensors)
            for theirs in reader.tensors:
                ours = file.tensor(theirs.name)
                assert (tuple(theirs.shape), theirs.data_offset) == (ours.shape, ours.offset)
                assert theirs.data.tobytes() == ours.data.tobytes()
            for key, field in reader.fields.items():
                if not key.startswith("GGUF."):
                    value = file.metadata[key]
                    if isinstance(value, StringArray):
                        value = [value.text(i) for i in range(len(value))]
                    assert field.contents() == (value.tolist() if isinstance(value, np.ndarray) else value)
