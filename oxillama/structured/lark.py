"""Lark as it is written for llguidance: texts in it, and the bounds within which it is safe to give it one."""

from __future__ import annotations

import re

from oxillama.errors import GrammarError
from oxillama.structured.reach import longest_reach

MAX_CHARACTERS = 1 << 20
MAX_RULES = 5000
MAX_REACH = 400  # rules one inside the other: the engine follows them on its thread's stack

# Possessive: a text that is no rule is read once, not once for each of its characters.
_RULE = re.compile(r"^[?!]*+([A-Za-z_][\w-]*+)[^:\n]*+:", re.MULTILINE)
_NAME = re.compile(r"[A-Za-z_][\w-]*")


def lark_text(text: str) -> str:
    """A text as a literal. Raises GrammarError for one that UTF-8 cannot hold."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise GrammarError("a text has half of a character, which no reply can have", param="grammar") from None
    escapes = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
    # All others stand for themselves: the engine knows no escapes beyond four digits.
    written = (escapes.get(one) or (f"\\u{ord(one):04x}" if _is_control(one) else one) for one in text)
    return f'"{"".join(written)}"'


def checked_lark(text: str) -> str:
    """The grammar, if its size is within bounds; what it says is checked by the engine. Raises GrammarError."""
    if not isinstance(text, str):
        raise GrammarError(f"a grammar must be a text, found a {type(text).__name__}", param="grammar")
    if len(text) > MAX_CHARACTERS:
        message = f"the grammar has {len(text)} characters, at most {MAX_CHARACTERS} are allowed"
        raise GrammarError(message, param="grammar")
    rules = list(_RULE.finditer(text))
    if len(rules) > MAX_RULES:
        raise GrammarError(f"the grammar has {len(rules)} rules, at most {MAX_RULES} are allowed", param="grammar")
    edges: dict[str, set[str]] = {}
    starts = [*(rule.start() for rule in rules), len(text)]
    for rule, end in zip(rules, starts[1:], strict=True):
        body = text[rule.end() : end]
        edges.setdefault(rule[1], set()).update(_NAME.findall(body))
    edges = {name: others & edges.keys() for name, others in edges.items()}
    if longest_reach(edges, dict.fromkeys(edges, 1)) > MAX_REACH:
        raise GrammarError(f"the grammar has rules inside one another, more than {MAX_REACH}", param="grammar")
    return text


def _is_control(character: str) -> bool:
    return character < " " or "\x7f" <= character <= "\x9f"
