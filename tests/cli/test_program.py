"""What the commands have in common: help, version, completion, and how much of the package they import."""

from __future__ import annotations

import subprocess
import sys

import pytest

import oxillama
from oxillama.cli import COMMANDS, main
from tests.cli.programs import LIMIT, environment, run


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_info:
        main([*([command] if command else []), "-h"])
    assert exit_info.value.code == 0
    written = capsys.readouterr()
    assert written.err == ""
    assert written.out.startswith(f"Usage: oxillama {command}".rstrip())
    if not command:
        assert all(f"  {name}" in written.out for name in COMMANDS)


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_info:
        main(["--version"])
    assert exit_info.value.code == 0
    assert capsys.readouterr().out == f"oxillama {oxillama.__version__}\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_for_every_shell(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    assert "_OXILLAMA_COMPLETE" in capsys.readouterr().out


def test_commands_and_options_are_completed() -> None:
    def complete(line: str, word: int) -> list[str]:
        done = run(_OXILLAMA_COMPLETE="bash_complete", COMP_WORDS=line, COMP_CWORD=str(word))
        return [found.partition(",")[2] for found in done.stdout.split()]

    assert complete("oxillama ru", 1) == ["run"]
    assert complete("oxillama run --repeat-l", 2) == ["--repeat-last-n"]
    assert complete("oxillama run --kv-dtype q", 3) == ["q8_0"]


def test_help_loads_nothing_of_the_engine() -> None:
    code = (
        "import sys\nfrom oxillama.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
        "print([name for name in ('numpy', 'oxillama.engine', 'huggingface_hub', 'jinja2') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, timeout=LIMIT, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_shorter_names_are_not_guessed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["run", "--demo", "-p", "x", "--pred", "1"])
    assert "did you mean --predict?" in capsys.readouterr().err
