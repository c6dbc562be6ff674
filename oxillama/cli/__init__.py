"""The `oxillama` command. Exit codes: 0, 1 (failed), 2 (wrong use), 130 (interrupted)."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import click

from oxillama.cli.configuration import read_config
from oxillama.cli.mistakes import ASKED, words_of
from oxillama.cli.program import COMMANDS, Program
from oxillama.errors import InvalidRequestError, OxillamaError
from oxillama.standard_error import keep_descriptors, say

__all__ = ["COMMANDS", "main"]

COMPLETE = "_OXILLAMA_COMPLETE"


def main(argv: Sequence[str] | None = None) -> int:
    keep_descriptors()
    program = Program()
    if instruction := os.environ.get(COMPLETE):
        from click.shell_completion import shell_complete

        return shell_complete(program, {}, "oxillama", COMPLETE, instruction)
    try:
        with program.make_context("oxillama", list(sys.argv[1:] if argv is None else argv)) as ctx:
            ctx.default_map = read_config(ctx)
            code = int(program.invoke(ctx))
        # Now, while an error can still be told: the interpreter's own flush at exit would answer with a traceback.
        sys.stdout.flush()
        return code
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except click.UsageError as error:
        command = "oxillama" if error.ctx is None else error.ctx.command_path
        say(f"{command}: {_line(words_of(error))}")
        if isinstance(error.__cause__, InvalidRequestError):
            return 2  # a command that ran, and found an option that no run could use
        sys.exit(2)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader has gone, as `| head` does.
        _give_up_output()
        return 1
    except (OxillamaError, OSError, UnicodeError, ImportError) as error:
        if isinstance(error, OSError):
            _give_up_output()
        say(f"oxillama: {_line(str(error))}")
        # An option that no run could use is wrong use; a prompt that this model cannot take is a failed run.
        return 2 if isinstance(error, InvalidRequestError) and error.param not in ASKED else 1


def _line(text: str) -> str:
    return " ".join(text.split("\n"))


def _give_up_output() -> None:
    """Keeps the interpreter from failing once more when it flushes what cannot be written."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
