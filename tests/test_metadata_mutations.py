"""Whatever stands under a key that the library reads, a file opens and works, or is refused by an error of the tree."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oxillama import Engine, InvalidRequestError, ModelLoadError, OxillamaError, UnsupportedModelError
from oxillama.gguf import Metadata
from tests.metadata_mutations import OPTIONAL, VOCABULARIES, Parts, keys, mutations, parts

TEXT = "Hello <s> é\n\U0001f600 12345"


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """What is logged of such files would be most of a failure's report."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def use(path: Path) -> None:
    """Every request that reads what the file says. Warnings are errors here, as in all tests."""
    with Engine(path, n_threads=1, kv_cache_tokens=64, max_batch_size=2, max_batch_tokens=32, progress=False) as engine:
        repr(engine)
        attempt(lambda: engine.generate([1], max_tokens=2, temperature=0))
        attempt(lambda: engine.embed([[1]]))
        if engine.tokenizer is None:
            return
        # What an engine has accepted, it can work with: a request may be wrong, the file no longer.
        attempt(lambda: engine.tokenize(TEXT, parse_special=True))
        attempt(lambda: engine.generate("hello", max_tokens=1))
        attempt(lambda: engine.chat([{"role": "user", "content": "hello"}], max_tokens=1))
        engine.detokenize(range(min(20, engine.tokenizer.n_vocab)))
        engine.tokenizer.declared_text("bos")


def attempt(request: Any) -> None:
    try:
        request()
    except (ModelLoadError, UnsupportedModelError) as error:
        raise AssertionError("a fault of the file is found when it is opened, not by a request") from error
    except OxillamaError:
        pass


def check(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    message = ""
    try:
        use(path)
    except (ModelLoadError, UnsupportedModelError) as error:
        message = str(error)
    assert len(message) < 1000


@pytest.mark.parametrize("vocabulary", VOCABULARIES)
def test_the_file_itself_works(vocabulary: str, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(parts(vocabulary).file())
    use(path)


@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data())
def test_any_value_under_any_keys(data: st.DataObject, tmp_path: Path) -> None:
    vocabulary = data.draw(st.sampled_from(VOCABULARIES))
    changed = data.draw(st.lists(st.sampled_from(keys(vocabulary)), min_size=1, max_size=3, unique=True))
    changes = [(key, data.draw(st.sampled_from(mutations(vocabulary, key)))) for key in changed]
    check(tmp_path / "model.gguf", parts(vocabulary).file(*changes))


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("vocabulary", VOCABULARIES)
def test_every_value_under_every_key(vocabulary: str, tmp_path: Path) -> None:
    for key in keys(vocabulary):
        for value in mutations(vocabulary, key):
            check(tmp_path / "model.gguf", parts(vocabulary).file((key, value)))


@pytest.mark.parametrize("vocabulary", VOCABULARIES)
def test_a_key_twice_is_refused(vocabulary: str, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    for key in parts(vocabulary).entries:
        path.write_bytes(parts(vocabulary).file(doubled=key))
        with pytest.raises(ModelLoadError, match="unique keys"):
            Engine(path, progress=False)


@pytest.mark.parametrize("vocabulary", VOCABULARIES)
def test_every_key_that_is_read_is_among_those_changed(
    vocabulary: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: set[object] = set()
    read, contains = Metadata.read, Metadata.__contains__

    def recording_read(self: Metadata, key: str, *, strict: bool) -> Any:
        asked.add(key)
        return read(self, key, strict=strict)

    def recording_contains(self: Metadata, key: object) -> bool:
        asked.add(key)
        return contains(self, key)

    monkeypatch.setattr(Metadata, "read", recording_read)
    monkeypatch.setattr(Metadata, "__contains__", recording_contains)
    path = tmp_path / "model.gguf"
    path.write_bytes(parts(vocabulary).file())
    use(path)
    assert "llama.rope.freq_base" in asked
    assert asked <= set(keys(vocabulary))


def test_no_key_is_listed_twice() -> None:
    assert len(OPTIONAL) == len(set(OPTIONAL))


@pytest.mark.parametrize("number", [4, 43, 2**31 - 1, 2**31, 2**32 - 1])
@pytest.mark.parametrize("which", [0, 1, -1], ids=["embedding", "first", "last"])
def test_tensor_types_of_any_number(number: int, which: int, tmp_path: Path) -> None:
    known = parts("spm")
    infos = list(known.tensors)
    # A description ends with the number of its type and its offset.
    infos[which] = infos[which][:-12] + number.to_bytes(4, "little") + infos[which][-8:]
    path = tmp_path / "model.gguf"
    path.write_bytes(Parts(known.entries, tuple(infos), known.data).file())
    with pytest.raises(UnsupportedModelError, match=f"has type {number}"):
        Engine(path, progress=False)


@pytest.mark.parametrize("path", ["a\0b.gguf", b"a\0b.gguf", "\0", "\ud800.gguf", 5, None])
def test_a_path_that_no_file_can_have(path: Any) -> None:
    with pytest.raises(InvalidRequestError, match=r"^path must be") as caught:
        Engine(path)
    assert caught.value.param == "path"


def test_a_path_in_bytes_and_beyond_unicode(tmp_path: Path) -> None:
    path = bytes(tmp_path) + b"/J\xfcrgen.gguf"
    with open(path, "wb") as file:
        file.write(parts("spm").file())
    with Engine(path, n_threads=1, progress=False) as engine:  # type: ignore[arg-type]
        assert engine.name == "J\ufffdrgen"


def test_a_description_that_is_not_unicode_harms_nothing(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    latin = (8, (8).to_bytes(8, "little") + b"J\xfcrgen\xdf!")
    changes = [(key, latin) for key in ("general.author", "general.name", "general.license", "quantize.imatrix.file")]
    path.write_bytes(parts("bpe").file(*changes))
    with Engine(path, n_threads=1, progress=False) as engine:
        assert engine.chat([{"role": "user", "content": "hello"}], max_tokens=1).usage.completion_tokens == 1
        assert engine.metadata["general.author"] == "J\ufffdrgen\ufffd!"


@pytest.mark.parametrize("key", ["general.architecture", "tokenizer.ggml.model", "tokenizer.chat_template"])
def test_a_text_that_decides_something_must_be_unicode(key: str, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(parts("bpe").file((key, (8, (1).to_bytes(8, "little") + b"\xff"))))
    with pytest.raises(ModelLoadError, match=f"{key}.*expected UTF-8"):
        Engine(path, progress=False)
