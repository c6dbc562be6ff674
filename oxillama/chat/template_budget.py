"""How much text and time one rendering of a chat template may take, and what its operations would take.

Templates come with model files, so from strangers. Python's own operations cannot be stopped half-way: what could grow
beyond the budget is estimated before it is done.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Mapping, Set, ValuesView
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from jinja2.exceptions import SecurityError
from jinja2.runtime import LoopContext
from jinja2.utils import Cycler, Joiner, Namespace

# Characters that a template may write on top of this many times what it is given. Real ones write some thousands.
BASE_CHARACTERS = 1_000_000
GROWTH = 8
# Of the thread's own time, so that other work on the machine does not count. Real templates take milliseconds.
MAX_SECONDS = 3.0
# Of integers that a template computes; far above any length or index.
MAX_BITS = 4096
MAX_EXPONENT = 64
# Widths in format specifications and of indentations.
MAX_WIDTH = 1000

# Texts that a template makes on its way, by trimming, joining and so on, of these many times what it may write.
MADE = 100

# A width in a format specification that is large, or comes from a value: `%2000d`, `%(name)2000d`, `%*d`, `{:2000}`,
# `{:{}}`. Also a name with parentheses in it, whose end Python finds by counting them.
_WIDE = re.compile(r"%(?:\([^()]*\))?[^a-zA-Z%(]*(?:\d{4}|\*)|%\([^()]*\(|\{[^{}]*(?::[^{}]*\d{4}|\{)")
# Where the other widths stand.
_SPECIFICATION = re.compile(r"%(?:\([^()]*\))?([^a-zA-Z%(]*)|\{[^{}:]*:([^{}]*)\}")
# Signs that are written as they are. Before a parenthesis the second one may begin a specification: `%5%%(name)d`.
_ESCAPED = re.compile(r"\{\{|%%(?!\()")


class Budget:
    """What is left for one rendering."""

    def __init__(self, given: object = ()) -> None:
        self._given = given
        self._given_lists: set[int] | None = None
        self.max_characters: int = BASE_CHARACTERS + GROWTH * size_held(given)
        self._written = 0
        self._made = 0
        self._until = time.thread_time() + MAX_SECONDS

    def was_given(self, value: list[Any]) -> bool:
        """Whether a list is a part of what the template was given."""
        if self._given_lists is None:
            self._given_lists = set()
            pending, seen = [self._given], set[int]()
            while pending:
                one = pending.pop()
                if id(one) in seen:
                    continue
                seen.add(id(one))
                if isinstance(one, list):
                    self._given_lists.add(id(one))
                if isinstance(one, list | tuple):
                    pending.extend(one)
                elif isinstance(one, Mapping):
                    pending.extend(one.values())
        return id(value) in self._given_lists

    def write(self, characters: int) -> None:
        """The template writes text."""
        self._written += characters
        if self._written > self.max_characters:
            raise SecurityError(f"the template writes more than {self.max_characters} characters")
        self.check_time()

    def make(self, value: object) -> None:
        """An operation made a value."""
        if isinstance(value, int) and value.bit_length() > MAX_BITS:
            raise SecurityError("the template computes a number that is too large")
        if isinstance(value, str | bytes | list | tuple):
            self._made += len(value)
            if self._made > MADE * self.max_characters:
                raise SecurityError("the template makes too much text")
        self.check_time()

    def check_time(self) -> None:
        if time.thread_time() > self._until:
            raise SecurityError("the template takes too long")

    def check_size(self, size: int) -> None:
        if size > self.max_characters:
            raise SecurityError(f"the template makes a value of more than {self.max_characters} characters")

    def check_text(self, *values: object) -> None:
        """Whether values may be turned into text."""
        self.check_size(sum(weight(value, limit=self.max_characters) for value in values))

    def check_integers(self, values: Iterable[object]) -> None:
        for value in values:
            if isinstance(value, int):
                self.check_size(abs(value))

    def check_operation(self, operator: str, left: Any, right: Any) -> None:
        match operator:
            case "**":
                if (
                    isinstance(left, int)
                    and isinstance(right, int)
                    and (right > MAX_EXPONENT or left.bit_length() > 64)
                ):
                    raise SecurityError("the template computes a number that is too large")
            case "*":
                for one, other in ((left, right), (right, left)):
                    if isinstance(one, int) and isinstance(other, int):
                        if one.bit_length() + other.bit_length() > MAX_BITS:
                            raise SecurityError("the template computes a number that is too large")
                    elif isinstance(one, int) and hasattr(other, "__len__"):
                        self.check_size(self._length(other) * max(0, one))
            case "+":
                if hasattr(left, "__len__") and hasattr(right, "__len__"):
                    self.check_size(self._length(left) + self._length(right))
            case "%":
                if isinstance(left, str | bytes):
                    self.check_format(left, right)

    def _length(self, value: Any) -> int:
        # Of a tuple with all that it holds, because it may be hashed.
        return weight(value, limit=self.max_characters) if isinstance(value, tuple) else len(value)

    def check_format(self, template: object, *values: object) -> None:
        text = template.decode("latin-1") if isinstance(template, bytes) else str(template)
        specified = _ESCAPED.sub("", text)
        if _WIDE.search(specified):
            raise SecurityError("the template formats with a width")
        self.check_text(text, *values)
        widths = sum(
            int(number) for one in _SPECIFICATION.findall(specified) for number in re.findall(r"\d+", "".join(one))
        )
        written = (text.count("%") + text.count("{") + 1) * sum(weight(v, limit=1 << 40) for v in values)
        self.check_size(widths + written)

    def check_replace(self, text: Any, old: Any, new: Any) -> None:
        self.check_size(len(text) + (text.count(old) if old else len(text) + 1) * len(new))

    def check_join(self, separator: object, items: object) -> None:
        self.check_text(items)
        if isinstance(items, list | tuple | str | Mapping):
            self.check_size(len(items) * weight(separator, limit=self.max_characters))

    def check_method(self, text: str | bytes, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Whether a method of a text may be called. Arguments of a wrong type are left for the method to refuse."""
        values = [*args, *kwargs.values()]
        match name:
            case "replace" if len(args) >= 2 and all(isinstance(part, type(text) | str) for part in args[:2]):
                self.check_replace(text, *args[:2])
            case "join" if args:
                self.check_join(text, args[0])
            case "expandtabs":
                self.check_size(len(text) * max([8, *(value for value in values if isinstance(value, int))]))
            case "translate":
                self.check_size(len(text) * (1 + sum(weight(value, limit=self.max_characters) for value in values)))


