"""Where an option's value comes from, and what the exit code says of a value that nobody could use."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from oxillama.cli import main
from oxillama.demo import demo_path


def ids_of(capsys: pytest.CaptureFixture[str]) -> list[int]:
    return [int(token) for token in capsys.readouterr().out.split()]


def test_environment_beats_file_and_the_command_line_beats_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "oxillama.toml"
    config.write_text('prompt = "file"\n', "utf-8")
    found = {}
    for source in ("file", "environment", "command line"):
        typed = ["-p", "command line"] if source == "command line" else []
        monkeypatch.setenv("OXILLAMA_CONFIG", str(config))
        if source == "environment":
            monkeypatch.setenv("OXILLAMA_PROMPT", "environment")
        assert main(["tokenize", "--demo", "--ids", *typed]) == 0
        found[source] = ids_of(capsys)
        monkeypatch.delenv("OXILLAMA_CONFIG")
        assert main(["tokenize", "--demo", "--ids", "-p", source]) == 0
        assert found[source] == ids_of(capsys)


@pytest.mark.parametrize(
    "typed", [["--demo"], ["-m", str(demo_path())], [str(demo_path())]], ids=lambda typed: typed[0]
)
def test_a_typed_model_hides_the_one_of_the_environment(
    typed: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OXILLAMA_MODEL", "missing.gguf")
    assert main(["tokenize", *typed, "--ids", "-p", "a"]) == 0
    assert main(["tokenize", "--ids", "-p", "a"]) == 1
    assert "missing.gguf" in capsys.readouterr().err


def test_a_prompt_may_come_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OXILLAMA_PROMPT", "Once upon a time")
    assert main(["run", "--demo", "--raw", "-n", "1", "-q"]) == 0
    assert capsys.readouterr().out.startswith("Once upon a time")


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "--demo"],
        ["run", "-p", "a"],
        ["run", "--demo", "-m", "model.gguf", "-p", "a"],
        ["run", "--demo", "-p", "a", "-f", "b"],
        ["run", "--demo", "-p", "a", "--temp", "-1"],
        ["run", "--demo", "-p", "a", "-t", "0"],
        ["run", "--demo", "-p", "a", "--kv-dtype", "f8"],
    ],
    ids=" ".join,
)
def test_wrong_use_exits_with_two(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_info:
        sys.exit(main(arguments))
    assert exit_info.value.code == 2
    assert "oxillama" in capsys.readouterr().err


def test_what_this_file_or_prompt_cannot_do_exits_with_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bytes").write_bytes(b"a\xff")
    assert main(["run", "--demo", "-f", str(tmp_path / "bytes")]) == 1
    assert main(["run", "--demo", "-p", "a" * 3000]) == 1
    assert main(["info", str(tmp_path / "bytes")]) == 1
    assert "Traceback" not in capsys.readouterr().err


def test_the_configuration_holds_options_of_every_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "oxillama.toml"
    config.write_text('demo = true\npredict = 3\ntemp = 0\nstop = ["x", "y"]\nquiet = true\nids = true\n', "utf-8")
    monkeypatch.setenv("OXILLAMA_CONFIG", str(config))
    assert main(["run", "--raw", "-p", "Once upon a time"]) == 0
    written = capsys.readouterr()
    assert written.err == ""
    assert main(["tokenize", "-p", written.out.strip().removeprefix("Once upon a time"), "--no-special"]) == 0
    assert len(ids_of(capsys)) == 3
    # An option of another command than the one that runs is no error.
    assert main(["info"]) == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [("ctx_size = 5", "'ctx_size', which is no option"), ("= 5", "cannot read the configuration"), ("\xff", "cannot")],
)
def test_a_wrong_configuration_exits_with_two(
    text: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "oxillama.toml"
    config.write_text(text, "latin-1")
    monkeypatch.setenv("OXILLAMA_CONFIG", str(config))
    with pytest.raises(SystemExit) as exit_info:
        main(["info", "--demo"])
    assert exit_info.value.code == 2
    assert message in capsys.readouterr().err


def test_a_wrong_value_in_the_environment_exits_with_two(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OXILLAMA_CTX_SIZE", "many")
    with pytest.raises(SystemExit) as exit_info:
        main(["run", "--demo", "-p", "a"])
    assert exit_info.value.code == 2
    assert "invalid int value: 'many'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "name", "message"),
    [
        (["run", "--demo", "-p", "a"], "KV_DTYPE", "--kv-dtype: invalid choice: 'maybe' (choose from 'f16', "),
        (["serve"], "LOG_LEVEL", "--log-level: invalid choice: 'maybe'"),
        (["run", "--demo", "-p", "a"], "QUIET", "--quiet: expected true or false, found 'maybe'"),
        (["run", "-p", "a"], "DEMO", "--demo: expected true or false, found 'maybe'"),
    ],
)
def test_what_could_not_be_typed_is_wrong_in_the_environment_too(
    arguments: list[str], name: str, message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(f"OXILLAMA_{name}", "maybe")
    with pytest.raises(SystemExit) as exit_info:
        main(arguments)
    assert exit_info.value.code == 2
    assert message in capsys.readouterr().err
    # It is no option of this command, or another one was typed.
    assert main(["info", "--demo"]) == 0


@pytest.mark.parametrize(("text", "quiet"), [("1", True), ("ON", True), ("0", False), ("No", False), ("", False)])
def test_an_option_without_a_value_is_on_or_off_in_the_environment(
    text: str, quiet: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OXILLAMA_QUIET", text)
    assert main(["run", "--demo", "-p", "a", "-n", "1"]) == 0
    assert (capsys.readouterr().err == "") == quiet


def test_typed_stops_replace_those_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = ["run", "--demo", "--raw", "-p", "Once upon", "-n", "12", "--temp", "0", "-q"]
    assert main([*run, "--stop", "was"]) == 0
    expected = capsys.readouterr().out
    assert " time" in expected
    monkeypatch.setenv("OXILLAMA_STOP", "time")
    assert main([*run, "--stop", "was"]) == 0
    assert capsys.readouterr().out == expected
    assert main(run) == 0
    assert "time" not in capsys.readouterr().out
