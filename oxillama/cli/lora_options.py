"""Adapters on the command line: `--lora NAME=PATH[=SCALE]`, or a path alone, whose name is the file's."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

from oxillama.cli.mistakes import wrong_use
from oxillama.cli.options import Option
from oxillama.engine import Engine

SHAPE = "NAME=PATH[=SCALE]"


@dataclass(frozen=True)
class NamedAdapter:
    name: str
    path: str
    scale: float = 1.0


def lora_option(meaning: str, *, section: str = "") -> Option:
    return Option("--lora", metavar=SHAPE, multiple=True, help=f"{meaning}; may be repeated", section=section)


def named_adapters(args: SimpleNamespace) -> list[NamedAdapter]:
    """What the option says, in its order. Names that come twice, or are none, are a mistake of whoever typed them."""
    found = [_adapter(text) for text in args.lora or ()]
    names = [adapter.name for adapter in found]
    for name in names:
        if names.count(name) > 1:
            raise wrong_use(f"--lora: expected a name for each adapter, found {name!r} twice")
    return found


def load_adapters(engine: Engine, adapters: list[NamedAdapter]) -> list[tuple[str, float]]:
    """Loads them; returns what a request says for all of them to be applied."""
    for adapter in adapters:
        engine.load_lora(adapter.name, adapter.path, scale=adapter.scale)
    return [(adapter.name, 1.0) for adapter in adapters]


def _adapter(text: str) -> NamedAdapter:
    name, is_named, path = text.partition("=")
    if not is_named or "/" in name:
        name, path = Path(text).name.removesuffix(".gguf"), text
    scale = 1.0
    before, has_more, last = path.rpartition("=")
    if has_more and is_named:
        with suppress(ValueError):  # a path may have this character
            scale, path = float(last), before
    if not name or not path or not math.isfinite(scale):
        raise wrong_use(f"--lora: expected {SHAPE}, found {text!r}")
    return NamedAdapter(name, path, scale)
