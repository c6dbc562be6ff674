"""A grammar of llama.cpp's, written in Lark.

The engine reads texts with a lexer that takes the longest match. So what has no recursion is written as one terminal as
far as it goes, within which nothing is decided early; a grammar without recursion is a single one."""

from __future__ import annotations

import re

from oxillama.structured.gbnf import (
    ROOT,
    Alternatives,
    CharacterClass,
    GbnfGrammar,
    Literal,
    Node,
    Reference,
    Repetition,
    Sequence,
    Token,
    parse_gbnf,
)
from oxillama.structured.lark import lark_text
from oxillama.structured.reach import circles

# Characters of a terminal with every repetition and reference written out.
MAX_TERMINAL = 20_000


def gbnf_to_lark(text: str) -> str:
    """Raises GrammarError with line and column."""
    return _LarkWriter(parse_gbnf(text)).lark()


class _LarkWriter:
    def __init__(self, grammar: GbnfGrammar) -> None:
        self._grammar = grammar
        self._sizes: dict[str, int] = {}  # of the rules that are terminals
        self._lines: list[str] = []
        self._runs: dict[str, str] = {}
        self._numbers = {name: number for number, name in enumerate(grammar.rules)}
        for circle in circles({name: _references(node) for name, node in grammar.rules.items()}):
            name = circle[0]
            node = grammar.rules[name]
            if len(circle) == 1 and name not in _references(node) and self._is_regular(node):
                self._sizes[name] = self._size(node)

    def lark(self) -> str:
        self._lines.append(f"start: {self._name(ROOT)}")
        for name, node in self._grammar.rules.items():
            write = self._terminal if name in self._sizes else self._rule
            self._lines.append(f"{self._name(name)}: {write(node)}")
        return "\n".join(self._lines) + "\n"

    def _name(self, rule: str) -> str:
        readable = re.sub(r"\W", "_", rule, flags=re.ASCII)
        return (
            f"T{self._numbers[rule]}_{readable.upper()}"
            if rule in self._sizes
            else (f"r{self._numbers[rule]}_{readable.lower()}")
        )

    def _is_regular(self, node: Node) -> bool:
        """Whether it can be a terminal, or a part of one."""
        match node:
            case Token():
                return False
            case Reference(name):
                return name in self._sizes
            case Sequence(parts) | Alternatives(parts):
                return all(map(self._is_regular, parts))
            case Repetition(part):
                return self._is_regular(part)
        return True

    def _size(self, node: Node) -> int:
        match node:
            case Literal(text):
                return max(len(text), 1)
            case Reference(name):
                return self._sizes[name]
            case Sequence(parts) | Alternatives(parts):
                return sum(map(self._size, parts)) + 1
            case Repetition(part, least, most, at):
                size = self._size(part) * max(least, most or 0, 1)
                if size > MAX_TERMINAL:
                    message = f"what is repeated here has more than {MAX_TERMINAL} characters when written out"
                    raise self._grammar.error(message, at)
                return size
        return 1

    # --- terminals

    def _terminal(self, node: Node) -> str:
        match node:
            case Literal(text):
                return lark_text(text)
            case CharacterClass():
                return _class(node)
            case Reference(name):
                return self._name(name)
            case Sequence(parts):
                return " ".join(map(self._grouped_terminal, parts)) or '""'
            case Alternatives(options):
                return " | ".join(map(self._terminal, options))
            case Repetition(part):
                return f"{self._grouped_terminal(part)}{_bounds(node)}"
        raise AssertionError(node)

    def _grouped_terminal(self, node: Node) -> str:
        written = self._terminal(node)
        return f"({written})" if isinstance(node, Sequence | Alternatives | Repetition) else written

    # --- rules

    def _rule(self, node: Node) -> str:
        if self._is_regular(node):
            return self._run([node])
        match node:
            case Token(text, at):
                return self._token(text, at)
            case Reference(name):
                return self._name(name)
            case Sequence(parts):
                return self._sequence(parts)
            case Alternatives(options):
                regular = [option for option in options if self._is_regular(option)]
                others = [self._rule(option) for option in options if not self._is_regular(option)]
                return " | ".join([*([self._run([Alternatives(tuple(regular))])] if regular else []), *others])
            case Repetition(part):
                return f"({self._rule(part)}){_bounds(node)}"
        raise AssertionError(node)

    def _sequence(self, parts: tuple[Node, ...]) -> str:
        written: list[str] = []
        run: list[Node] = []
        for part in parts:
            if self._is_regular(part):
                run.append(part)
                continue
            written += [self._run(run)] if run else []
            run = []
            inside = self._rule(part)
            written.append(f"({inside})" if isinstance(part, Sequence | Alternatives) else inside)
        written += [self._run(run)] if run else []
        return " ".join(written)

    def _run(self, parts: list[Node]) -> str:
        """What stands side by side without a reference to a rule: one terminal, so that nothing in it is decided
        early."""
        node = parts[0] if len(parts) == 1 else Sequence(tuple(parts))
        if isinstance(node, Reference):
            return self._name(node.name)
        if self._size(node) > MAX_TERMINAL:
            return " ".join(self._run([part]) for part in parts) if len(parts) > 1 else self._terminal(node)
        written = self._terminal(node)
        if written not in self._runs:
            self._runs[written] = f"X{len(self._runs)}"
            self._lines.append(f"{self._runs[written]}: {written}")
        return self._runs[written]

    def _token(self, text: str, at: int) -> str:
        if not text.startswith("!"):
            return text
        if not text.startswith("!<["):
            raise self._grammar.error("the engine takes ! before a number only, as !<[7]>", at)
        return f"<[^{text[3:-2]}]>"


def _references(node: Node) -> set[str]:
    found: set[str] = set()
    pending = [node]
    while pending:
        match pending.pop():
            case Reference(name):
                found.add(name)
            case Sequence(parts) | Alternatives(parts):
                pending += parts
            case Repetition(part):
                pending.append(part)
    return found


def _class(node: CharacterClass) -> str:
    if not node.ranges:
        return "/(?s:.)/"
    items = (f"\\x{{{low:x}}}" + (f"-\\x{{{high:x}}}" if high > low else "") for low, high in node.ranges)
    return f"/[{'^' if node.negated else ''}{''.join(items)}]/"


def _bounds(node: Repetition) -> str:
    match node.least, node.most:
        case 0, None:
            return "*"
        case 1, None:
            return "+"
        case 0, 1:
            return "?"
        case least, None:
            return f"{{{least},}}"
        case least, most:
            return f"{{{least},{most}}}"
