"""Which tools a reply may or must call, as a caller says it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from oxillama.errors import InvalidRequestError
from oxillama.tools.definitions import ToolSet


@dataclass(frozen=True)
class ToolChoice:
    """``tools``: those that may be called. With "required" one of them must be."""

    mode: Literal["none", "auto", "required"]
    tools: ToolSet


def tool_choice(choice: object, tools: ToolSet) -> ToolChoice:
    """ "auto" (also None), "none", "required", {"name": ...}, OpenAI's nested forms, or {"type": "allowed_tools"}.

    Raises InvalidRequestError."""
    if choice is None:
        choice = "auto"
    if choice in ("none", "auto", "required", "any"):
        if choice in ("required", "any") and not tools:
            raise _wrong("tool_choice needs tools")
        mode: Any = {"any": "required"}.get(str(choice), choice)
        return ToolChoice(mode if tools else "none", tools if mode != "none" else ToolSet())
    if not isinstance(choice, Mapping):
        raise _wrong("tool_choice must be 'none', 'auto', 'required' or an object that names a tool")
    kind = choice.get("type", "function")
    if kind == "allowed_tools":
        said = choice.get("allowed_tools", choice)
        if not isinstance(said, Mapping) or not isinstance(said.get("tools"), list):
            raise _wrong("tool_choice.allowed_tools must have a list of tools")
        mode = said.get("mode", "auto")
        if mode not in ("auto", "required"):
            raise _wrong("tool_choice.allowed_tools.mode must be 'auto' or 'required'")
        names = [_name(tool, tools) for tool in said["tools"]]
        if not names:
            raise _wrong("tool_choice.allowed_tools.tools is empty")
        return ToolChoice(mode, tools.only(names))
    if kind != "function":
        raise _wrong("tool_choice.type must be 'function' or 'allowed_tools'")
    return ToolChoice("required", tools.only([_name(choice, tools)]))


def _name(said: object, tools: ToolSet) -> str:
    function = said.get("function", said) if isinstance(said, Mapping) else None
    name = function.get("name") if isinstance(function, Mapping) else None
    if not isinstance(name, str) or name not in tools:
        raise _wrong("tool_choice names a tool that is not among the tools")
    return name


def _wrong(message: str) -> InvalidRequestError:
    return InvalidRequestError(message, param="tool_choice")
