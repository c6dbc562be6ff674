from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from oxillama.cli import main
from oxillama.cli.lora_options import NamedAdapter, named_adapters
from oxillama.testing.tiny_adapters import TinyAdapter
from oxillama.testing.tiny_models import TinyModel


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a=x.gguf", NamedAdapter("a", "x.gguf")),
        ("a=x.gguf=0.5", NamedAdapter("a", "x.gguf", 0.5)),
        ("a=dir/k=v.gguf", NamedAdapter("a", "dir/k=v.gguf")),
        ("dir/x.gguf", NamedAdapter("x", "dir/x.gguf")),
        ("/dir/k=v/x.gguf", NamedAdapter("x", "/dir/k=v/x.gguf")),
    ],
)
def test_what_is_typed(text: str, expected: NamedAdapter) -> None:
    assert named_adapters(SimpleNamespace(lora=[text])) == [expected]


def test_run_and_bench_wear_adapters(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base, file = tmp_path / "base.gguf", tmp_path / "a.gguf"
    TinyModel(tokenizer=True).write(base)
    TinyAdapter.of(base, strength=2.0).write(file)
    found = []
    for extra in ([], ["--lora", f"a={file}"], ["--lora", f"a={file}=0"]):
        command = ["run", str(base), "-p", "Once", "--raw", "--temp", "0", "-n", "12", "--ignore-eos", "--json", *extra]
        assert main(command) == 0
        found.append(json.loads(capsys.readouterr().out)["choices"][0]["text"])
    assert found[0] == found[2] != found[1]
    command = ["bench", str(base), "--prefill", "8", "--decode", "4", "--batch", "2", "--rounds", "1", "--json"]
    assert main([*command, "--threads", "1", "--lora", str(file)]) == 0
    assert json.loads(capsys.readouterr().out)["adapters"] == ["a"]


def test_a_bad_adapter_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--demo", "-p", "Once", "--lora", f"a={tmp_path / 'nothing.gguf'}"]) != 0
    assert "nothing.gguf" in capsys.readouterr().err
