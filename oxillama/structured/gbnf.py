"""llama.cpp's grammar notation (GBNF), read into rules. Writing them for the engine is `gbnf_lark`'s."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import count
from typing import TypeAlias

from oxillama.errors import GrammarError

MAX_CHARACTERS = 1 << 20
MAX_DEPTH = 60
MAX_REPETITION = 100_000
ROOT = "root"

_SPACE = re.compile(r"(?:[ \t]|#[^\r\n]*)+")
_SPACE_AND_LINES = re.compile(r"(?:[ \t\r\n]|#[^\r\n]*)+")
_NAME = re.compile(r"[A-Za-z0-9_-]+")
_TOKEN = re.compile(r"!?<(?:\[\d+\]|[^<>\[\]\s]+)>")
_BOUNDS = re.compile(r"\{[ \t]*+(\d++)[ \t]*+(?:(,)[ \t]*+(?:(\d++)[ \t]*+)?)?\}")
_ESCAPES = {"t": "\t", "r": "\r", "n": "\n", "\\": "\\", '"': '"', "[": "[", "]": "]"}
_DIGITS = {"x": 2, "u": 4, "U": 8}


@dataclass(frozen=True)
class Literal:
    text: str


@dataclass(frozen=True)
class CharacterClass:
    """Characters by their code points, both ends of a range included."""

    ranges: tuple[tuple[int, int], ...]
    negated: bool


@dataclass(frozen=True)
class Token:
    """A token of the vocabulary, as `<[7]>` or `<think>`."""

    text: str
    at: int


@dataclass(frozen=True)
class Reference:
    name: str
    at: int


@dataclass(frozen=True)
class Sequence:
    parts: tuple[Node, ...]


@dataclass(frozen=True)
class Alternatives:
    options: tuple[Node, ...]


@dataclass(frozen=True)
class Repetition:
    """`most` None: without end."""

    part: Node
    least: int
    most: int | None
    at: int


Node: TypeAlias = Literal | CharacterClass | Token | Reference | Sequence | Alternatives | Repetition


@dataclass(frozen=True)
class GbnfGrammar:
    """The rules of a grammar by name; `root` is where a text begins."""

    rules: dict[str, Node]
    text: str = field(repr=False)

    def error(self, message: str, at: int) -> GrammarError:
        return gbnf_error(self.text, message, at)


def gbnf_error(text: str, message: str, at: int) -> GrammarError:
    line = text.count("\n", 0, at) + 1
    column = at - (text.rfind("\n", 0, at) + 1) + 1
    return GrammarError(f"line {line}, column {column}: {message}", param="grammar", code="invalid_grammar")


def parse_gbnf(text: str) -> GbnfGrammar:
    """Raises GrammarError with line and column."""
    if not isinstance(text, str):
        raise GrammarError(f"a grammar must be a text, found a {type(text).__name__}", param="grammar")
    if len(text) > MAX_CHARACTERS:
        message = f"the grammar has {len(text)} characters, at most {MAX_CHARACTERS} are allowed"
        raise GrammarError(message, param="grammar")
    return _Parser(text).grammar()


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._depth = 0

    def grammar(self) -> GbnfGrammar:
        rules: dict[str, Node] = {}
        self._skip(lines=True)
        while self._at < len(self._text):
            start = self._at
            name = self._match(_NAME)
            if name is None:
                raise self._error("expected the name of a rule")
            self._skip()
            if not self._take("::="):
                raise self._error(f"expected ::= after {name[0]}")
            if name[0] in rules:
                raise self._error(f"{name[0]} is defined twice", start)
            self._skip(lines=True)
            rules[name[0]] = self._alternatives(nested=False)
            if self._at < len(self._text) and self._text[self._at] not in "\r\n":
                raise self._error("expected the end of the line")
            self._skip(lines=True)
        grammar = GbnfGrammar(rules, self._text)
        if ROOT not in rules:
            raise grammar.error("there is no rule `root`, where a text begins", 0)
        self._check_references(grammar)
        return grammar

    def _check_references(self, grammar: GbnfGrammar) -> None:
        pending = list(grammar.rules.values())
        while pending:
            match pending.pop():
                case Reference(name, at) if name not in grammar.rules:
                    raise grammar.error(f"there is no rule {name}", at)
                case Sequence(parts) | Alternatives(parts):
                    pending += parts
                case Repetition(part):
                    pending.append(part)

    def _alternatives(self, *, nested: bool) -> Node:
        options = [self._sequence(nested=nested)]
        while self._goes_on(nested=nested):
            self._at += 1
            self._skip(lines=True)
            options.append(self._sequence(nested=nested))
        return options[0] if len(options) == 1 else Alternatives(tuple(options))

    def _goes_on(self, *, nested: bool) -> bool:
        """Whether there is another alternative; of a rule also at the beginning of the next line."""
        here = self._at
        if not nested:
            self._skip(lines=True)
        if self._text.startswith("|", self._at):
            return True
        self._at = here
        return False

    def _sequence(self, *, nested: bool) -> Node:
        parts: list[Node] = []
        while self._at < len(self._text):
            start = self._at
            part = self._element()
            if part is None:
                break
            parts.append(self._repeated(part, start, nested=nested))
        return parts[0] if len(parts) == 1 else Sequence(tuple(parts))

    def _element(self) -> Node | None:
        character = self._text[self._at]
        if character == '"':
            return self._literal()
        if character == "[":
            return self._class()
        if character == "(":
            return self._group()
        if character == ".":
            self._at += 1
            return CharacterClass((), negated=True)
        if character in "<!":
            start, token = self._at, self._match(_TOKEN)
            if token is None:
                raise self._error("expected a token, as <[7]> or <think>")
            return Token(token[0], start)
        start, name = self._at, self._match(_NAME)
        return None if name is None else Reference(name[0], start)

    def _repeated(self, part: Node, start: int, *, nested: bool) -> Node:
        for n_stacked in count():
            self._skip(lines=nested)
            here = self._at
            if n_stacked > MAX_DEPTH:
                raise self._error(f"more than {MAX_DEPTH} repetitions of one part", here)
            if self._take("*"):
                part = Repetition(part, 0, None, here)
            elif self._take("+"):
                part = Repetition(part, 1, None, here)
            elif self._take("?"):
                part = Repetition(part, 0, 1, here)
            elif self._text.startswith("{", self._at):
                bounds = self._match(_BOUNDS)
                if bounds is None:
                    raise self._error("expected bounds, as {2}, {2,} or {2,5}")
                least, most = int(bounds[1][:10]), int((bounds[3] or bounds[1])[:10])
                if max(least, most) > MAX_REPETITION:
                    raise self._error(f"a repetition of more than {MAX_REPETITION}", here)
                if most < least:
                    raise self._error(f"a repetition of at least {least} and at most {most}", here)
                part = Repetition(part, least, None if bounds[2] and not bounds[3] else most, here)
            else:
                break
        return part

    def _group(self) -> Node:
        start = self._at
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._error(f"groups inside one another, more than {MAX_DEPTH}")
        self._at += 1
        self._skip(lines=True)
        inside = self._alternatives(nested=True)
        if not self._take(")"):
            raise self._error("expected )" if self._at < len(self._text) else "a group that is not closed", start)
        self._depth -= 1
        return inside

    def _literal(self) -> Node:
        start = self._at
        self._at += 1
        characters: list[str] = []
        while not self._take('"'):
            characters.append(chr(self._character(start, "a text that is not closed")))
        return Literal("".join(characters))

    def _class(self) -> Node:
        start = self._at
        self._at += 1
        negated = self._take("^")
        ranges: list[tuple[int, int]] = []
        while not self._take("]"):
            low = high = self._character(start, "a class that is not closed")
            if self._text.startswith("-", self._at) and self._text[self._at + 1 : self._at + 2] not in ("]", ""):
                self._at += 1
                high = self._character(start, "a class that is not closed")
            if high < low:
                raise self._error("a range that runs backwards", start)
            ranges.append((low, high))
        if not ranges and not negated:
            raise self._error("a class without characters, which nothing matches", start)
        return CharacterClass(tuple(ranges), negated)

    def _character(self, start: int, problem: str) -> int:
        """One character of a text or class, by its code point."""
        if self._at >= len(self._text) or self._text[self._at] in "\r\n":
            raise self._error(problem, start)
        here, character = self._at, self._text[self._at]
        self._at += 1
        if character != "\\":
            code = ord(character)
        else:
            kind = self._text[self._at : self._at + 1]
            self._at += 1
            n_digits = _DIGITS.get(kind, 0)
            digits = self._text[self._at : self._at + n_digits]
            self._at += n_digits
            if kind in _ESCAPES:
                code = ord(_ESCAPES[kind])
            elif n_digits and len(digits) == n_digits and all(one in "0123456789abcdefABCDEF" for one in digits):
                code = int(digits, 16)
            elif n_digits:
                raise self._error(f"\\{kind} needs {n_digits} hexadecimal digits", here)
            else:
                raise self._error("an escape that is not known", here)
        if code > 0x10FFFF or 0xD800 <= code < 0xE000:
            raise self._error("an escape that is no character", here)
        return code

    def _skip(self, *, lines: bool = False) -> None:
        self._match(_SPACE_AND_LINES if lines else _SPACE)

    def _match(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        found = pattern.match(self._text, self._at)
        if found:
            self._at = found.end()
        return found

    def _take(self, text: str) -> bool:
        found = self._text.startswith(text, self._at)
        self._at += len(text) if found else 0
        return found

    def _error(self, message: str, at: int | None = None) -> GrammarError:
        return gbnf_error(self._text, message, self._at if at is None else at)
