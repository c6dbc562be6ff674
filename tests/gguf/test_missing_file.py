"""A path that leads nowhere: what was probably meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from oxillama import Engine
from oxillama.gguf.missing_file import missing_file


@pytest.mark.parametrize(
    ("path", "advice"),
    [
        ("bartowski/SmolLM2-GGUF", "oxillama pull bartowski/SmolLM2-GGUF`"),
        ("hf.co/bartowski/SmolLM2-GGUF", "oxillama pull bartowski/SmolLM2-GGUF`"),
        ("https://huggingface.co/a/b", "oxillama pull a/b`"),
        ("https://huggingface.co/a/b/resolve/main/c-Q8_0.gguf", "oxillama pull a/b c-Q8_0.gguf`"),
        ("a-nobody/b:Q4_K_M", "oxillama pull a-nobody/b Q4_K_M`"),
        ("hf://a/b", "Engine.from_pretrained('a/b')"),
    ],
)
def test_an_id_typed_as_a_path_says_so(path: str, advice: str) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        Engine(path)
    assert advice in str(caught.value)
    assert caught.value.filename == path


def test_a_near_name_is_proposed(tmp_path: Path) -> None:
    (tmp_path / "SmolLM2-Q4_K_M.gguf").touch()
    assert f"(did you mean {str(tmp_path / 'SmolLM2-Q4_K_M.gguf')!r}?)" in str(
        missing_file(str(tmp_path / "SmolLM2-Q4KM.gguf"))
    )
    (tmp_path / "notes.txt").touch()
    assert "did you mean" not in str(missing_file(str(tmp_path / "notes.gguf")))


def test_nothing_is_made_up(tmp_path: Path) -> None:
    assert str(missing_file("missing.gguf")) == "[Errno 2] No such file or directory: 'missing.gguf'"
    assert "pull" not in str(missing_file("models/missing.gguf"))
    assert "pull" not in str(missing_file(f"{tmp_path}/b"))
    assert "no folder" in str(missing_file(f"{tmp_path}/a/b/c/d.gguf"))
