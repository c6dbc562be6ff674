"""`oxillama info`: what is in a file, without loading it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from oxillama.cli import main
from oxillama.testing.tiny_models import TinyModel
from tests.cli.programs import LIMIT, command, environment, run


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.gguf"
    TinyModel(tokenizer=True, metadata={"general.note": "line one\nline two", "general.tags": ["a", "b"]}).write(path)
    return path


def test_it_shows_metadata_and_totals(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{path}: GGUF version 3, ")
    assert lines[1].endswith("parameters in 21 tensors: 21 F32")
    shown = dict(line.split(None, 1) for line in lines if line.startswith("  "))
    assert shown["general.architecture"] == "llama"
    assert shown["llama.block_count"] == "2"
    assert shown["tokenizer.ggml.tokens"] == "<259 strings>"
    assert shown["general.note"] == r"'line one\nline two'"


def test_it_lists_tensors_when_asked(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(path), "--tensors"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["blk.1.ffn_down.weight", "F32", "96", "x", "64"] in lines
    assert ["output_norm.weight", "F32", "64"] in lines


def test_it_speaks_json(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["metadata"]["llama.attention.head_count"] == 4
    assert found["parameters"] == sum(int(tensor["bytes"]) // 4 for tensor in found["tensors"])
    assert found["types"] == {"F32": 21}
    assert {"name": "blk.0.attn_k.weight", "type": "F32", "shape": [64, 32], "bytes": 8192} in found["tensors"]


def test_the_embedded_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "--demo"]) == 0
    assert "tokenizer.chat_template" in capsys.readouterr().out


def test_a_file_that_is_no_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text").write_text("Once upon a time, and so on", "utf-8")
    assert main(["info", str(tmp_path / "text")]) == 1
    assert main(["info", str(tmp_path / "missing")]) == 1
    written = capsys.readouterr()
    assert written.out == ""
    assert [line.startswith("oxillama: ") for line in written.err.splitlines()] == [True, True]


def test_an_architecture_that_cannot_run_is_shown_all_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "other.gguf"
    TinyModel(metadata={"general.architecture": "perceptron"}).write(path)
    assert main(["info", str(path)]) == 0
    assert "perceptron" in capsys.readouterr().out


def test_a_reader_that_leaves_and_a_full_disk_are_no_tracebacks(path: Path) -> None:
    with subprocess.Popen(
        command("info", str(path), "--tensors"), env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(LIMIT) == 1
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            command("info", str(path)), env=environment(), stdout=full, stderr=subprocess.PIPE, text=True, timeout=LIMIT
        )
    assert (done.returncode, done.stderr) == (1, "oxillama: [Errno 28] No space left on device\n")


def test_the_version_is_told() -> None:
    done = run("--version")
    assert (done.returncode, done.stdout.split()[0]) == (0, "oxillama")


def test_it_says_whether_the_file_would_run(path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(path)]) == 0
    assert capsys.readouterr().out.splitlines()[2].startswith("runs, with a context of 256 tokens: ")
    assert main(["info", str(path), "--json"]) == 0
    fitness = json.loads(capsys.readouterr().out)["fitness"]
    assert fitness["runs"]
    assert fitness["weights"] > 0
    strange = tmp_path / "strange.gguf"
    TinyModel(metadata={"llama.unheard_of": 1}).write(strange)
    assert main(["info", str(strange)]) == 0
    verdict = capsys.readouterr().out.splitlines()[2]
    assert verdict.startswith("does not run: ")
    assert "llama.unheard_of" in verdict
