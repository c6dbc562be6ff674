"""`oxillama embed` and `oxillama rerank`: texts from words, files and standard input; the vectors and scores."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from oxillama import Engine
from oxillama.cli import main
from tests.cli.programs import run
from tests.tiny_encoder import TinyEncoder

TEXTS = ["the fox ran far", "a bear who had a hat"]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("embed") / "both.gguf"
    TinyEncoder(labels=1, metadata={"bert.pooling_type": 1}).write(path)
    return str(path)


@pytest.fixture(scope="module")
def vectors(path: str) -> list[list[float]]:
    with Engine(path, n_threads=1, progress=False) as engine:
        found: list[list[float]] = engine.embed(TEXTS).tolist()
        return found


def rows(out: str) -> list[list[float]]:
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["index"] for line in lines] == list(range(len(lines)))
    return [line["embedding"] for line in lines]


def test_words_become_json_lines(path: str, vectors: list[list[float]], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["embed", path, *TEXTS]) == 0
    assert rows(capsys.readouterr().out) == vectors


def test_files_of_lines_and_of_json(
    path: str, vectors: list[list[float]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.txt").write_text(f"{TEXTS[0]}\n\n")
    (tmp_path / "b.jsonl").write_text(json.dumps({"id": 3, "body": TEXTS[1]}) + "\n" + json.dumps(TEXTS[0]) + "\n")
    files = ["-f", str(tmp_path / "a.txt"), "-f", str(tmp_path / "b.jsonl")]
    assert main(["embed", path, *files, "--field", "body"]) == 0
    assert rows(capsys.readouterr().out) == [vectors[0], vectors[1], vectors[0]]
    with pytest.raises(SystemExit) as caught:
        main(["embed", path, "-f", str(tmp_path / "b.jsonl")])
    assert caught.value.code == 2
    assert "line 1" in capsys.readouterr().err


def test_a_numpy_file(path: str, vectors: list[list[float]], tmp_path: Path) -> None:
    out = tmp_path / "rows.npy"
    assert main(["embed", path, *TEXTS, "-o", str(out), "--dimensions", "5", "--no-normalize"]) == 0
    found = np.load(out)
    assert (found.shape, found.dtype) == ((2, 5), np.float32)
    assert main(["embed", path, *TEXTS, "-o", str(tmp_path / "rows.jsonl")]) == 0
    assert rows((tmp_path / "rows.jsonl").read_text()) == vectors


def test_standard_input(path: str, vectors: list[list[float]]) -> None:
    done = run("embed", path, stdin="\n".join(TEXTS))
    assert (done.returncode, rows(done.stdout)) == (0, vectors)


def test_rerank(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    with Engine(path, n_threads=1, progress=False) as engine:
        scores = engine.rerank("hat", TEXTS)
    assert main(["rerank", path, "--query", "hat", *TEXTS]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    best = [int(index) for index in (-scores).argsort()]
    assert found == [{"index": i, "score": float(scores[i]), "text": TEXTS[i]} for i in best]
    assert main(["rerank", path, "--query", "hat", "--top-n", "1", *TEXTS]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1


@pytest.mark.parametrize(
    "words", [["rerank", "{path}", "a"], ["rerank", "{path}", "--query", "a", "--top-n", "0", "b"], ["embed"]]
)
def test_wrong_use(path: str, words: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([word.format(path=path) for word in words])
    assert caught.value.code == 2
