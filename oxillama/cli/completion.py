"""`oxillama completion SHELL`: a script for the shell's start-up file."""

from __future__ import annotations

from types import SimpleNamespace

import click

from oxillama.cli.mistakes import closest, wrong_use
from oxillama.cli.options import Words

SHELLS = ("bash", "zsh", "fish")


def options() -> list[click.Parameter]:
    return [Words("bash|zsh|fish")]


def main(args: SimpleNamespace) -> int:
    from click.shell_completion import get_completion_class

    from oxillama.cli import COMPLETE
    from oxillama.cli.program import Program

    if len(args.words) != 1 or args.words[0] not in SHELLS:
        found = " ".join(args.words)
        meant = closest(found, SHELLS) if found else None
        hint = f"; did you mean {meant}?" if meant else ""
        raise wrong_use(f"expected one of {', '.join(SHELLS)}, found {found or 'none'}{hint}")
    kind = get_completion_class(args.words[0])
    if kind is None:
        raise wrong_use(f"this version of click does not complete in {args.words[0]}")
    print(kind(Program(), {}, "oxillama", COMPLETE).source())
    return 0
