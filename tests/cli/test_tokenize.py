"""`oxillama tokenize`: the tokens of a text."""

from __future__ import annotations

import json

import pytest

from oxillama import Engine
from oxillama.cli import main
from tests.cli.programs import run

TEXT = "Once upon a time"


def test_a_line_per_token(demo: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tokenize", "--demo", "-p", TEXT]) == 0
    rows = [line.split(None, 1) for line in capsys.readouterr().out.splitlines()]
    assert [int(token) for token, _ in rows] == demo.tokenize(TEXT)
    assert rows[0][1] == "'<s>'"


def test_ids_on_one_line(demo: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    for options, expected in (
        ([], demo.tokenize("<|user|>Hi")),
        (["--no-special"], demo.tokenize("<|user|>Hi", add_special=False)),
        (["--parse-special"], demo.tokenize("<|user|>Hi", parse_special=True)),
    ):
        assert main(["tokenize", "--demo", "--ids", "-p", "<|user|>Hi", *options]) == 0
        assert capsys.readouterr().out == " ".join(map(str, expected)) + "\n"


def test_json(demo: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tokenize", "--demo", "--json", "--no-special", "-p", TEXT + " é"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["id"] for row in found] == demo.tokenize(TEXT + " é", add_special=False)
    assert "".join(row["piece"] for row in found[:4]) == TEXT
    # A byte that is no whole character is shown as such.
    assert found[-1]["piece"] in ("\\xa9", "é")


def test_the_text_may_come_from_standard_input(demo: Engine) -> None:
    done = run("tokenize", "--demo", "--ids", stdin=TEXT)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == " ".join(map(str, demo.tokenize(TEXT))) + "\n"


def test_a_model_without_a_tokenizer(
    tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    from oxillama.testing.tiny_models import TinyModel

    path = tmp_path_factory.mktemp("mute") / "mute.gguf"
    TinyModel().write(path)
    assert main(["tokenize", str(path), "-p", TEXT]) == 1
    assert "no tokenizer" in capsys.readouterr().err
