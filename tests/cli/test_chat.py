"""`oxillama chat` as a person in a terminal sees it, and as a script does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from oxillama import Engine
from oxillama.testing.tiny_models import TinyModel
from tests.cli.programs import run
from tests.cli.terminals import in_terminal

GREEDY = ["chat", "--demo", "-t", "1", "--temp", "0", "-n", "16"]


def replies(engine: Engine, *said: str, system: str | None = None) -> list[str]:
    """What the model answers, one after the other."""
    messages = [] if system is None else [{"role": "system", "content": system}]
    found = []
    for text in said:
        messages.append({"role": "user", "content": text})
        found.append(engine.chat(messages, max_tokens=16, temperature=0).text)
        messages.append({"role": "assistant", "content": found[-1]})
    return found


def test_a_session_in_a_terminal(demo: Engine, tmp_path: Path) -> None:
    first, second = replies(demo, "Hello", "Tell me\na story")
    with in_terminal(*GREEDY) as terminal:
        assert "/help lists the commands" in terminal.wait_for("> ")
        terminal.type("Hello\n")
        assert first in terminal.wait_for("> ")
        # Several lines; the second answer knows the first.
        terminal.type('"""Tell me\n')
        terminal.wait_for(". ")
        terminal.type('a story"""\n')
        assert second in terminal.wait_for("> ")
        terminal.type("/retry\n")
        assert second in terminal.wait_for("> ")
        terminal.type("/history\n")
        assert f"assistant: {first}" in terminal.wait_for("of 512 tokens]")
        terminal.wait_for("> ")
        terminal.type(f"/save {tmp_path / 'said.json'}\n")
        terminal.wait_for("wrote 4 messages")
        terminal.type("/reset\n")
        terminal.type("Hello\n")
        assert first in terminal.wait_for(first)
        terminal.wait_for("> ")
        terminal.type("/reset\n/system You are a story teller.\n")
        terminal.wait_for("> ")
        terminal.type("/rset\n")
        terminal.wait_for("there is no command /rset; did you mean /reset?")
        terminal.wait_for("> ")
        terminal.type("\x04")
        assert terminal.end() == 0
    said = json.loads((tmp_path / "said.json").read_text("utf-8"))["messages"]
    assert [message["content"] for message in said] == ["Hello", first, "Tell me\na story", second]
    # What was saved is read again, and gone on with.
    with in_terminal(*GREEDY, "-q") as terminal:
        terminal.wait_for("> ")
        terminal.type(f"/load {tmp_path / 'said.json'}\n")
        terminal.wait_for("read 4 messages")
        terminal.type("/quit\n")
        assert terminal.end() == 0


def test_ctrl_c_stops_the_answer_and_not_the_session(long_model: Path) -> None:
    with in_terminal("chat", str(long_model), "-t", "1", "--chat-template", "chatml", "--ignore-eos", "-q") as terminal:
        terminal.wait_for("> ")
        terminal.type("Go on\n")
        terminal.wait_for("\n")
        start = len(terminal.seen)
        while len(terminal.seen) < start + 20:
            terminal._read(5)
        terminal.interrupt()
        terminal.wait_for("\n> ")
        terminal.type("a line that is dropped")
        terminal.wait_for("dropped")
        terminal.interrupt_until("> ")
        terminal.type("/history\n")
        # The part that was written belongs to the conversation.
        shown = terminal.wait_for("tokens]")
        assert "user: Go on" in shown
        assert "assistant: " in shown
        assert "user: a line" not in shown
        terminal.type("/quit\n")
        assert terminal.end() == 0
    assert "Traceback" not in terminal.seen


def test_a_script_gets_answers_only(demo: Engine) -> None:
    first, second = replies(demo, "Hello", "And then?", system="Be brief.")
    done = run(*GREEDY, "-sys", "Be brief.", stdin="Hello\n\nAnd \\\nthen?\n".replace("And \\\nthen?", "And then?"))
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{first}\n{second}\n", "")
    joined = run(*GREEDY, stdin="Hel\\\nlo\n")
    assert joined.stdout == replies(demo, "Hel\nlo")[0] + "\n"
    wrong = run(*GREEDY, stdin="/nothing\nHello\n")
    assert wrong.returncode == 1
    assert wrong.stdout == replies(demo, "Hello")[0] + "\n"
    assert "there is no command /nothing; /help lists them" in wrong.stderr


def test_a_full_context_says_what_helps(demo: Engine) -> None:
    done = run(*GREEDY, "-c", "32", stdin="word " * 40 + "\nHello\n")
    assert done.returncode == 1
    assert "/reset forgets what was said, and a larger --ctx-size holds more" in done.stderr
    # What could not be asked is not part of the conversation.
    assert done.stdout == replies(demo, "Hello")[0] + "\n" or done.stdout.strip()


def test_a_model_without_a_template_says_what_to_do(tmp_path: Path) -> None:
    TinyModel().write(tmp_path / "mute.gguf")
    done = run("chat", str(tmp_path / "mute.gguf"), stdin="x\n")
    assert done.returncode == 1
    assert "has no chat template; give one with --chat-template" in done.stderr


def test_run_in_a_terminal(demo: Engine) -> None:
    (reply,) = replies(demo, "Hello")
    with in_terminal("run", "--demo", "Hello", "--temp", "0", "-n", "16", "-t", "1") as terminal:
        assert terminal.end() == 0
    assert f"{reply}\n[" in terminal.seen
    assert "tokens/s]" in terminal.seen


@pytest.mark.parametrize("variable", ["NO_COLOR", "TERM"])
def test_no_colour_is_respected(variable: str, demo: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    from oxillama.cli.terminal import Terminal

    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv(variable, "dumb")
    terminal = Terminal()
    assert not terminal._dim
