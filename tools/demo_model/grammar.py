"""Expands text templates: `[a|b]` chooses, `{slot}` inserts. Knows nothing of stories or chats."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping

_CHOICE = re.compile(r"\[([^\[\]]*)\]")
_SLOT = re.compile(r"\{(\w+)\}")
_ARTICLE = re.compile(r"\b([Aa]) (?=[aeiouAEIOU])(?!uni|use|one\b|eu)")
_SENTENCE = re.compile(r'((?:^|[.!?] |\n|(?<!,) "|^"|\n")\s*)([a-z])')


class TemplateError(ValueError):
    """A template names a slot that its caller did not fill, or has an unbalanced bracket."""


def expand(rng: random.Random, template: str, slots: Mapping[str, str]) -> str:
    """Return `template` with every choice made (innermost first) and every slot filled.

    A slot written with a capital first letter (`{He}`) takes the lower-case slot's value, capitalised, unless it exists
    itself. Slot values may contain choices and slots. Raises TemplateError where something cannot be filled.
    """
    text = template
    for _ in range(12):
        before = text
        text = _CHOICE.sub(lambda match: rng.choice(match.group(1).split("|")), text)
        text = _SLOT.sub(lambda match: _slot(match.group(1), slots, template), text)
        if text == before:
            break
    if any(mark in text for mark in "[]{}|"):
        raise TemplateError(f"unexpanded mark in {text!r}, from template {template!r}")
    return text


def _slot(name: str, slots: Mapping[str, str], template: str) -> str:
    if name in slots:
        return slots[name]
    lower = name[0].lower() + name[1:]
    if lower in slots:
        return capitalised(slots[lower])
    raise TemplateError(f"no slot {name!r} for template {template!r}")


def capitalised(text: str) -> str:
    """`text` with its first letter upper case, the rest as it is (unlike str.capitalize)."""
    return text[:1].upper() + text[1:]


def tidy(text: str) -> str:
    """Mend what free combination breaks: a/an, double spaces, lower-case sentence starts."""
    text = re.sub(r" +", " ", text).strip()
    text = re.sub(r" ?\n ?", "\n", text)
    text = _ARTICLE.sub(r"\1n ", text)
    return _SENTENCE.sub(lambda match: match.group(1) + match.group(2).upper(), text)
