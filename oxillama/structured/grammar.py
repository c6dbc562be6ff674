"""The shape a reply is held to, as a caller names it. What a worker makes of it is the compiler's."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from oxillama.errors import GrammarError

GrammarKind = Literal["json_schema", "regex", "lark"]


@dataclass(frozen=True, slots=True, repr=False)
class Grammar:
    """What every reply of a request must look like. Immutable and hashable; equal grammars share one compiled form.

    ``kind`` and ``text`` are what the compiler takes: a JSON schema with its options as JSON text, a regular
    expression, or a grammar in llguidance's Lark dialect. ``is_json`` says that what it produces is JSON, ``target``
    which class ``parsed`` makes of that, and ``warnings`` where the reply is held to less than was asked.

    >>> Grammar.choice(["yes", "no"])
    Grammar(kind='lark', length=19)
    """

    kind: GrammarKind
    text: str
    is_json: bool = False
    target: type | None = field(default=None, compare=False)
    warnings: tuple[str, ...] = field(default=(), compare=False)

    @classmethod
    def json_schema(cls, schema: Any) -> Grammar:
        """JSON that a schema accepts."""
        return cls("json_schema", json.dumps(schema, ensure_ascii=False), is_json=True)

    @classmethod
    def json_object(cls) -> Grammar:
        """Any JSON object."""
        return cls.json_schema({"type": "object"})

    @classmethod
    def regex(cls, pattern: str) -> Grammar:
        """Text that matches a regular expression as a whole."""
        return cls("regex", pattern)

    @classmethod
    def choice(cls, choices: Iterable[str]) -> Grammar:
        """One of a list of texts."""
        texts = tuple(dict.fromkeys(choices))
        if not texts:
            raise GrammarError("a choice needs at least one text", param="grammar")
        return cls("lark", "start: " + " | ".join(json.dumps(text) for text in texts))

    @classmethod
    def lark(cls, text: str) -> Grammar:
        """A grammar in llguidance's Lark dialect; ``<|name|>`` is a special token."""
        return cls("lark", text)

    def __repr__(self) -> str:
        return f"Grammar(kind={self.kind!r}, length={len(self.text)})"
