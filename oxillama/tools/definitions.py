"""The tools of a chat as a caller gives them: functions, dicts in OpenAI's shape, dataclasses, classes of pydantic."""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from oxillama.chat.messages import checked_tools
from oxillama.errors import InvalidRequestError, OxillamaError
from oxillama.structured.typed_schema import TypedSchema

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,128}\Z")
_MAX_TOOLS = 1024


@dataclass(frozen=True)
class Tool:
    """One function that a model may ask to be called. ``path``: where its definition stands in the request."""

    name: str
    parameters: Mapping[str, Any]
    strict: bool
    definition: Mapping[str, Any] = field(repr=False)
    path: str
    function: Callable[..., Any] | None = field(default=None, repr=False)


class ToolSet:
    """The tools of one chat by name, in their order."""

    def __init__(self, tools: Sequence[Tool] = ()) -> None:
        self._tools = {tool.name: tool for tool in tools}

    def __bool__(self) -> bool:
        return bool(self._tools)

    def __iter__(self) -> Iterator[Tool]:
        return iter(self._tools.values())

    def __contains__(self, name: object) -> bool:
        return name in self._tools

    def get(self, name: str) -> Tool | None:
        return self._tools.get(name)

    @property
    def definitions(self) -> list[dict[str, Any]]:
        """What templates get."""
        return [dict(tool.definition) for tool in self]

    @property
    def schemas(self) -> dict[str, Any]:
        return {tool.name: tool.parameters for tool in self}

    def only(self, names: Sequence[str]) -> ToolSet:
        return ToolSet([tool for tool in self if tool.name in names])


def tool_set(tools: object) -> ToolSet:
    """Raises InvalidRequestError with the path of what is wrong."""
    if tools is None:
        return ToolSet()
    if not isinstance(tools, Sequence) or isinstance(tools, str | bytes):
        raise InvalidRequestError("tools must be a list of functions, dicts or classes", param="tools")
    if len(tools) > _MAX_TOOLS:
        raise InvalidRequestError(f"tools has {len(tools)} entries, at most {_MAX_TOOLS} are allowed", param="tools")
    functions = [None if isinstance(tool, Mapping) else _callable(tool, index) for index, tool in enumerate(tools)]
    # What a class is called for is the caller's to say.
    functions = [None if inspect.isclass(function) else function for function in functions]
    given = [tool if isinstance(tool, Mapping) else _definition(tool, index) for index, tool in enumerate(tools)]
    plain = checked_tools(given) or []
    found = [_tool(tool, index, functions[index]) for index, tool in enumerate(plain)]
    names = [tool.name for tool in found]
    for index, name in enumerate(names):
        if name in names[:index]:
            path = f"tools[{index}].function.name"
            raise InvalidRequestError(f"{path} is the name of an earlier tool too", param=path)
    return ToolSet(found)


def _callable(tool: object, index: int) -> Callable[..., Any]:
    if not callable(tool):
        path = f"tools[{index}]"
        raise InvalidRequestError(f"{path} must be a function, a dict or a class", param=path)
    return tool


def _tool(tool: dict[str, Any], index: int, function: Callable[..., Any] | None) -> Tool:
    path = f"tools[{index}]"
    if tool["type"] != "function":
        raise InvalidRequestError(f"{path}.type must be 'function'", param=f"{path}.type", code="unsupported_tool")
    said = tool.get("function")
    if not isinstance(said, dict):
        raise InvalidRequestError(f"{path}.function must be an object with a name", param=f"{path}.function")
    unknown = set(said) - {"name", "description", "parameters", "strict"}
    if unknown:
        name = min(unknown)
        raise InvalidRequestError(f"{path}.function has an unknown key", param=f"{path}.function.{name}")
    name = said.get("name")
    if not isinstance(name, str) or not _NAME.match(name):
        why = "must be a name of letters, digits, '_', '-' and '.'"
        raise InvalidRequestError(f"{path}.function.name {why}", param=f"{path}.function.name")
    parameters = said.get("parameters", {"type": "object", "properties": {}})
    if not isinstance(parameters, dict) or parameters.get("type", "object") != "object":
        where = f"{path}.function.parameters"
        raise InvalidRequestError(f"{where} must be the schema of an object", param=where)
    if not isinstance(said.get("strict", False), bool):
        raise InvalidRequestError(f"{path}.function.strict must be a bool", param=f"{path}.function.strict")
    strict = bool(said.get("strict", False))
    # Templates read these without asking whether they are there.
    shown = {"name": name, "description": said.get("description", ""), "parameters": parameters}
    return Tool(name, parameters, strict, {"type": "function", "function": shown}, path, function)


