"""One rendering of a chat template: compiled once, run in the sandbox, within a budget. Whatever it raises becomes a
TemplateError."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from functools import lru_cache
from typing import Any

from jinja2 import TemplateError as JinjaError
from jinja2 import nodes

from oxillama.chat.template_budget import Budget, rendering
from oxillama.chat.template_limits import MAX_SOURCE_CHARACTERS
from oxillama.chat.template_sandbox import TemplateSandbox, guarded
from oxillama.errors import TemplateError

# What a template's own expressions raise on values they did not expect, and what Python raises on a template that it
# cannot compile.
_ACCIDENTS = (
    TypeError,
    ValueError,
    LookupError,
    AttributeError,
    ArithmeticError,
    RecursionError,
    SyntaxError,
    MemoryError,
)


def rendered(template: str, variables: Mapping[str, Any]) -> str:
    """The text that a template makes of its variables."""
    budget = Budget([variables, template[:MAX_SOURCE_CHARACTERS]])
    pieces = []
    with _failures_named("the chat template failed"), rendering(budget):
        for piece in _compiled(template).generate(variables):
            budget.write(len(piece))
            pieces.append(piece)
    return "".join(pieces)


def check_compiles(template: str) -> None:
    """Raises TemplateError for a template that is too large or no template."""
    with _failures_named("the chat template cannot be compiled"), rendering(Budget()):
        _compiled(template)


def mentions(template: str, variable: str) -> bool:
    """Whether a template reads the variable anywhere. Raises TemplateError for what is no template."""
    return any(node.name == variable for node in _tree(template).find_all(nodes.Name))


def literals(template: str) -> list[str]:
    """The texts that stand in a template, as they are written. Raises TemplateError for what is no template."""
    tree = _tree(template)
    return [node.data for node in tree.find_all(nodes.TemplateData)] + [
        node.value for node in tree.find_all(nodes.Const) if isinstance(node.value, str)
    ]


@contextmanager
def _failures_named(what: str) -> Iterator[None]:
    try:
        yield
    except JinjaError as error:
        raise TemplateError(f"{what}: {error}", param="messages") from error
    except _ACCIDENTS as error:
        raise TemplateError(f"{what}: {type(error).__name__}", param="messages") from error


def _tree(template: str) -> nodes.Template:
    with _failures_named("the chat template cannot be read"):
        return _environment().parse(template)


@lru_cache(maxsize=32)
def _compiled(template: str) -> Any:
    return _environment().from_string(template)


def _environment() -> TemplateSandbox:
    environment = TemplateSandbox()
    environment.filters["tojson"] = guarded("tojson", _to_json)
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    return environment


def _raise_exception(message: str) -> None:
    raise JinjaError(message)


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | str | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    # jinja2's own filter escapes for HTML, which no model was trained on.
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)
