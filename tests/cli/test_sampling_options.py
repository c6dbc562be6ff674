"""The options of a generation: they follow the fields of SamplingParams, and reach them."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

import pytest

from oxillama import SamplingParams
from oxillama.cli import main
from oxillama.cli import run as run_command
from oxillama.cli.sampling_options import LEFT_OUT, SHOWN
from oxillama.sampling.presets import TERMINAL
from tests.cli.programs import run

VALUES: dict[str, tuple[list[str], Any]] = {
    "max_tokens": (["-n", "3"], 3), "temperature": (["--temp", "0.5"], 0.5), "top_k": (["--top-k", "7"], 7),
    "top_p": (["--top-p", "0.5"], 0.5), "min_p": (["--min-p", "0.1"], 0.1), "typical_p": (["--typical", "0.9"], 0.9),
    "top_a": (["--top-a", "0.1"], 0.1), "top_n_sigma": (["--top-nsigma", "2"], 2.0),
    "epsilon_cutoff": (["--epsilon-cutoff", "0.001"], 0.001), "eta_cutoff": (["--eta-cutoff", "0.001"], 0.001),
    "xtc_probability": (["--xtc-probability", "0.5"], 0.5), "xtc_threshold": (["--xtc-threshold", "0.2"], 0.2),
    "dry_multiplier": (["--dry-multiplier", "0.8"], 0.8), "dry_base": (["--dry-base", "2"], 2.0),
    "dry_allowed_length": (["--dry-allowed-length", "3"], 3), "dry_penalty_last_n": (["--dry-penalty-last-n", "9"], 9),
    "dry_sequence_breakers": (["--dry-sequence-breaker", ";", "--dry-sequence-breaker", "."], (";", ".")),
    "repetition_penalty": (["--repeat-penalty", "1.1"], 1.1), "repeat_last_n": (["--repeat-last-n", "-1"], -1),
    "presence_penalty": (["--presence-penalty", "-1"], -1.0), "frequency_penalty": (["--frequency-penalty", "1"], 1.0),
    "dynatemp_range": (["--dynatemp-range", "0.2"], 0.2), "dynatemp_exponent": (["--dynatemp-exp", "2"], 2.0),
    "mirostat": (["--mirostat", "2"], 2), "mirostat_tau": (["--mirostat-ent", "4"], 4.0),
    "mirostat_eta": (["--mirostat-lr", "0.2"], 0.2),
    "logit_bias": (["-l", "5+1.5", "-l", "a-2", "-l", "7-inf"], {5: 1.5, "a": -2.0, 7: -float("inf")}),
    "banned_tokens": (["--ban-token", "5", "--ban-token", "6"], (5, 6)), "seed": (["-s", "7"], 7),
    "stop": (["--stop", "x y", "-r", "z"], ("x y", "z")), "stop_token_ids": (["--stop-token", "9"], (9,)),
    "ignore_eos": (["--ignore-eos"], True), "min_tokens": (["--min-tokens", "2"], 2),
    "thinking_budget": (["--reasoning-budget", "9"], 9), "stop_in_thinking": (["--stop-in-thinking"], True),
    "deadline": (["--deadline", "60"], 60.0),
}  # fmt: skip


def params_of(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> SamplingParams:
    """What the command makes of its options."""

    class Enough(Exception):
        pass

    found = []

    def make(**values: Any) -> SamplingParams:
        found.append(SamplingParams(**values))
        raise Enough

    monkeypatch.setattr(run_command, "SamplingParams", make)
    with pytest.raises(Enough):
        main(["run", "--demo", "-p", "x", *arguments])
    return found[0]


def test_every_field_has_an_option_or_a_reason() -> None:
    # A new field of SamplingParams belongs into one of the two tables of cli/sampling_options.py.
    assert {field.name for field in fields(SamplingParams)} == SHOWN.keys() | LEFT_OUT.keys()
    assert SHOWN.keys().isdisjoint(LEFT_OUT)
    assert SHOWN.keys() == VALUES.keys()


@pytest.mark.parametrize("name", VALUES)
def test_an_option_reaches_its_field(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments, value = VALUES[name]
    more = ["-n", "9"] if name == "min_tokens" else []
    changed = SamplingParams(**({**TERMINAL, name: value} | ({"max_tokens": 9} if more else {})))
    assert params_of(monkeypatch, *arguments, *more) == changed


def test_the_defaults_are_the_terminals(monkeypatch: pytest.MonkeyPatch) -> None:
    assert params_of(monkeypatch) == SamplingParams(**TERMINAL)
    assert params_of(monkeypatch, "-n", "-1", "-s", "-1") == SamplingParams(**TERMINAL)


@pytest.mark.parametrize(("raw", "kind"), [([], "chat.completion"), (["--raw"], "text_completion")])
def test_json_is_the_whole_result(raw: list[str], kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--demo", "Hello", "--json", "-n", "4", "-c", "0", "--temp", "0", *raw]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["object"] == kind
    assert found["usage"]["completion_tokens"] == 4


def test_a_prompt_is_a_word_of_its_own_too() -> None:
    for named in (["--demo", "Hello"], ["--demo", "-p", "Hello"]):
        done = run("run", *named, "-n", "4", "--temp", "0", "-q")
        assert (done.returncode, done.stderr) == (0, "")
        assert "Hello" not in done.stdout.partition("\n")[2]
    assert run("run", "--demo", "-q", "-n", "2", "--", "-x-").returncode == 0
