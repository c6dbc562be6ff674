"""Markers that are control tokens, told apart from text that only looks like them.

In the text that a reader gets, SENTINEL stands before the text of every control token: half a surrogate pair, which no
decoded text can hold. Markers get it where the vocabulary has such a token, and so match the token alone."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from typing import Any

from oxillama.tools.syntax import ReplySyntax

SENTINEL = "\ud800"

_MARKERS = frozenset(
    {"section_open", "section_close", "head", "other_heads", "close", "argument_head", "argument_close", "quote"}
    | {"think_open", "think_close", "answer_open", "answer_close", "ends"}
)


@dataclass(frozen=True)
class Markers:
    """The texts of the control tokens that stand in a syntax's markers."""

    controls: frozenset[str] = field(default=frozenset())

    @classmethod
    def of(cls, syntax: ReplySyntax, controls: Iterable[str]) -> Markers:
        used = "\0".join(marker_texts(syntax))
        return cls(frozenset(text for text in controls if text and text in used))

    def applied(self, syntax: ReplySyntax) -> ReplySyntax:
        """The syntax with every control token marked."""
        if not self.controls:
            return syntax
        found = re.compile("|".join(map(re.escape, sorted(self.controls, key=len, reverse=True))))

        def marked(value: Any) -> Any:
            if isinstance(value, str):
                return found.sub(lambda one: SENTINEL + one.group(), value)
            return tuple(marked(one) for one in value)

        return replace(syntax, **{name: marked(getattr(syntax, name)) for name in _MARKERS})


def marker_texts(syntax: ReplySyntax) -> list[str]:
    """Everything that may stand around the parts of a reply."""
    texts: list[str] = []
    for one in fields(syntax):
        if one.name in _MARKERS:
            value = getattr(syntax, one.name)
            texts += [value] if isinstance(value, str) else value
    return texts
