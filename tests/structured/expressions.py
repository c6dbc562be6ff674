"""Regular expressions with a recogniser of their own, by derivatives, which also tells whether a text can be continued.

J. Brzozowski, "Derivatives of Regular Expressions" (1964)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from hypothesis import strategies as st

ALPHABET = 'ab c0{"'


@dataclass(frozen=True)
class Expression:
    """kind: "none", "empty", "chars", "cat", "alt" or "star"."""

    kind: str
    chars: frozenset[str] = frozenset()
    parts: tuple[Expression, ...] = ()

    @property
    def pattern(self) -> str:
        match self.kind:
            case "chars":
                return "[" + "".join(re.escape(char) for char in sorted(self.chars)) + "]"
            case "cat":
                return "".join(f"({part.pattern})" for part in self.parts)
            case "alt":
                return "|".join(f"({part.pattern})" for part in self.parts)
            case "star":
                return f"({self.parts[0].pattern})*"
        return ""

    @property
    def is_nullable(self) -> bool:
        match self.kind:
            case "empty" | "star":
                return True
            case "cat":
                return all(part.is_nullable for part in self.parts)
            case "alt":
                return any(part.is_nullable for part in self.parts)
        return False

    def derived(self, char: str) -> Expression:
        """What the rest of a match has to be behind this character."""
        match self.kind:
            case "chars":
                return EMPTY if char in self.chars else NONE
            case "cat":
                head, tail = self.parts
                found = cat(head.derived(char), tail)
                return alt(found, tail.derived(char)) if head.is_nullable else found
            case "alt":
                return alt(*(part.derived(char) for part in self.parts))
            case "star":
                return cat(self.parts[0].derived(char), self)
        return NONE

    def behind(self, text: str) -> Expression:
        found = self
        for char in text:
            found = found.derived(char)
        return found

    def matches(self, text: str) -> bool:
        return self.behind(text).is_nullable

    def may_match(self, text: str) -> bool:
        """Whether some continuation of the text matches."""
        return self.behind(text).kind != "none"


NONE, EMPTY = Expression("none"), Expression("empty")


def chars(these: str | set[str]) -> Expression:
    return Expression("chars", frozenset(these))


def cat(head: Expression, tail: Expression) -> Expression:
    if NONE in (head, tail):
        return NONE
    if head == EMPTY or tail == EMPTY:
        return tail if head == EMPTY else head
    return Expression("cat", parts=(head, tail))


def alt(*parts: Expression) -> Expression:
    flat = {part for one in parts for part in (one.parts if one.kind == "alt" else (one,))} - {NONE}
    if len(flat) < 2:
        return next(iter(flat), NONE)
    return Expression("alt", parts=tuple(sorted(flat, key=repr)))


def star(part: Expression) -> Expression:
    return part if part.kind == "star" else Expression("star", parts=(part,))


def word(text: str) -> Expression:
    found = EMPTY
    for char in text:
        found = cat(found, chars(char))
    return found


def expressions() -> st.SearchStrategy[Expression]:
    """Each matches some text that is not empty."""
    leaves = st.one_of(
        st.sets(st.sampled_from(ALPHABET), min_size=1).map(chars),
        st.text(ALPHABET, min_size=1, max_size=5).map(word),
    )

    def grown(inner: st.SearchStrategy[Expression]) -> st.SearchStrategy[Expression]:
        return st.one_of(
            st.tuples(inner, inner).map(lambda pair: cat(*pair)),
            st.tuples(inner, inner).map(lambda pair: alt(*pair)),
            st.tuples(inner, inner).map(lambda pair: cat(star(pair[0]), pair[1])),
        )

    return st.recursive(leaves, grown, max_leaves=6)
