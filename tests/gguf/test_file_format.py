"""A file that is no GGUF file is called what it is, with what to do about it."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from struct import pack

import numpy as np
import pytest

from oxillama import Engine, ModelLoadError, UnsupportedModelError
from oxillama.demo import demo_path
from oxillama.gguf import GGUFFile
from oxillama.gguf.file_format import describe
from oxillama.testing.tiny_models import TinyModel
from tests.gguf_bytes import gguf


def safetensors() -> bytes:
    header = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    return pack("<Q", len(header)) + header + bytes(4)


def zipped() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("archive/data.pkl", b"")
    return out.getvalue()


def tarred() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("model.gguf"))
    return out.getvalue()


def saved_array() -> bytes:
    out = io.BytesIO()
    np.save(out, np.zeros(3))
    return out.getvalue()


def importance_matrix() -> bytes:
    name = b"blk.0.attn_q.weight"
    return pack("<2i", 1, len(name)) + name + pack("<2i4f", 1, 4, 1, 1, 1, 1)


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 4000000000\n"

FILES: dict[str, tuple[Callable[[], bytes], str, str]] = {
    "safetensors": (safetensors, "a safetensors file", "convert_hf_to_gguf.py"),
    "pytorch zip": (zipped, "how PyTorch saves weights", "convert_hf_to_gguf.py"),
    "old pytorch": (
        lambda: pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2),
        "a Python pickle",
        "convert_hf_to_gguf.py",
    ),
    "pickle": (lambda: pickle.dumps([1, 2], protocol=5), "a Python pickle", "convert_hf_to_gguf.py"),
    "Git LFS": (lambda: LFS, "a Git LFS pointer", "git lfs pull"),
    "HTML": (lambda: b"\n<!DOCTYPE html>\n<html><body>Log in</body></html>", "an HTML page", "download the file again"),
    "HTML in capitals": (lambda: b"<HTML><HEAD>", "an HTML page", "download the file again"),
    "XML": (lambda: b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "an XML page", "download"),
    "JSON": (lambda: b'{"error":"Repository not found"}', "JSON text", "download"),
    "gzip": (lambda: gzip.compress(gguf()), "a gzip archive", "unpack"),
    "tar": (tarred, "a tar archive", "unpack"),
    "xz": (lambda: b"\xfd7zXZ\0" + bytes(20), "an xz archive", "unpack"),
    "zstd": (lambda: b"(\xb5/\xfd" + bytes(20), "a Zstandard archive", "unpack"),
    "NumPy": (saved_array, "a NumPy array", "convert"),
    "imatrix": (importance_matrix, "an importance matrix", "open the model itself"),
    "GGJT": (lambda: pack("<2I", 0x67676A74, 3) + bytes(40), "a GGJT file", "to GGUF"),
    "GGML": (lambda: pack("<2I", 0x67676D6C, 3) + bytes(40), "a GGML file", "to GGUF"),
    "old adapter": (lambda: pack("<2I", 0x67676C61, 1) + bytes(40), "a LoRA adapter", "adapters are not supported"),
    "session": (lambda: pack("<2I", 0x6767736E, 9) + bytes(40), "a saved session", "open the model"),
    "whisper": (lambda: pack("<2i", 0x67676D6C, 51864) + bytes(40), "for whisper.cpp", "to GGUF"),
    "program": (lambda: b"\x7fELF\2\1\1" + bytes(60), "a program", "the GGUF file"),
    "llamafile": (lambda: b"MZqFpD='\n" + bytes(60), "such as a llamafile", "the GGUF file"),
    "TensorFlow Lite": (lambda: b"\x1c\0\0\0TFL3" + bytes(60), "a TensorFlow Lite model", "convert"),
    "Modelfile": (lambda: b"FROM ./model.gguf\nPARAMETER temperature 1\n", "a Modelfile of Ollama", "that it names"),
    "zeros": (lambda: bytes(5000), "nothing but zeros", "download the file again"),
}


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("mmap", [True, False])
def test_a_file_of_another_kind(kind: str, mmap: bool, tmp_path: Path) -> None:
    content, what, remedy = FILES[kind]
    path = tmp_path / "model.gguf"
    path.write_bytes(content())
    with pytest.raises(ModelLoadError) as caught:
        Engine(path, mmap=mmap)
    message = str(caught.value)
    assert message.startswith(f"{path}: expected a GGUF file, found ")
    assert what in message
    assert remedy in message


def test_what_nobody_can_name_is_shown() -> None:
    for content in (b"", b"x", b"\x80", b"\x80\x09", b"Once upon a time", bytes(8) + b"{", bytes(range(1, 200))):
        assert describe(content, len(content)) is None, content


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (gguf(version=1), "found version 1; convert the model anew"),
        (b"GGUF\0\0\0\3" + bytes(64), "a big-endian one, which is not supported; gguf_convert_endian.py"),
    ],
)
def test_a_form_of_gguf_that_is_not_read(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(content)
    with pytest.raises(ModelLoadError) as caught:
        Engine(path)
    assert message in str(caught.value)


def test_an_unfinished_download_says_so(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(demo_path().read_bytes()[:-100_000])
    with pytest.raises(ModelLoadError, match="as after a download that was not finished"):
        Engine(path)


@pytest.mark.parametrize("name", ["m.gguf.part1of2", "m.gguf-split-a", "m.gguf.001", "m.gguf.part-b"])
def test_a_piece_of_a_file_that_was_cut(name: str, tmp_path: Path) -> None:
    whole = demo_path().read_bytes()
    for piece in (whole[:100_000], whole[100_000:]):
        (tmp_path / name).write_bytes(piece)
        with pytest.raises(ModelLoadError, match="join the pieces in order"):
            GGUFFile(tmp_path / name)
    # The name is no reason to refuse what is sound.
    (tmp_path / name).write_bytes(whole)
    assert GGUFFile(tmp_path / name).tensors


def test_a_name_that_downloads_have_until_they_are_complete(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf.crdownload"
    path.write_bytes(demo_path().read_bytes()[:100_000])
    with pytest.raises(ModelLoadError, match="its download is not finished"):
        GGUFFile(path)


def test_a_directory_says_what_is_in_it(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match="found a directory without GGUF files"):
        Engine(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelLoadError, match=r"a directory with a model that is not GGUF; .*convert_hf_to_gguf\.py"):
        Engine(tmp_path)
    for number in range(5):
        (tmp_path / f"model-{number}.gguf").touch()
    with pytest.raises(ModelLoadError, match=r"'model-0\.gguf', 'model-1\.gguf', 'model-2\.gguf' and 2 more"):
        Engine(tmp_path)


def split(folder: Path) -> list[Path]:
    """Two files of a split model."""
    paths = [folder / f"m-0000{number}-of-00002.gguf" for number in (1, 2)]
    for number, path in enumerate(paths):
        TinyModel(seed=number, metadata={"split.count": 2, "split.no": number}).write(path)
    return paths


def test_a_part_of_a_split_model_other_than_the_first(tmp_path: Path) -> None:
    first, second = split(tmp_path)
    with pytest.raises(ModelLoadError) as caught:
        Engine(second)
    assert f"expected the first file of the split model, {first.name!r}, found {second.name!r}" in str(caught.value)
    renamed = tmp_path / "model.gguf"
    second.rename(renamed)
    with pytest.raises(ModelLoadError, match=r"'model\.gguf', file 2 of 2 of a split model"):
        Engine(renamed)


def test_a_part_that_is_something_else(tmp_path: Path) -> None:
    first, second = split(tmp_path)
    second.write_bytes(LFS)
    with pytest.raises(ModelLoadError, match=r"00002-of-00002.*a Git LFS pointer"):
        Engine(first)


def test_an_error_of_the_kind_can_be_caught_as_what_it_was_before() -> None:
    assert issubclass(ModelLoadError, ValueError)
    assert not issubclass(UnsupportedModelError, ValueError)
