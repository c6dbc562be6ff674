"""A command as click runs it: where its values come from, which exclude each other, how its help is laid out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import SimpleNamespace

import click
from click.core import ParameterSource

from oxillama.cli.mistakes import ASKED, closest, flags_of, request_words, wrong_use
from oxillama.cli.options import Option
from oxillama.errors import InvalidRequestError

# Options that exclude each other: where several have a value, those of the strongest source count.
RIVALS = (("words", "model_option", "demo"), ("prompt", "file"))


class Command(click.Command):
    """main: what it does with the values; returns the exit code, or raises what wrong_use() makes."""

    def __init__(
        self, name: str, main: Callable[[SimpleNamespace], int], *, line: str, options: Iterable[click.Parameter]
    ) -> None:
        super().__init__(
            name, params=list(options), help=line, context_settings={"help_option_names": ["-h", "--help"]}
        )
        self.main_function = main

    @property
    def keys(self) -> set[str]:
        """The names of its options in the environment and the file."""
        return {option.key for option in self.params if isinstance(option, Option)}

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not ctx.resilient_parsing:
            self._refuse_single_dashes(ctx, args)
        given = ctx.default_map or {}
        options = [option for option in self.params if isinstance(option, Option)]
        ctx.default_map = {
            option.name: option.value_from_file(given[option.key])
            for option in options
            if option.key in given and option.name
        }
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> int:
        args = SimpleNamespace(**ctx.params)
        args.given_fields = frozenset(
            param.field
            for param in self.params
            if isinstance(param, Option) and ctx.get_parameter_source(param.name or "") is not ParameterSource.DEFAULT
        )
        try:
            self._settle_rivals(ctx, args)
            return self.main_function(args)
        except click.UsageError as error:
            error.ctx = error.ctx or ctx
            raise
        except InvalidRequestError as error:
            # What no run could use is wrong use; what this model cannot take is a failed run.
            if error.param in ASKED:
                raise
            raise click.UsageError(request_words(error, ctx), ctx) from error

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        sections: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None and isinstance(param, click.Option):  # the line of usage names the others
                sections.setdefault(getattr(param, "section", ""), []).append(record)
        for heading, records in sections.items():
            with formatter.section(heading or "Options"):
                formatter.write_dl(records)

    def _settle_rivals(self, ctx: click.Context, args: SimpleNamespace) -> None:
        for names in RIVALS:
            rivals = [name for name in names if getattr(args, name, None) not in (None, False, (), "")]
            sources = [ctx.get_parameter_source(name) or ParameterSource.DEFAULT for name in rivals]
            strongest = min(sources, key=_weakness, default=None)
            for name, source in zip(rivals, sources, strict=True):
                if source is not strongest:
                    setattr(args, name, () if name == "words" else False if name == "demo" else None)
            left = [name for name, source in zip(rivals, sources, strict=True) if source is strongest]
            if names[0] == "prompt" and len(left) > 1:
                raise wrong_use("expected one prompt, found " + " and ".join(self._shown(name) for name in left))

    def _shown(self, name: str) -> str:
        return next(flags_of(param) for param in self.params if param.name == name)

    def _refuse_single_dashes(self, ctx: click.Context, args: list[str]) -> None:
        """`-temp 0` would be `-t emp`."""
        flags = {flag: option for option in self.params if isinstance(option, click.Option) for flag in option.opts}
        before = ""
        for word in args:
            if word == "--":
                return
            is_value = before in flags and not getattr(flags[before], "is_flag", False)
            if not is_value and len(word) > 2 and word[0] == "-" and word[1] != "-" and word not in flags:
                long = "-" + word.partition("=")[0]
                meant = long if long in flags else closest(long, flags) if word[1:].isalpha() else None
                if long in flags or (meant and "-" + word[1] not in flags):
                    raise click.UsageError(f"unrecognized arguments: {word}; did you mean {meant}?", ctx)
            before = "" if is_value else word


def _weakness(source: ParameterSource) -> int:
    return (
        ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT, ParameterSource.DEFAULT_MAP
    ).index(source) if source is not ParameterSource.DEFAULT else 3  # fmt: skip
