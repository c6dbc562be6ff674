"""The table of commands. A command's module is imported when it is needed."""

from __future__ import annotations

from importlib import import_module

import click

from oxillama.cli.command import Command
from oxillama.cli.mistakes import closest

# Name: module of oxillama.cli, and its line in the help.
COMMANDS = {
    "run": ("run", "write the answer to a prompt, or its continuation"),
    "chat": ("chat", "talk with a model in the terminal"),
    "pull": ("pull", "fetch a model from Hugging Face"),
    "serve": ("serve", "serve a model over HTTP, as OpenAI's API, with a chat page"),
    "info": ("info", "show what is in a model file"),
    "embed": ("embed", "make vectors of texts"),
    "rerank": ("rerank", "order documents by how well they answer a query"),
    "tokenize": ("tokenize", "show the tokens of a text"),
    "bench": ("bench", "measure prefill and decode speed"),
    "completion": ("completion", "print what makes a shell complete commands and options"),
}
EPILOG = (
    "Every option can also be set by an environment variable (OXILLAMA_CTX_SIZE=512 for --ctx-size 512) or "
    "in a TOML file named by OXILLAMA_CONFIG (ctx-size = 512). The command line wins, then the environment."
)


class Program(click.Group):
    def __init__(self) -> None:
        super().__init__(
            "oxillama",
            help="A CPU inference engine for GGUF language models.",
            epilog=EPILOG,
            context_settings={"help_option_names": ["-h", "--help"]},
            params=[click.Option(["--version"], is_flag=True, is_eager=True, expose_value=False, callback=_version,
                                 help="show the version and exit")],
            no_args_is_help=False,
        )  # fmt: skip

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, help_line = COMMANDS[cmd_name]
        found = import_module(f"oxillama.cli.{module}")
        return Command(cmd_name, found.main, line=help_line, options=found.options())

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if ctx.resilient_parsing:  # a shell asks, and wants no errors
            return super().resolve_command(ctx, args)
        name, *rest = args
        if name.startswith("-"):
            raise click.NoSuchOption(name, ctx=ctx)
        command = self.get_command(ctx, name)
        if command is None:
            meant = closest(name, COMMANDS)
            told = f"did you mean {meant}?" if meant else f"expected one of {', '.join(COMMANDS)}"
            raise click.UsageError(f"there is no command {name!r}; {told}", ctx)
        return name, command, rest

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args and not ctx.resilient_parsing:
            raise click.UsageError(f"expected a command: {', '.join(COMMANDS)}; see oxillama --help", ctx)
        return super().parse_args(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        # From the table, so that help comes without importing all of them.
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


def _version(ctx: click.Context, param: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        from oxillama import __version__

        click.echo(f"oxillama {__version__}")
        ctx.exit()
