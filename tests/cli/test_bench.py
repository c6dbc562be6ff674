"""`oxillama bench` on the embedded model: its table, its JSON, its picture, and what it refuses."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from oxillama.cli import main
from oxillama.cli.bench_plot import plot
from oxillama.demo import demo_path
from oxillama.extras import install_line
from tests.cli.programs import run

SMALL = ("--demo", "-t", "1", "--rounds", "2")


def report(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert main(["bench", *SMALL, "--json", *arguments]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_every_combination_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    found = report(capsys, "--prefill", "16,32", "--decode", "16", "--depth", "0,64", "--batch", "1,2")
    rows = found["results"]
    assert [(row["kind"], row["tokens"], row["depth"], row["batch"]) for row in rows] == [
        ("prefill", 16, 0, 1),
        ("prefill", 32, 0, 1),
        ("prefill", 16, 64, 1),
        ("prefill", 32, 64, 1),
        ("decode", 16, 0, 1),
        ("decode", 16, 0, 2),
        ("decode", 16, 64, 1),
        ("decode", 16, 64, 2),
    ]
    for row in rows:
        assert row["threads"] == 1
        assert len(row["rounds"]) == 2
        assert row["tokens_per_second"] > 0
        assert row["gigaoperations_per_second"] > 0
        assert row["bandwidth"] > 0
        for entry in row["rounds"]:
            assert entry["tokens_per_second"] > 0
            assert entry["before"]["bandwidth"] > 0
        if row["kind"] == "decode":
            assert row["gigabytes_per_second"] > 0
            assert row["of_bandwidth"] > 0
        else:
            assert row["gigabytes_per_second"] is None
        assert "profile" not in row
    assert found["model"] == "demo.gguf"
    assert found["work"]["weight_bytes"] > 0
    assert found["cpu"]["isa"]


def test_a_profile_comes_with_every_row_that_asked_for_it(capsys: pytest.CaptureFixture[str]) -> None:
    rows = report(capsys, "--prefill", "0", "--decode", "16", "--profile")["results"]
    assert len(rows) == 1
    profile = rows[0]["profile"]
    assert profile["steps"] == 17
    assert {"product", "attention", "norm"} <= {entry["name"] for entry in profile["operations"]}
    assert 0 < profile["other"] < profile["step"]


def test_the_table_has_a_line_per_row(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", *SMALL, "--prefill", "16", "--decode", "16", "--profile"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("demo.gguf: 0.0037 GB of weights, cache f16\n")
    assert sum(line.lstrip().startswith(("1  prefill 16 ", "1  decode 16 ")) for line in out.splitlines()) == 2
    assert out.count("all but products, attention and waiting") == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--demo", "--rounds", "0"], "--rounds must be at least 1, found 0"),
        (["--demo", "-t", "0"], "--threads must be at least 1, found 0"),
        (["--demo", "--batch", "2,0"], "--batch must be at least 1, found 0"),
        (["--demo", "--prefill", "0", "--decode", "0"], "nothing to measure"),
        (["--demo", "--depth", "1,x"], "'1,x'"),
        (["--demo", "--depth", "-1"], "'-1'"),
        (["--demo", "--decode", "8,8"], "'8,8'"),
        (["--demo", "--kv-dtype", "f8"], "f8"),
        ([], "expected one of MODEL"),
    ],
)
def test_wrong_use_exits_with_two(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_info:
        main(["bench", *arguments])
    assert exit_info.value.code == 2
    assert message in capsys.readouterr().err


def test_more_threads_than_anybody_has_exit_with_two(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--demo", "-t", "100000"]) == 2
    assert "n_threads" in capsys.readouterr().err


def test_a_missing_file_exits_with_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "missing.gguf"]) == 1
    assert "missing.gguf" in capsys.readouterr().err


def test_options_come_from_the_environment_too() -> None:
    done = run("bench", "--demo", "--json", OXILLAMA_DECODE="8", OXILLAMA_PREFILL="0", OXILLAMA_ROUNDS="1")
    assert done.returncode == 0, done.stderr
    assert [row["tokens"] for row in json.loads(done.stdout)["results"]] == [8]


def test_without_matplotlib_a_plot_is_refused_before_anything_is_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["bench", *SMALL, "--plot", str(tmp_path / "a.svg")]) == 1
    written = capsys.readouterr()
    assert written.out == ""
    assert install_line("bench") in written.err


def test_a_plot_without_a_folder_is_refused_before_anything_is_measured(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["bench", *SMALL, "--plot", str(tmp_path / "missing" / "a.svg")]) == 1
    written = capsys.readouterr()
    assert written.out == ""
    assert "there is no folder" in written.err


def test_the_picture_names_every_row(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    found = report(capsys, "--prefill", "16", "--decode", "8", "--depth", "0,32", "--batch", "1,2")
    for peak in (found["results"][0]["peak"], 0):
        for row in found["results"]:
            row["peak"] = peak
        plot(found, tmp_path / "bench.svg")
        picture = (tmp_path / "bench.svg").read_text("utf-8")
        assert all(f"<!-- {name} -->" in picture for name in ("prefill 16", "decode 8 x 2 at 32", "tokens per second"))
    plot(found, tmp_path / "bench.png")
    assert (tmp_path / "bench.png").read_bytes().startswith(b"\x89PNG")
    assert main(["bench", *SMALL, "--plot", str(tmp_path / "a.doc")]) == 2
    assert "expected a name that ends with .svg, .png or .pdf" in capsys.readouterr().err


def test_speculation_is_compared_on_texts_of_several_kinds(capsys: pytest.CaptureFixture[str]) -> None:
    found = report(capsys, "--speculation", "--decode", "24")["speculation"]
    assert [row["text"] for row in found] == ["prose", "records", "copy", "predicted"]
    for row in found:
        assert row["is_equal"]
        assert len(row["without"]) == len(row["speculating"]) == 2
        assert row["ratio"] > 0
        assert row["tokens_per_pass"] >= 1
    assert main(["bench", *SMALL, "--speculation", "--decode", "8", "--draft", str(demo_path())]) == 0
    assert "tokens per pass" in capsys.readouterr().out
