"""What people type wrong, and the one line that each of them gets: what it is, where it is, what to do."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import pytest

from oxillama.cli import main
from oxillama.cli.mistakes import closest
from oxillama.demo import demo_path
from oxillama.testing.tiny_models import TinyModel
from tests.cli.programs import run

RUN = ("run", "--demo", "-p", "x")


class Mistake(NamedTuple):
    """arguments: with {folder} for the folder of wrong files. told: what the line must contain."""

    arguments: tuple[str, ...]
    code: int
    told: tuple[str, ...]
    environment: Mapping[str, str] = MappingProxyType({})


MISTAKES = [
    # Commands
    Mistake((), 2, ("oxillama: expected a command: run, chat,", "see oxillama --help")),
    Mistake(("rum",), 2, ("there is no command 'rum'", "did you mean run?")),
    Mistake(("model.gguf",), 2, ("there is no command 'model.gguf'", "expected one of run, chat")),
    Mistake(("--verison",), 2, ("unrecognized arguments: --verison", "did you mean --version?")),
    Mistake(("completion",), 2, ("expected one of bash, zsh, fish", "found none")),
    Mistake(("completion", "zhs"), 2, ("found zhs", "did you mean zsh?")),
    # Which model
    Mistake(("run", "-p", "x"), 2, ("oxillama run: expected one of MODEL, -m MODEL and --demo",)),
    Mistake(("run", "--demo", "-m", "a.gguf", "-p", "x"), 2, ("expected one of MODEL", "found both")),
    Mistake(("run", "--demo", "a.gguf", "-p", "x"), 2, ("expected one of MODEL", "'a.gguf'")),
    Mistake(("serve",), 2, ("oxillama serve: expected one of MODEL",)),
    Mistake(("info", "a.gguf", "b.gguf"), 2, ("oxillama info: unrecognized arguments: b.gguf",)),
    Mistake(("tokenize", "--demo", "some text"), 2, ("unrecognized arguments: some text",)),
    # Paths and kinds of files
    Mistake(("run", "{folder}/smol.guf", "-p", "x"), 1, ("No such file", "did you mean '{folder}/smol.gguf'?")),
    Mistake(("info", "{folder}/a/b.gguf"), 1, ("No such file", "there is no folder '{folder}/a'")),
    Mistake(("run", "{folder}", "-p", "x"), 1, ("{folder}: expected a regular file",)),
    Mistake(("run", "someone/SomeModel-GGUF", "-p", "x"), 1, ("`oxillama pull someone/SomeModel-GGUF`",)),
    Mistake(("chat", "hf.co/someone/some:Q8_0"), 1, ("`oxillama pull someone/some Q8_0`",)),
    Mistake(("run", "https://huggingface.co/a/b", "-p", "x"), 1, ("`oxillama pull a/b`",)),
    Mistake(("info", "{folder}/notes.txt"), 1, ("{folder}/notes.txt", "the magic b'GGUF'")),
    Mistake(("run", "{folder}/empty.gguf", "-p", "x"), 1, ("{folder}/empty.gguf", "an empty file")),
    Mistake(("run", "{folder}/pointer.gguf", "-p", "x"), 1, ("expected a GGUF file, found a Git LFS pointer",)),
    Mistake(("run", "{folder}/cut.gguf", "-p", "x"), 1, ("{folder}/cut.gguf",)),
    Mistake(("run", "{folder}/weights.safetensors", "-p", "x"), 1, ("safetensors",)),
    Mistake(("chat", "{folder}/smol.gguf"), 1, ("no chat template", "--chat-template")),
    Mistake(("run", "{folder}/smol.gguf", "-p", "x"), 1, ("no tokenizer",)),
    Mistake(("pull", "some-model"), 2, ("oxillama pull: repository is 'some-model'", "expected owner/name")),
    Mistake(("pull",), 2, ("expected REPO and perhaps FILE",)),
    # Prompts
    Mistake(("run", "--demo"), 2, ("expected a prompt", "-p TEXT or -f PATH")),
    Mistake(("run", "--demo", "once", "upon"), 2, ("unrecognized arguments: upon", "needs quotes")),
    Mistake(("run", "--demo", "once", "-p", "x"), 2, ("expected one prompt, found PROMPT and -p",)),
    Mistake((*RUN, "-f", "y"), 2, ("expected one prompt, found -p/--prompt and -f/--file",)),
    Mistake(("run", "--demo", "-f", "{folder}/missing.txt"), 1, ("No such file", "{folder}/missing.txt")),
    Mistake(("run", "--demo", "-f", "{folder}/latin.txt"), 1, ("can't decode byte 0xe9",)),
    Mistake(("run", "--demo", "-p"), 2, ("-p: expected a value",)),
    Mistake(("run", "--demo", "-p", "x" * 9000), 1, ("tokens", "the context holds 512")),
    # Options and their values
    Mistake((*RUN, "--tmp", "1"), 2, ("unrecognized arguments: --tmp", "did you mean --temp?")),
    Mistake((*RUN, "--predic", "1"), 2, ("unrecognized arguments: --predic", "did you mean --predict?")),
    Mistake((*RUN, "-temp", "0"), 2, ("unrecognized arguments: -temp", "did you mean --temp?")),
    Mistake((*RUN, "--unheard-of"), 2, ("unrecognized arguments: --unheard-of", "see oxillama run --help")),
    Mistake((*RUN, "--raw=yes"), 2, ("--raw: expected no value",)),
    Mistake((*RUN, "-n", "many"), 2, ("-n/--predict/--max-tokens: invalid int value: 'many'",)),
    Mistake((*RUN, "-n", "1.5"), 2, ("-n/--predict/--max-tokens: invalid int value: '1.5'",)),
    Mistake((*RUN, "-n", "-2"), 2, ("-n/--predict/--max-tokens: max_tokens must be an integer from 0", "-2")),
    Mistake((*RUN, "--temp", "-1"), 2, ("--temp/--temperature: temperature must be", "-1")),
    Mistake((*RUN, "--top-p", "95"), 2, ("--top-p: top_p must be a number from 0 to 1", "95")),
    Mistake((*RUN, "--min-p", "nan"), 2, ("--min-p: min_p must be",)),
    Mistake((*RUN, "-l", "hello"), 2, ("-l/--logit-bias: expected TOKEN+NUMBER", "'hello'")),
    Mistake((*RUN, "-c", "-1"), 2, ("-c/--ctx-size: n_ctx must be an integer from 1",)),
    Mistake((*RUN, "-c", "2147483647"), 1, ("does not fit into memory",)),
    Mistake((*RUN, "-t", "0"), 2, ("-t/--threads: n_threads must be an integer from 1 to",)),
    Mistake((*RUN, "--kv-dtype", "q8"), 2, ("--kv-dtype: invalid choice: 'q8' (choose from", "did you mean q8_0?")),
    Mistake((*RUN, "--chat-template", "chatlm"), 2, ("--chat-template", "chatlm")),
    Mistake((*RUN, "--raw", "-sys", "x"), 2, ("--system", "--raw")),
    Mistake(("bench", "--demo", "--rounds", "0"), 2, ("--rounds must be at least 1",)),
    Mistake(("bench", "--demo", "--prefill", "1,x"), 2, ("--prefill: invalid numbers value: '1,x'",)),
    # Addresses, ports, keys
    Mistake(("serve", "--demo", "--port", "70000"), 2, ("--port: 70000 is no port: expected 0 to 65535",)),
    Mistake(("serve", "--demo", "--port", "http"), 2, ("--port: invalid int value: 'http'",)),
    Mistake(("serve", "--demo", "--port", "{port}"), 1, ("cannot listen on 127.0.0.1 port {port}", "in use")),
    Mistake(("serve", "--demo", "--host", "no.such.invalid", "--insecure-no-key"), 1, ("'no.such.invalid'",)),
    Mistake(("serve", "--demo", "--host", "0.0.0.0"), 2, ("give an --api-key, or say --insecure-no-key",)),
    Mistake(("serve", "--demo", "--api-key", ""), 2, ("--api-key: expected a key, found none",)),
    Mistake(("serve", "--demo", "--api-key-file", "{folder}/missing"), 1, ("No such file", "{folder}/missing")),
    # The environment and the file
    Mistake(RUN, 2, ("-c/--ctx-size: invalid int value: 'big' (set by OXILLAMA_CTX_SIZE)",), {"CTX_SIZE": "big"}),
    Mistake(RUN, 2, ("--top-p: top_p must be", "(set by OXILLAMA_TOP_P)"), {"TOP_P": "2"}),
    Mistake(RUN, 2, ("--quiet: expected true or false, found 'maybe'",), {"QUIET": "maybe"}),
    Mistake(RUN, 2, ("cannot read the configuration {folder}/missing",), {"CONFIG": "{folder}/missing"}),
    Mistake(RUN, 2, ("'ctx_size', which is no option; did you mean ctx-size?",), {"CONFIG": "{folder}/a.toml"}),
    Mistake(RUN, 2, ("-n/--predict/--max-tokens: invalid int", "configuration"), {"CONFIG": "{folder}/b.toml"}),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files that are not what they are taken for."""
    made = tmp_path_factory.mktemp("files")
    TinyModel().write(made / "smol.gguf")
    (made / "notes.txt").write_text("what I wanted to say " * 10)
    (made / "latin.txt").write_bytes("café".encode("latin-1"))
    (made / "empty.gguf").touch()
    (made / "cut.gguf").write_bytes(Path(str(demo_path())).read_bytes()[:100_000])
    (made / "pointer.gguf").write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 98362432\n"
    )
    (made / "weights.safetensors").write_bytes(
        (64).to_bytes(8, "little") + b'{"a":{"dtype":"F32","shape":[1]'.ljust(64)
    )
    (made / "a.toml").write_text("ctx_size = 5\n")
    (made / "b.toml").write_text('predict = "x"\n')
    return made


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: " ".join(mistake.arguments)[:50] or "nothing")
def test_a_mistake_is_one_line_that_says_what_and_where_and_what_to_do(
    mistake: Mistake, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in mistake.environment.items():
        monkeypatch.setenv(f"OXILLAMA_{name}", value.replace("{folder}", str(folder)))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        values = {"{folder}": str(folder), "{port}": str(taken.getsockname()[1])}

        def filled(text: str) -> str:
            for name, value in values.items():
                text = text.replace(name, value)
            return text

        try:
            code = main([filled(argument) for argument in mistake.arguments])
        except SystemExit as error:
            code = int(str(error.code))
    written = capsys.readouterr()
    assert (code, written.out) == (mistake.code, ""), written.err
    assert written.err.count("\n") == 1, written.err
    assert written.err.startswith("oxillama")
    for told in mistake.told:
        assert filled(told) in written.err


def test_the_table_is_as_long_as_it_says() -> None:
    assert len({mistake.arguments + tuple(mistake.environment) for mistake in MISTAKES}) >= 50


def test_an_instruction_set_that_is_none_is_one_line() -> None:
    done = run("run", "--demo", "-p", "x", OXILLAMA_ISA="foo")
    assert done.returncode == 1
    assert done.stderr.startswith("oxillama: OXILLAMA_ISA='foo' is unknown; usable levels: reference")
    assert done.stderr.count("\n") == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "secret.gguf"
    path.write_bytes(b"GGUF")
    path.chmod(0)
    assert main(["info", str(path)]) == 1
    assert f"Permission denied: '{path}'" in capsys.readouterr().err


def test_what_was_meant() -> None:
    known = ("--temp", "--top-k", "--top-p", "--threads")
    for word, meant in (("--tmp", "--temp"), ("--thr", "--threads"), ("--top", "--temp"), ("--zzz", None)):
        assert closest(word, known) == meant or (word == "--top" and closest(word, known) in known)
