"""`oxillama run`: what it writes where, and how it ends."""

from __future__ import annotations

import re
import signal
import subprocess
from pathlib import Path

import pytest

from oxillama import Engine
from oxillama.cli import main
from tests.cli.programs import LIMIT, command, environment, run

PROMPT = "Once upon a time"
GREEDY = ["run", "--demo", "--raw", "-t", "1", "--temp", "0", "-n", "12"]


@pytest.fixture(scope="module")
def greedy(demo: Engine) -> str:
    return demo.generate(PROMPT, max_tokens=12, temperature=0).text


def test_it_writes_the_prompt_and_its_continuation(greedy: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*GREEDY, "-p", PROMPT]) == 0
    written = capsys.readouterr()
    assert written.out == f"{PROMPT}{greedy}\n"
    assert re.fullmatch(r"\[5 prompt tokens in \d+\.\d\d s, 12 tokens written, \d+\.\d tokens/s\]\n", written.err), (
        written.err
    )


def test_only_what_the_model_writes(greedy: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*GREEDY, "-p", PROMPT, "--no-display-prompt", "-q"]) == 0
    assert capsys.readouterr() == (f"{greedy}\n", "")


def test_the_prompt_may_come_from_standard_input_or_a_file(tmp_path: Path, greedy: str) -> None:
    done = run(*GREEDY, "-p", "-", "-q", stdin=PROMPT)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{PROMPT}{greedy}\n", "")
    (tmp_path / "prompt.txt").write_text(PROMPT, "utf-8")
    assert run(*GREEDY, "-f", str(tmp_path / "prompt.txt"), "-q").stdout == f"{PROMPT}{greedy}\n"


def test_a_context_beyond_the_trained_one_is_warned_of_in_one_line() -> None:
    done = run(*GREEDY, "-p", PROMPT, "-q", "-c", "5000")
    assert done.returncode == 0
    assert re.fullmatch(
        r"a context of 5000 tokens is longer than the \d+ the model was trained for: [a-z ]+\n", done.stderr
    )


def test_a_seed_repeats_a_run(capsys: pytest.CaptureFixture[str]) -> None:
    texts = []
    for seed in ("1", "1", "2"):
        assert main(["run", "--demo", "-t", "1", "-p", PROMPT, "-n", "20", "-s", seed, "-q"]) == 0
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1] != texts[2]


def test_options_reach_the_sampler(greedy: str, capsys: pytest.CaptureFixture[str]) -> None:
    stop = greedy[10:13]
    assert main([*GREEDY, "-p", PROMPT, "-q", "--no-display-prompt", "--stop", stop, "--stop", "never"]) == 0
    assert capsys.readouterr().out == greedy[: greedy.index(stop)] + "\n"
    assert (
        main(
            ["run", "--demo", "--raw", "-t", "1", "-p", PROMPT, "-n", "12", "--top-k", "1", "-q", "--no-display-prompt"]
        )
        == 0
    )
    assert capsys.readouterr().out == greedy + "\n"


def test_a_model_may_be_named_in_two_ways(long_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for named in ([str(long_model)], ["-m", str(long_model)]):
        options = ["--ignore-eos", "-n", "5", "-t", "1", "-c", "64", "--kv-dtype", "f32", "--f16", "bf16", "--no-mmap"]
        assert main(["run", *named, "-p", "x", "-s", "1", *options]) == 0
        assert "5 tokens written" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["run", "missing.gguf", "-p", "x"], 1, "No such file or directory: 'missing.gguf'"),
        (["run", "--demo", "-f", "missing.txt"], 1, "No such file or directory: 'missing.txt'"),
        (["run", __file__, "-p", "x"], 1, "the magic b'GGUF'"),
        (["run", "--demo", "-p", "x" * 9000], 1, "the context holds"),
        (["run", "--demo", "-c", "2147483647", "-p", "x"], 1, "does not fit into memory"),
        (["run", "--demo", "-p", "x", "-c", "-1"], 2, "n_ctx must be an integer"),
        (["run", "--demo", "-p", "x", "--top-p", "2"], 2, "top_p must be a number from 0 to 1"),
        (["run", "--demo", "-p", "x", "-n", "many"], 2, "invalid int value: 'many'"),
        (["run", "--demo", "-p", "x", "--color"], 2, "unrecognized arguments: --color"),
    ],
    ids=lambda value: " ".join(value)[:30] if isinstance(value, list) else "",
)
def test_errors_are_one_message_and_a_code(
    arguments: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        found = main(arguments)
    except SystemExit as error:  # argparse
        found = int(str(error.code))
    written = capsys.readouterr()
    assert found == code
    assert message in written.err
    assert "Traceback" not in written.err
    # Not the prompt, and nothing of a text that never came.
    assert written.out == ""


def test_bytes_that_are_no_text_are_told(tmp_path: Path) -> None:
    done = run("run", "--demo", "-p", "-", stdin=b"a\xffb", PYTHONIOENCODING="utf-8:strict")
    assert done.returncode == 1
    assert done.stderr.startswith("oxillama: ")
    assert done.stdout == ""


def test_a_reader_that_leaves_ends_it_quietly(long_model: Path) -> None:
    arguments = command("run", str(long_model), "-t", "1", "-p", "x", "--ignore-eos")
    with subprocess.Popen(arguments, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.read(10)
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(LIMIT) == 1


def test_a_full_disk_is_told_once() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            command(*GREEDY, "-p", "x"),
            env=environment(),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=LIMIT,
        )
    assert (done.returncode, done.stderr) == (1, "oxillama: [Errno 28] No space left on device\n")


def test_ctrl_c_ends_it_with_130(long_model: Path) -> None:
    arguments = command("run", str(long_model), "-t", "1", "-p", "x", "--ignore-eos")
    with subprocess.Popen(arguments, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.read(10)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=LIMIT)
    assert (process.returncode, err) == (130, b"")
    assert out.endswith(b"\n")
