"""Processes without a usable standard error: engines open and answer, programs serve, bars and logs are dropped."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from oxillama import Engine
from oxillama.progress import reporting
from oxillama.standard_error import Forgiving, is_terminal, keep_descriptors, say, standard_error
from oxillama.testing.tiny_models import TinyModel

# What a host may do with its standard error before it opens an engine.
LOSSES = {
    "none": "sys.stderr = None",
    "closed stream": "sys.stderr.close()",
    "closed stream and log": "import logging; logging.basicConfig(filename=os.devnull); sys.stderr.close()",
    "closed descriptor": "os.close(2)",
    "no descriptor left": "os.close(2); sys.stderr = None",
    "read-only descriptor": "os.dup2(os.open(os.devnull, os.O_RDONLY), 2)",
    "object of the host": "sys.stderr = type('Log', (), {'write': lambda *text: 1, 'flush': lambda self: None})()",
}

BODY = """
import os, sys
{loss}
from oxillama import Engine
for progress in (None, True):
    # A context beyond the trained one is warned of.
    with Engine({path!r}, n_ctx=400, n_threads=1, progress=progress) as engine:
        engine.generate("a", max_tokens=1)
        engine.generate_batch(["a", "b"], max_tokens=1, progress=progress)
        engine.embed(["a", "b"], progress=progress)
print("fine")
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "tiny.gguf"
    TinyModel(tokenizer=True, n_layers=1).write(path)
    return path


@pytest.mark.parametrize("loss", LOSSES)
def test_an_engine_opens_and_answers(loss: str, model: Path) -> None:
    script = BODY.format(loss=LOSSES[loss], path=str(model))
    done = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "fine\n")


def test_an_engine_opens_where_the_descriptor_was_never_there(model: Path) -> None:
    script = BODY.format(loss="assert sys.stderr is None", path=str(model))
    done = subprocess.run(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, check=False, preexec_fn=lambda: os.close(2)
    )
    assert (done.returncode, done.stdout) == (0, "fine\n")


def test_a_program_prints_nothing_else_on_standard_output(model: Path) -> None:
    arguments = [sys.executable, "-m", "oxillama", "run", str(model), "-p", "ab", "-n", "1", "--temp", "0"]
    whole = subprocess.run(arguments, capture_output=True, check=True)
    assert b"prompt tokens" in whole.stderr
    mute = subprocess.run(arguments, stdout=subprocess.PIPE, check=False, preexec_fn=lambda: os.close(2))
    assert (mute.returncode, mute.stdout) == (0, whole.stdout)


def test_a_server_says_that_it_is_ready(model: Path) -> None:
    arguments = [sys.executable, "-m", "oxillama", "serve", str(model), "--port", "0"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, preexec_fn=lambda: os.close(2)) as server:
        assert server.stdout is not None
        ready = json.loads(server.stdout.readline())
        server.terminate()
        assert (ready["event"], server.wait()) == ("ready", 0)


def test_the_descriptors_of_a_program_are_never_those_of_a_file_or_a_client() -> None:
    script = (
        "import os, socket\n"
        "from oxillama.standard_error import keep_descriptors\n"
        "keep_descriptors()\n"
        "found = socket.socket().fileno()\n"
        "assert found > 2, found\n"
        "assert os.fstat(2).st_rdev == os.stat(os.devnull).st_rdev\n"
    )
    for lost in ((2,), (0, 2), (0, 1, 2)):
        done = subprocess.run([sys.executable, "-c", script], check=False, preexec_fn=_closing(lost))
        assert done.returncode == 0, lost


def _closing(descriptors: tuple[int, ...]) -> Callable[[], None]:
    def close() -> None:
        for descriptor in descriptors:
            os.close(descriptor)

    return close


def test_streams_that_are_there_are_left_alone() -> None:
    before = (sys.stdin, sys.stdout, sys.stderr)
    keep_descriptors()
    assert (sys.stdin, sys.stdout, sys.stderr) == before


@pytest.mark.parametrize("stream", ["none", "closed", "broken"])
def test_what_cannot_be_said_is_dropped(stream: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stderr", {"none": None, "closed": closed, "broken": Broken()}[stream])
    assert not is_terminal()
    say("lost")
    assert Forgiving().write("lost") == 4
    with reporting(True, total=10, label="working", unit="B") as advance:
        advance(4)
        advance(6)


def test_what_can_be_said_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    heard = io.StringIO()
    monkeypatch.setattr(sys, "stderr", heard)
    assert standard_error() is heard
    say("a line")
    assert heard.getvalue() == "a line\n"


def test_a_log_without_handlers_is_silent_where_it_would_raise(monkeypatch: pytest.MonkeyPatch) -> None:
    log = logging.getLogger("oxillama")
    closed = io.StringIO()
    closed.close()
    # As in a process that has not configured logging; pytest has.
    monkeypatch.setattr(log, "propagate", False)
    monkeypatch.setattr(sys, "stderr", closed)
    log.warning("lost")
    heard = io.StringIO()
    monkeypatch.setattr(sys, "stderr", heard)
    log.warning("a line")
    assert heard.getvalue() == "a line\n"


def test_a_log_with_a_handler_is_written_whatever_standard_error_is(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    logging.getLogger("oxillama").warning("kept")
    assert "kept" in caplog.text


def test_the_demo_is_opened_with_a_bar_nobody_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    with Engine.demo(n_threads=1, progress=True) as engine:
        assert engine.state == "ready"
