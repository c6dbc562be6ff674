"""Options that several commands share, and where their defaults come from: environment, then file, then program."""

from __future__ import annotations

import argparse
import os
import tomllib
from collections.abc import Sequence
from functools import partial
from typing import Any

PREFIX = "OXILLAMA_"
CONFIG = PREFIX + "CONFIG"
# Options that exclude each other: a default for one of them counts only where none of its rivals was typed.
RIVALS = {
    "model_option": ("model", "demo"),
    "demo": ("model", "model_option"),
    "prompt": ("file",),
    "file": ("prompt",),
    # Options that add up: what was typed replaces the default instead of joining it.
    "api_key": (),
    "alias": (),
    "cors_origin": (),
    "trusted_host": (),
    "stop": (),
}


def add_model(parser: argparse.ArgumentParser) -> None:
    """The model: a path, positional or with -m, or the embedded one."""
    parser.add_argument("model", nargs="?", metavar="MODEL", help="GGUF file (of a split model: its first file)")
    parser.add_argument("-m", "--model", dest="model_option", metavar="MODEL", help="the same, as llama.cpp spells it")
    parser.add_argument("--demo", action="store_true", help="the small model embedded in the package")


def add_loading(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-c", "--ctx-size", type=int, metavar="N", help="context in tokens (default: as trained)")
    parser.add_argument("-t", "--threads", type=int, metavar="N", help="threads (default: what this process may use)")
    add_storage(parser)


def add_storage(parser: argparse.ArgumentParser) -> None:
    """How weights and cache lie in memory."""
    parser.add_argument(
        "--kv-dtype", default="f16", choices=("f16", "f32", "bf16", "q8_0"), help="type of the KV cache (default: f16)"
    )
    parser.add_argument("--no-mmap", action="store_true", help="read the file instead of mapping it")


def numbers(text: str) -> list[int]:
    """Positive or zero integers, by commas; no number twice."""
    found = [int(part) for part in text.split(",")]
    if min(found) < 0 or len(set(found)) < len(found):
        raise ValueError(text)
    return found


def on_or_off(text: str) -> bool:
    """Whether an option that has no value of its own was wanted."""
    for wanted, words in ((True, ("1", "true", "yes", "on")), (False, ("0", "false", "no", "off", ""))):
        if text.lower() in words:
            return wanted
    raise argparse.ArgumentTypeError(f"expected true or false, found {text!r}")


def choice(choices: Sequence[str], text: str) -> str:
    """One of the choices, in argparse's words."""
    if text not in choices:
        known = ", ".join(map(repr, choices))
        raise argparse.ArgumentTypeError(f"invalid choice: {text!r} (choose from {known})")
    return text


def model_path(parser_error: Any, args: argparse.Namespace) -> str | None:
    """The path asked for, or None for the embedded model. Anything but exactly one of them is wrong use."""
    use_fallbacks(parser_error, args)
    named = [path for path in (args.model, args.model_option) if path]
    if len(named) + args.demo != 1:
        parser_error("expected one of MODEL, -m MODEL and --demo")
    return named[0] if named else None


def use_fallbacks(parser_error: Any, args: argparse.Namespace) -> None:
    typed = {name for name, value in vars(args).items() if value not in (None, False)}
    for name, value in args.fallbacks.items():
        if typed.isdisjoint({name, *RIVALS[name]}):
            try:
                setattr(args, name, on_or_off(value) if name == "demo" else value)
            except argparse.ArgumentTypeError as error:
                parser_error(f"argument --{name}: {error}")


def loading_options(args: argparse.Namespace) -> dict[str, Any]:
    """What add_loading() lets one choose, as Engine takes it."""
    return {
        "n_ctx": args.ctx_size,
        "n_threads": args.threads,
        "kv_dtype": args.kv_dtype,
        "mmap": not args.no_mmap,
    }


def read_defaults(parser: argparse.ArgumentParser, from_file: dict[str, Any]) -> set[str]:
    """Lets OXILLAMA_CTX_SIZE, or `ctx-size` of the configuration, stand for --ctx-size. Returns the options' names."""
    names: set[str] = set()
    fallbacks: dict[str, Any] = {}
    for action in parser._actions:
        flag = next((option for option in action.option_strings if option.startswith("--")), None)
        if flag is None or action.dest == "help":
            continue
        name = flag.removeprefix("--")
        names.add(name)
        text = os.environ.get(PREFIX + name.upper().replace("-", "_"))
        value: Any = from_file.get(name) if text is None else text
        if value is None:
            continue
        if isinstance(action, argparse._AppendAction):
            default: Any = value if isinstance(value, list) else [value]
        else:
            # A string default is converted by argparse as if it had been typed, but its choices are not looked at.
            default = str(value)
            if isinstance(action, argparse._StoreTrueAction):
                action.type = on_or_off
            elif action.choices is not None:
                action.type = partial(choice, tuple(action.choices))
        if action.dest in RIVALS:
            fallbacks[action.dest] = default
        else:
            action.default = default
    parser.set_defaults(fallbacks=fallbacks)
    return names


def read_config(parser: argparse.ArgumentParser) -> dict[str, Any]:
    """The TOML file that OXILLAMA_CONFIG names; empty without one."""
    path = os.environ.get(CONFIG)
    if not path:
        return {}
    try:
        with open(path, "rb") as file:
            return tomllib.load(file)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        parser.error(f"cannot read the configuration {path}: {error}")
