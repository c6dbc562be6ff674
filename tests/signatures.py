"""Everything public with its signature, as lines of text: what other people's programs may rely on.

    python -m tests.signatures

records them in `tests/data/public_signatures.txt`. An addition is recorded so; whatever vanishes from the file, or
changes in it, breaks somebody's program.
"""

from __future__ import annotations

import enum
import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

RECORDED = Path(__file__).with_name("data") / "public_signatures.txt"
# What is imported from: the package itself first, whose names are not said again under their homes.
MODULES = [
    "oxillama",
    *("oxillama.asgi", "oxillama.clients", "oxillama.compat.llama_cpp", "oxillama.compat.vllm"),
    *("oxillama.chat.messages", "oxillama.config", "oxillama.errors", "oxillama.gguf", "oxillama.gguf_writer"),
    *("oxillama.hub", "oxillama.quantize", "oxillama.ray", "oxillama.structured", "oxillama.testing.strategies"),
    *("oxillama.testing.tiny_models", "oxillama.tokenizer", "oxillama.tools"),
]


def lines() -> list[str]:
    found: dict[str, None] = {}
    for name in MODULES:
        module = importlib.import_module(name)
        for public in names_of(module):
            found.update(dict.fromkeys(described(f"{name}.{public}", getattr(module, public))))
    return sorted(found)


def names_of(module: ModuleType) -> list[str]:
    """What the module lists, or else what it defines itself."""
    listed = getattr(module, "__all__", None)
    if listed is not None:
        return list(listed)
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__ and callable(value)
    ]


def described(path: str, value: Any) -> Iterator[str]:
    if not inspect.isclass(value):
        yield f"{path}{signature_of(value)}" if callable(value) else f"{path}: {type(value).__name__}"
        return
    if issubclass(value, enum.Enum):
        yield f"{path}: {', '.join(value.__members__)}"
        return
    yield f"{path}{signature_of(value)}"
    for name, member in members_of(value):
        if isinstance(member, property) or inspect.isdatadescriptor(member):
            yield f"{path}.{name}: property"
        elif callable(member) or isinstance(member, classmethod | staticmethod):
            yield f"{path}.{name}{signature_of(getattr(value, name))}"


def members_of(kind: type) -> Iterator[tuple[str, Any]]:
    """Its public members, its own and those of this package's bases."""
    seen = set()
    for base in kind.__mro__:
        if not base.__module__.startswith("oxillama"):
            continue
        for name, member in vars(base).items():
            if not name.startswith("_") and name not in seen:
                seen.add(name)
                yield name, member


def signature_of(value: Any) -> str:
    try:
        # Names and defaults; how annotations are written differs between versions of Python.
        signature = inspect.signature(value)
    except (TypeError, ValueError):
        return "(...)"
    parameters = [one.replace(annotation=inspect.Parameter.empty) for one in signature.parameters.values()]
    return str(signature.replace(parameters=parameters, return_annotation=inspect.Signature.empty))


if __name__ == "__main__":
    RECORDED.write_text("\n".join(lines()) + "\n", "utf-8")
    print(f"{len(lines())} lines in {RECORDED}")
