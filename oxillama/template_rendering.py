"""One rendering of a chat template: compiled once, run in the sandbox, within a budget. Whatever it raises becomes a
TemplateError."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any

from jinja2 import TemplateError as JinjaError

from oxillama.errors import TemplateError
from oxillama.template_budget import Budget, rendering
from oxillama.template_sandbox import TemplateSandbox, guarded

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
    budget = Budget([variables, template])
    pieces = []
    try:
        with rendering(budget):
            for piece in _compiled(template).generate(variables):
                budget.write(len(piece))
                pieces.append(piece)
    except JinjaError as error:
        raise TemplateError(f"the chat template failed: {error}", param="messages") from error
    except _ACCIDENTS as error:
        raise TemplateError(
            f"the chat template failed: {type(error).__name__} on this conversation", param="messages"
        ) from error
    return "".join(pieces)


@lru_cache(maxsize=32)
def _compiled(template: str) -> Any:
    environment = TemplateSandbox()
    environment.filters["tojson"] = guarded("tojson", _to_json)
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    return environment.from_string(template)


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
