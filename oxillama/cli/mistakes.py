"""What to tell whoever typed something wrong: one line that says what, where, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

import click
from click.core import ParameterSource

from oxillama.errors import InvalidRequestError

# Parameters whose errors speak of what was asked and not of how: a failed run.
ASKED = ("prompt", "text", "messages")


def wrong_use(message: str) -> click.UsageError:
    """To be raised: the command ends with this line and exit code 2."""
    return click.UsageError(message)


def closest(word: str, known: Iterable[str]) -> str | None:
    """The known word that was probably meant; None: no idea."""
    candidates = list(known)
    for name in candidates:
        # The beginning of a single word: somebody relies on abbreviations.
        if len(word.lstrip("-")) > 1 and name.startswith(word) and sum(n.startswith(word) for n in candidates) == 1:
            return name
    found = difflib.get_close_matches(word, candidates, n=1)
    return found[0] if found else None


def words_of(error: click.UsageError) -> str:
    """click's mistakes in a line of ours."""
    ctx = error.ctx
    if isinstance(error, click.NoSuchOption):
        flags = [] if ctx is None else [flag for param in ctx.command.params for flag in param.opts]
        return f"unrecognized arguments: {error.option_name}{_hint(error.option_name, flags, ctx)}"
    if isinstance(error, click.BadOptionUsage):
        return f"{error.option_name}: expected {'no' if 'does not take' in error.message else 'a'} value"
    if isinstance(error, click.BadParameter) and error.param is not None:
        return f"{flags_of(error.param)}: {error.message}{_place(error.param, ctx)}"
    return error.message


def request_words(error: InvalidRequestError, ctx: click.Context) -> str:
    """An error of the engine, with the option that set what it is about."""
    for param in ctx.command.params:
        if error.param and getattr(param, "field", None) == error.param:
            return f"{flags_of(param)}: {error}{_place(param, ctx)}"
    return str(error)


def flags_of(param: click.Parameter) -> str:
    """-c/--ctx-size"""
    return "/".join(param.opts) if isinstance(param, click.Option) else str(param.metavar)


def _place(param: click.Parameter, ctx: click.Context | None) -> str:
    source = ctx.get_parameter_source(param.name) if ctx is not None and param.name else None
    if source is ParameterSource.ENVIRONMENT:
        return f" (set by {getattr(param, 'twin', 'the environment')})"
    return " (set by the configuration file)" if source is ParameterSource.DEFAULT_MAP else ""


def _hint(word: str, known: list[str], ctx: click.Context | None) -> str:
    meant = closest(word, known)
    if meant:
        return f"; did you mean {meant}?"
    return f"; see {ctx.command_path} --help" if ctx is not None else ""
