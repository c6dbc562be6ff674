"""How a model writes tool calls and reasoning: one record per chat template, by which replies are read."""

from __future__ import annotations

import string
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from typing import Any, Literal, Self, TypeAlias

from oxillama.errors import InvalidRequestError

Codec: TypeAlias = Literal["none", "json", "arguments", "tagged", "python", "braces"]
CODECS: tuple[Codec, ...] = ("none", "json", "arguments", "tagged", "python", "braces")
SLOTS = frozenset({"name", "id", "number", "skip", "key", "kind"})

Part: TypeAlias = tuple[str, str | None]


@dataclass(frozen=True, kw_only=True)
class ReplySyntax:
    """What stands around the parts of a reply. Markers are written as the template writes them; white space at their
    ends and between their words may be missing or different in what is read.

    codec: "json" (one object holds name and arguments), "arguments" (the name in a marker, the arguments as a JSON
    object), "tagged" (name and every argument between markers), "python" (`name(key='value')`), "braces"
    (`name{key:value}` with string quotes of its own), "none" (the model was not trained to call).

    section_open, section_close: around all calls. head: what begins a call, up to its arguments, with `{name}` and
    perhaps `{id}`, `{number}` and `{skip}` (anything) where these stand; other_heads: what models write as well.
    close: what ends a call. separator: what stands between two calls.

    argument_head: what begins an argument, with `{key}` and perhaps `{kind}`; argument_close ends it;
    argument_separator stands between two. kinds: (word of the template, kind of value) for `{kind}`. quote: around
    strings in braces. cdata: texts with markup stand in a CDATA section.

    Of JSON: array (calls stand in one list), name_key (None: the name is the key of the arguments), arguments_key,
    id_key (id_first: before the name). parallel: one reply may hold several calls. ids: "none" (the model writes
    none), "nine" (nine alphanumerics), "model" (it writes what it likes). text_arguments: history has arguments as
    JSON text. declares: the template tells the model which tools there are; otherwise the system text does.

    think_open, think_close: around what the model thinks. answer_open, answer_close: around the answer. ends: what
    else belongs to nobody. starts_open: what the prompt has written already of a head or of answer_open."""

    name: str = "none"
    codec: Codec = "none"
    section_open: str = ""
    section_close: str = ""
    head: str = ""
    other_heads: tuple[str, ...] = ()
    close: str = ""
    separator: str = ""
    argument_head: str = ""
    argument_close: str = ""
    argument_separator: str = ""
    kinds: tuple[tuple[str, str], ...] = ()
    quote: str = ""
    cdata: bool = False
    array: bool = False
    name_key: str | None = "name"
    arguments_key: str = "arguments"
    id_key: str | None = None
    id_first: bool = False
    parallel: bool = True
    ids: Literal["none", "nine", "model"] = "none"
    text_arguments: bool = False
    declares: bool = True
    think_open: str = ""
    think_close: str = ""
    answer_open: tuple[str, ...] = ()
    answer_close: tuple[str, ...] = ()
    ends: tuple[str, ...] = ()
    starts_open: str = ""

    def __post_init__(self) -> None:
        if self.codec not in CODECS:
            raise InvalidRequestError(f"a codec is one of {', '.join(CODECS)}", param="tool_syntax.codec")
        for text in (self.head, *self.other_heads, self.argument_head, self.argument_close):
            try:
                unknown = {slot for _, slot in pattern(text) if slot is not None} - SLOTS
            except ValueError as error:
                raise InvalidRequestError(f"{text!r} is no marker: {error}", param="tool_syntax") from None
            if unknown:
                raise InvalidRequestError(f"{text!r} has a slot that nothing fills", param="tool_syntax")

    @classmethod
    def from_dict(cls, said: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`, also of what JSON made of it. Raises InvalidRequestError naming the field."""
        plain = cls()
        given: dict[str, Any] = {}
        for key, value in said.items():
            if key not in cls.__dataclass_fields__:
                raise InvalidRequestError(f"tool_syntax has no field {key!r}", param=f"tool_syntax.{key}")
            default = getattr(plain, key)
            found = _as_tuples(value)
            if not isinstance(found, (str, type(None)) if key in ("name_key", "id_key") else type(default)):
                kind = type(value).__name__
                raise InvalidRequestError(f"tool_syntax.{key} cannot be a {kind}", param=f"tool_syntax.{key}")
            given[key] = found
        return cls(**given)

    @property
    def calls(self) -> bool:
        """Whether there is a way to call."""
        return self.codec != "none"

    def to_dict(self) -> dict[str, Any]:
        """What differs from a syntax that says nothing."""
        plain = ReplySyntax()
        said = asdict(self)
        return {one.name: said[one.name] for one in fields(self) if said[one.name] != getattr(plain, one.name)}


def _as_tuples(value: Any) -> Any:
    return tuple(map(_as_tuples, value)) if isinstance(value, list | tuple) else value


@lru_cache(maxsize=512)
def pattern(text: str) -> tuple[Part, ...]:
    """(what stands before, the slot or None) of each part of a marker with slots; ``{{`` is a brace."""
    parts: list[Part] = []
    literal = ""
    for before, slot, spec, conversion in string.Formatter().parse(text):
        if spec or conversion:
            raise ValueError("slots have no formats")
        literal += before
        if slot is not None:
            parts.append((literal, slot))
            literal = ""
    return (*parts, (literal, None))


def escaped(text: str) -> str:
    """A text as a part of a pattern."""
    return text.replace("{", "{{").replace("}", "}}")
