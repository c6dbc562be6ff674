"""The `oxillama` command. Exit codes: 0, 1 (failed), 2 (wrong use), 130 (interrupted)."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

from oxillama.cli import bench, info, run, serve, tokenize
from oxillama.cli.options import CONFIG, read_config, read_defaults
from oxillama.errors import InvalidRequestError, OxillamaError
from oxillama.standard_error import keep_descriptors, say

COMMANDS = {"run": run, "serve": serve, "info": info, "tokenize": tokenize, "bench": bench}


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="oxillama",
        description="A CPU inference engine for GGUF language models.",
        epilog="Every option can also be set by an environment variable (OXILLAMA_CTX_SIZE=512 for --ctx-size 512) or "
        "in a TOML file named by OXILLAMA_CONFIG (ctx-size = 512). The command line wins, then the environment.",
    )
    parser.add_argument("--version", action="version", version=f"oxillama {_version()}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    config = read_config(parser)
    known: set[str] = set()
    for name, module in COMMANDS.items():
        command = commands.add_parser(name, help=module.HELP, description=module.HELP)
        module.add_arguments(command)
        command.set_defaults(main=module.main)
        known |= read_defaults(command, config)
    # One file serves all commands, so a key is wrong only if it is no option of any.
    if unknown := sorted(config.keys() - known):
        parser.error(f"the configuration {os.environ[CONFIG]} has {unknown[0]!r}, which is no option")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    keep_descriptors()
    try:
        args = build_parser().parse_args(argv)
        code = int(args.main(args))
        # Now, while an error can still be told: the interpreter's own flush at exit would answer with a traceback.
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader has gone, as `| head` does.
        _give_up_output()
        return 1
    except (OxillamaError, OSError, UnicodeError) as error:
        if isinstance(error, OSError):
            _give_up_output()
        say(f"oxillama: {error}")
        # An option that no run could use is wrong use; a prompt that this model cannot take is a failed run.
        return 2 if isinstance(error, InvalidRequestError) and error.param not in ("prompt", "text") else 1


def _give_up_output() -> None:
    """Keeps the interpreter from failing once more when it flushes what cannot be written."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _version() -> str:
    try:
        return version("oxillama-engine")
    except PackageNotFoundError:
        return "(not installed)"
