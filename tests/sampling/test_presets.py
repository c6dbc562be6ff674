"""Defaults with a name: the page says what the code has, and what a file recommends is used on request only."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from oxillama import Engine, InvalidRequestError, SamplingParams
from oxillama.cli import main
from oxillama.cli.sampling_options import sampling_options
from oxillama.sampling.presets import FILE_KEYS, TERMINAL, recommended
from oxillama.testing.tiny_models import TinyModel
from tests.conftest import REPOSITORY

PAGE = (REPOSITORY / "docs" / "defaults.md").read_text("utf-8")
ROWS = {row[0]: row[1:] for row in re.findall(r"^\| `(\w+)` \| ([^|]*) \| ([^|]*) \|", PAGE, re.MULTILINE)}
FILE = {
    "general.sampling.temp": np.float32(0.6),
    "general.sampling.top_k": np.int32(20),
    "general.sampling.top_p": np.float32(0.95),
}


def shown(value: Any) -> str:
    return str(value)


def test_the_page_says_the_code_s_defaults() -> None:
    assert {"temperature", "top_k", "top_p", "min_p"} <= ROWS.keys()
    for name, (api, terminal) in ROWS.items():
        default = getattr(SamplingParams(), name)
        assert api.startswith(shown(default)), name
        if default is not None:
            assert terminal.startswith(shown(TERMINAL.get(name, default))), name
    assert {field.name for field in fields(SamplingParams)} > TERMINAL.keys()


def test_the_commands_have_them() -> None:
    defaults = {getattr(option, "field", ""): option.default for option in sampling_options()}
    assert {name: defaults[name] for name in TERMINAL} == dict(TERMINAL)


def test_a_file_s_numbers_are_those_that_were_meant(tmp_path: Path) -> None:
    path = tmp_path / "tiny.gguf"
    TinyModel(tokenizer=True, metadata=FILE).write(path)
    with Engine(path, n_threads=1, progress=False) as engine:
        assert engine.recommended_sampling == {"temperature": 0.6, "top_k": 20, "top_p": 0.95}
        engine.generate("x", max_tokens=1, **engine.recommended_sampling)
    with Engine.demo(n_threads=1, progress=False) as engine:
        assert engine.recommended_sampling == {}


def test_an_option_that_is_typed_wins(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(tmp_path / "tiny.gguf")
    TinyModel(tokenizer=True, metadata={"general.sampling.temp": np.float32(0.0)}).write(path)

    def said(*options: str) -> str:
        assert main(["run", path, "x", "-n", "8", "-t", "1", "-q", "--ignore-eos", *options]) == 0
        return capsys.readouterr().out

    greedy = said("--temp", "0")
    assert said("--recommended", "-s", "1") == said("--recommended", "-s", "2") == greedy
    assert said("--recommended", "--temp", "5", "--top-k", "0", "--top-p", "1", "-s", "1") != greedy


@pytest.mark.parametrize(("key", "value"), [("temp", -1.0), ("top_p", 5.0), ("top_k", "many"), ("mirostat", 7)])
def test_what_no_request_could_use_is_named(key: str, value: object) -> None:
    with pytest.raises(InvalidRequestError, match=f"general.sampling.{key}") as caught:
        recommended({f"general.sampling.{key}": value})
    assert caught.value.param == FILE_KEYS[key]
