"""The TOML file with options that OXILLAMA_CONFIG names."""

from __future__ import annotations

import os
import tomllib
from typing import Any

import click

from oxillama.cli.mistakes import closest, wrong_use
from oxillama.cli.program import COMMANDS, Program

CONFIG = "OXILLAMA_CONFIG"


def read_config(ctx: click.Context) -> dict[str, Any]:
    """For each command what the file says, all of it: one file serves all commands. Empty without a file."""
    path = os.environ.get(CONFIG)
    if not path:
        return {}
    try:
        with open(path, "rb") as file:
            found = tomllib.load(file)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise wrong_use(f"cannot read the configuration {path}: {error}") from error
    known: set[str] = set()
    for name in COMMANDS:
        command = Program().get_command(ctx, name)
        known |= command.keys if command is not None else set()
    # So a key is wrong only if it is no option of any.
    for key in found:
        if key not in known:
            meant = closest(key.replace("_", "-"), known)
            hint = f"; did you mean {meant}?" if meant else ""
            raise wrong_use(f"the configuration {path} has {key!r}, which is no option{hint}")
    return dict.fromkeys(COMMANDS, found)