_current: ContextVar[Budget | None] = ContextVar("oxillama_template_budget", default=None)


@contextmanager
def rendering(budget: Budget) -> Iterator[None]:
    """The budget counts what this thread does with templates."""
    token = _current.set(budget)
    try:
        yield
    finally:
        _current.reset(token)


def current_budget() -> Budget:
    """Of the rendering that is going on; a fresh one where nothing is rendered."""
    return _current.get() or Budget()


def size_held(value: object) -> int:
    """About as many characters as the value has in memory; what occurs twice counts once."""
    total = 0
    pending, seen = [value], set()
    while pending:
        one = pending.pop()
        total += 1
        if isinstance(one, str | bytes):
            total += len(one)
        elif isinstance(one, Mapping | list | tuple | set | frozenset) and id(one) not in seen:
            seen.add(id(one))
            pending.extend(one)
            if isinstance(one, Mapping):
                pending.extend(one.values())
    return total


def weight(value: object, *, limit: int) -> int:
    """About as many characters as the value has as text, counting what occurs twice twice; stops beyond `limit`."""
    total = 0
    pending = [value]
    while pending and total <= limit:
        one = pending.pop()
        total += 1
        if isinstance(one, str | bytes):
            total += len(one)
        elif isinstance(one, int):
            total += one.bit_length() // 3  # its digits
        elif isinstance(one, Mapping):
            pending.extend(one)
            pending.extend(one.values())
        elif isinstance(one, list | tuple | Set | ValuesView):
            pending.extend(one)
        elif isinstance(one, Namespace):
            pending.append(getattr(one, "_Namespace__attrs"))  # noqa: B009 - jinja2's own name, mangled
        elif isinstance(one, LoopContext):
            pending.extend((one.previtem, one.nextitem))
        elif isinstance(one, Cycler):
            pending.append(one.items)
        elif isinstance(one, Joiner):
            pending.append(one.sep)
    return total
