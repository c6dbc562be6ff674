"""Options as the commands declare them, and those that several commands share."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import click

from oxillama.cli.mistakes import closest, wrong_use

PREFIX = "OXILLAMA_"


if TYPE_CHECKING:
    Kind = click.ParamType[Any]
else:  # older versions of click are not generic
    Kind = click.ParamType


class Number(Kind):
    """A number as a function reads it from a text."""

    def __init__(self, kind: Callable[[str], Any], name: str = "") -> None:
        self.kind = kind
        self.name = name or kind.__name__

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return self.kind(value)
        except ValueError as error:
            # A function that says more than float() and int() do is quoted.
            told = str(error) if isinstance(error, Told) else f"invalid {self.name} value: {value!r}"
            self.fail(told, param, ctx)


class Told(ValueError):
    """What is wrong with a value, in words for whoever typed it."""


INTEGER, REAL = Number(int), Number(float)


class OnOff(click.types.BoolParamType):
    """What the environment or the file says of an option that has no value of its own."""

    name = "switch"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> bool:
        if isinstance(value, bool):
            return value
        for wanted, words in ((True, ("1", "true", "yes", "on")), (False, ("0", "false", "no", "off", ""))):
            if str(value).lower() in words:
                return wanted
        raise click.BadParameter(f"expected true or false, found {value!r}", ctx, param)


class OneOf(click.Choice[str]):
    """One of a few words."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        words = list(map(str, self.choices))
        if value not in words:
            meant = closest(str(value), words)
            known = ", ".join(map(repr, words))
            self.fail(
                f"invalid choice: {value!r} (choose from {known})" + (f"; did you mean {meant}?" if meant else "")
            )
        return str(value)


class Option(click.Option):
    """flags: its names; the first long one also names its twin in the environment and in the file. kind: how its text
    is read; None: it is a text. section: heading in the help. field: what it sets of Engine or SamplingParams, by which
    errors find it."""

    def __init__(
        self,
        *flags: str,
        help: str,  # noqa: A002
        kind: Kind | None = None,
        metavar: str | None = None,
        default: Any = None,
        is_flag: bool = False,
        multiple: bool = False,
        section: str = "",
        field: str = "",
        to: str | None = None,
    ) -> None:
        long = next(flag for flag in flags if flag.startswith("--"))
        self.twin: str = PREFIX + long.removeprefix("--").upper().replace("-", "_")
        self.key: str = long.removeprefix("--")
        self.section = section
        self.field = field
        names = [*flags, to or self.key.replace("-", "_")]
        if is_flag:
            super().__init__(names, help=help, is_flag=True, default=False, type=OnOff())
        else:
            super().__init__(
                names, help=help, type=kind or click.STRING, metavar=metavar, default=default, multiple=multiple
            )

    def resolve_envvar_value(self, ctx: click.Context) -> str | None:
        # Also an empty one: an option that was meant to be set, a key say, must not be passed over in silence.
        return os.environ.get(self.twin)

    def value_from_envvar(self, ctx: click.Context) -> Any:
        text = self.resolve_envvar_value(ctx)
        # One text, however many words it has.
        return [text] if self.multiple and text is not None else text

    def value_from_file(self, value: Any) -> Any:
        """A value of the configuration as it would have been typed."""
        if self.multiple:
            return [str(item) for item in (value if isinstance(value, list) else [value])]
        return value if isinstance(value, bool) else str(value)


class Words(click.Argument):
    """The positional words of a command. What each of them is, the command settles; files are offered for the first."""

    def __init__(self, shown: str) -> None:
        super().__init__(["words"], nargs=-1, required=False, type=click.STRING, metavar=shown)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        from click.shell_completion import CompletionItem

        return [CompletionItem(incomplete, type="file")]


def model_options() -> list[click.Parameter]:
    """The model: a path, positional or with -m, or the embedded one."""
    return [
        Words("MODEL"),
        Option(
            "-m", "--model", to="model_option", metavar="MODEL",
            help="GGUF file (of a split model: its first file), as llama.cpp spells it",
        ),
        Option("--demo", is_flag=True, help="the small model embedded in the package"),
    ]  # fmt: skip


def loading_options() -> list[click.Parameter]:
    return [
        Option(
            "-c", "--ctx-size", kind=INTEGER, metavar="N", field="n_ctx",
            help="context in tokens; 0: as trained (default)",
        ),
        Option(
            "-t", "--threads", kind=INTEGER, metavar="N", field="n_threads",
            help="threads (default: what this process may use)",
        ),
        *storage_options(),
    ]  # fmt: skip


def storage_options() -> list[click.Parameter]:
    """How weights and cache lie in memory."""
    return [
        Option(
            "--kv-dtype", kind=OneOf(("f16", "f32", "bf16", "q8_0")), default="f16", metavar="TYPE", field="kv_dtype",
            help="type of the KV cache: f16, f32, bf16 or q8_0 (default: f16)",
        ),
        Option(
            "--f16", kind=OneOf(("exact", "bf16")), default="exact", metavar="HOW", field="f16",
            help="F16 weights: exact, or bf16: rounded, for faster prompts (default: exact)",
        ),
        Option("--no-mmap", is_flag=True, help="read the file instead of mapping it"),
    ]  # fmt: skip


def numbers(text: str) -> list[int]:
    """Positive or zero integers, by commas; no number twice."""
    found = [int(part) for part in text.split(",")]
    if min(found) < 0 or len(set(found)) < len(found):
        raise ValueError(text)
    return found


def model_path(args: SimpleNamespace) -> str | None:
    """The path asked for, or None for the embedded model. Anything but exactly one of them is wrong use."""
    path, rest = model_and_rest(args)
    if rest:
        raise wrong_use(f"unrecognized arguments: {' '.join(rest)}")
    return path


def model_and_rest(args: SimpleNamespace) -> tuple[str | None, tuple[str, ...]]:
    """The path asked for, or None for the embedded model, and the words after it."""
    words: Sequence[str] = args.words
    if args.demo or args.model_option:
        if args.demo and args.model_option:
            raise wrong_use("expected one of MODEL, -m MODEL and --demo, found both")
        if words and words[0].endswith(".gguf"):
            raise wrong_use(f"expected one of MODEL, -m MODEL and --demo, found {words[0]!r} besides")
        return args.model_option, tuple(words)
    if not words or not words[0]:
        raise wrong_use("expected one of MODEL, -m MODEL and --demo")
    return words[0], tuple(words[1:])


def engine_options(args: SimpleNamespace) -> dict[str, Any]:
    """What loading_options() lets one choose, as Engine takes it."""
    return {
        "n_ctx": args.ctx_size or None,
        "n_threads": args.threads,
        "kv_dtype": args.kv_dtype,
        "f16": args.f16,
        "mmap": not args.no_mmap,
    }
