"""One call of a tool carried out: its arguments as the function takes them, its result as text."""

from __future__ import annotations

import inspect
import json
import typing
from collections.abc import Callable
from typing import Any

from oxillama.results.chat import ToolCall
from oxillama.structured.typed_schema import TypedSchema
from oxillama.tools.definitions import Tool


def bound_arguments(tool: Tool, call: ToolCall) -> dict[str, Any]:
    """The keyword arguments of the tool's function, of the types that it is annotated with. Raises ValueError."""
    function = tool.function
    assert function is not None
    arguments = call.arguments
    hints = typing.get_type_hints(function, include_extras=True)
    parameters = inspect.signature(function).parameters
    unknown = [name for name in arguments if name not in parameters]
    if unknown and not any(each.kind is each.VAR_KEYWORD for each in parameters.values()):
        raise ValueError(f"{tool.name} has no parameter {unknown[0]}")
    missing = [
        name
        for name, each in parameters.items()
        if name not in arguments
        and each.default is each.empty
        and each.kind not in (each.VAR_KEYWORD, each.VAR_POSITIONAL)
    ]
    if missing:
        raise ValueError(f"{tool.name} needs {missing[0]}")
    return {
        name: TypedSchema(hints[name]).decode(value) if name in hints and name in parameters else value
        for name, value in arguments.items()
    }


def result_text(result: object) -> str:
    """What a model is told of a result."""
    if isinstance(result, str):
        return result
    try:
        return json.dumps(result, ensure_ascii=False, default=str)
    except (ValueError, TypeError, RecursionError):
        return str(result)


def failure_text(error: Exception) -> str:
    """What a model is told of a failure: no trace, nothing of the program."""
    said = str(error)
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def is_async(function: Callable[..., Any]) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004