def _definition(tool: Any, index: int) -> dict[str, Any]:
    """A function or class in OpenAI's shape."""
    try:
        if inspect.isclass(tool):
            schema = dict(TypedSchema(tool).schema)
            name, text = tool.__name__, schema.pop("description", None) or _first_lines(tool)
            schema = _unwrapped(schema)
        else:
            name = getattr(tool, "__name__", "")
            text, schema = _first_lines(tool), _schema_of(tool)
    except (OxillamaError, TypeError, ValueError, NameError) as error:
        path = f"tools[{index}]"
        raise InvalidRequestError(f"{path} has no schema: {error}", param=path) from error
    return {"type": "function", "function": {"name": name, "description": text, "parameters": schema}}


def _unwrapped(schema: dict[str, Any]) -> dict[str, Any]:
    """The object that a schema names by a reference at its root."""
    reference = schema.get("$ref", "")
    if isinstance(reference, str) and reference.startswith("#/$defs/"):
        definitions = schema.get("$defs", {})
        return {**definitions[reference.removeprefix("#/$defs/")], "$defs": definitions}
    return schema


def _schema_of(function: Callable[..., Any]) -> dict[str, Any]:
    """The schema of a function's parameters, from annotations, defaults and docstring."""
    hints = typing.get_type_hints(function, include_extras=True)
    described = _described(function)
    properties: dict[str, Any] = {}
    required: list[str] = []
    definitions: dict[str, Any] = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if parameter.kind is parameter.POSITIONAL_ONLY:
            raise TypeError(f"the parameter {name} cannot be passed by its name")
        annotation = hints.get(name, Any)
        schema = dict(TypedSchema(annotation).schema)
        definitions |= schema.pop("$defs", {})
        text = next((each for each in _said_with(annotation) if isinstance(each, str)), described.get(name))
        if text:
            schema["description"] = text
        if parameter.default is parameter.empty:
            required.append(name)
        elif parameter.default is None or isinstance(parameter.default, str | int | float):
            schema["default"] = parameter.default
        properties[name] = schema
    made: dict[str, Any] = {
        "type": "object", "properties": properties, "required": required, "additionalProperties": False,
    }  # fmt: skip
    return {**made, "$defs": definitions} if definitions else made


def _said_with(annotation: Any) -> tuple[Any, ...]:
    return typing.get_args(annotation)[1:] if typing.get_origin(annotation) is typing.Annotated else ()


def _first_lines(tool: Any) -> str:
    """The first paragraph of a docstring."""
    text = inspect.getdoc(tool) or ""
    return " ".join(text.partition("\n\n")[0].split())


_PARAMETER = re.compile(r"^\s*(?::param\s+)?(\w+)\s*(?:\([^)]*\))?\s*:\s*(\S.*)$")


def _described(function: Callable[..., Any]) -> dict[str, str]:
    """What a docstring says of parameters, in lines such as `name: what it is` or `:param name: what it is`."""
    found: dict[str, str] = {}
    for line in (inspect.getdoc(function) or "").splitlines():
        said = _PARAMETER.match(line)
        if said and said[1] not in found:
            found[said[1]] = said[2].strip()
    return found
