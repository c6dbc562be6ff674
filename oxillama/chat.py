"""Chat templates: conversations become the text a model was trained on. Not what tokens that has."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
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


def render(
    template: str,
    messages: Sequence[Mapping[str, Any]],
    *,
    tools: Sequence[Mapping[str, Any]] | None = None,
    add_generation_prompt: bool = True,
    bos_token: str = "",
    eos_token: str = "",
    **kwargs: Any,
) -> str:
    """The text of a conversation under a model's Jinja template, in a sandbox that cannot change its arguments.

    Templates find what transformers gives them: `messages`, `tools`, `add_generation_prompt`, `bos_token`, `eos_token`,
    `raise_exception(text)`, `strftime_now(format)`, `tojson` that leaves characters as they are, and loop controls.
    kwargs go to the template as they are. Raises TemplateError for a template that cannot be compiled, that fails, that
    refuses the conversation, or that would take too much time or write too much."""
    variables = {
        **kwargs,
        "messages": messages,
        "tools": tools,
        "documents": None,
        "add_generation_prompt": add_generation_prompt,
        "bos_token": bos_token,
        "eos_token": eos_token,
    }
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
