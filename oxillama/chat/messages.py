"""The messages of a conversation as a caller gives them, checked by path and brought into one shape for templates."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, TypeAlias, TypedDict

from oxillama.errors import InvalidRequestError
from oxillama.results.chat import ChatMessage


class TextPart(TypedDict):
    """A part of a content that is a list."""

    type: Literal["text", "input_text", "output_text"]
    text: str


class _Named(TypedDict, total=False):
    name: str


class SystemMessage(_Named):
    """What the model is told about its task."""

    role: Literal["system", "developer"]
    content: str | Sequence[TextPart]


class UserMessage(_Named):
    """What somebody asks."""

    role: Literal["user"]
    content: str | Sequence[TextPart]


class FunctionCall(TypedDict):
    """arguments: JSON, as a text or as what it means."""

    name: str
    arguments: str | Mapping[str, Any]


class _ToolCallNotes(TypedDict, total=False):
    id: str
    index: int


class ToolCall(_ToolCallNotes):
    """A call of a tool that the assistant asked for."""

    type: Literal["function"]
    function: FunctionCall


class _AssistantNotes(_Named, total=False):
    content: str | Sequence[TextPart] | None
    refusal: str | None
    reasoning_content: str | None
    reasoning: str | None
    tool_calls: Sequence[ToolCall] | None


class AssistantMessage(_AssistantNotes):
    """An earlier reply; `ChatMessage`, as calls return it, may stand for it."""

    role: Literal["assistant"]


class _ToolNotes(_Named, total=False):
    tool_call_id: str


class ToolMessage(_ToolNotes):
    """What a tool answered."""

    role: Literal["tool"]
    content: str | Sequence[TextPart]


Message: TypeAlias = SystemMessage | UserMessage | AssistantMessage | ToolMessage | ChatMessage
# What calls take: also what came from elsewhere, as JSON say, and is checked by its path at run time.
AnyMessage: TypeAlias = Message | Mapping[str, Any]

ROLES = ("system", "developer", "user", "assistant", "tool")
# Keys that only say something of a reply that was not made here; they must be empty.
_EMPTY_KEYS = frozenset({"audio", "function_call", "images"})
# What client libraries and other services write beside a text: marks for a cache, and notes on how a reply came. Models
# are told nothing of it.
_NOTES = frozenset({"cache_control", "id", "provider_specific_fields"})
_REPLY_NOTES = _NOTES | {
    "annotations", "extra_content", "parsed", "phase", "reasoning_details", "reasoning_items", "thinking_blocks",
}  # fmt: skip
_PART_NOTES = _NOTES | {"annotations", "index", "logprobs", "parsed", "phase", "prompt_cache_breakpoint"}
_CALL_NOTES = _NOTES | {"extra_content", "index", "parsed_arguments"}
_PLAIN_KEYS = frozenset({"role", "content", "name"}) | _NOTES
_KEYS = {
    "system": _PLAIN_KEYS,
    "developer": _PLAIN_KEYS,
    "user": _PLAIN_KEYS,
    "assistant": _PLAIN_KEYS | {"refusal", "reasoning_content", "reasoning", "tool_calls"} | _EMPTY_KEYS | _REPLY_NOTES,
    "tool": _PLAIN_KEYS | {"tool_call_id"},
}
# Part type -> the key that has its text.
_TEXT_PARTS = {"text": "text", "input_text": "text", "output_text": "text", "refusal": "refusal"}
MAX_DEPTH = 64


def checked_messages(messages: Iterable[AnyMessage]) -> list[dict[str, Any]]:
    """The messages as dicts of the caller's own texts: `role`, `content` (a str or a list of text parts) and what else
    the message has. A content of None becomes "", and arguments of tool calls become mappings where they are JSON
    objects. A key whose value is None is as if it were not there, and so are the notes that client libraries keep
    beside a reply (`parsed`, `annotations`, `cache_control`, ...). `reasoning` is another name of `reasoning_content`.
    A tool message may leave its `tool_call_id` out, unlike over HTTP: few templates need it.

    Raises InvalidRequestError with the path of what is wrong, like `messages[2].content[0].type`."""
    if isinstance(messages, str | bytes | Mapping | ChatMessage) or not isinstance(messages, Iterable):
        raise _wrong("messages", "a list of messages", messages)
    checked = [_message(message, f"messages[{index}]") for index, message in enumerate(messages)]
    if not checked:
        raise InvalidRequestError("messages is empty, expected at least one message", param="messages")
    return checked


def checked_tools(tools: object) -> list[dict[str, Any]] | None:
    """Tool definitions as plain data; None for none."""
    if tools is None:
        return None
    if not isinstance(tools, Sequence) or isinstance(tools, str | bytes):
        raise _wrong("tools", "a list of tools", tools)
    plain = [_plain(tool, f"tools[{index}]", 0) for index, tool in enumerate(tools)]
    for index, tool in enumerate(plain):
        if not isinstance(tool, dict) or not isinstance(tool.get("type"), str):
            raise _wrong(f"tools[{index}]", "an object with a `type`", tools[index])
    return [_definition(tool) for tool in plain] or None


def _definition(tool: dict[str, Any]) -> dict[str, Any]:
    """What a tool's definition says. In the schema of its parameters a None may be a value."""
    said = _given(tool)
    if isinstance(said.get("function"), dict):
        said["function"] = _given(said["function"])
    said.pop("cache_control", None)
    return said


def checked_kwargs(template_kwargs: object, reserved: frozenset[str]) -> dict[str, Any]:
    """Variables for the template as plain data."""
    if template_kwargs is None:
        return {}
    if not isinstance(template_kwargs, Mapping):
        raise _wrong("template_kwargs", "a mapping of names to values", template_kwargs)
    taken = reserved & template_kwargs.keys()
    if taken:
        name = min(taken)
        raise InvalidRequestError(f"template_kwargs cannot set {name!r}", param=f"template_kwargs.{name}")
    plain: dict[str, Any] = _plain(template_kwargs, "template_kwargs", 0)
    return plain


def strings(value: object) -> Iterator[str]:
    """Every string inside plain data, keys too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from strings(item)


def _message(message: AnyMessage, path: str) -> dict[str, Any]:
    given: Mapping[str, Any]
    if isinstance(message, ChatMessage):
        given = message.to_dict()
    elif isinstance(message, Mapping):
        given = _given(message)
    else:
        raise _wrong(path, "an object with `role` and `content`", message)
    role = given.get("role")
    if not isinstance(role, str) or role not in ROLES:
        found = "no such key" if "role" not in given else _shown(role)
        raise InvalidRequestError(f"{path}.role must be one of {', '.join(ROLES)}, found {found}", param=f"{path}.role")
    for key, value in given.items():
        if key not in _KEYS[role] and value != [] and value != {}:
            name = key if isinstance(key, str) and key.isidentifier() else "..."
            raise InvalidRequestError(f"{path} has a key that no {role} message has", param=f"{path}.{name}")
        if key in _EMPTY_KEYS and value:
            raise InvalidRequestError(f"{path}.{key} is not supported, expected None", param=f"{path}.{key}")
    checked: dict[str, Any] = {"role": role, "content": _content(given, path)}
    for key in ("name", "reasoning_content", "tool_call_id"):
        if key in given:
            checked[key] = _text(given[key], f"{path}.{key}")
    if "reasoning" in given:
        thought = _text(given["reasoning"], f"{path}.reasoning")
        if checked.setdefault("reasoning_content", thought) != thought:
            why = f"{path}.reasoning and reasoning_content mean the same, but differ"
            raise InvalidRequestError(why, param=f"{path}.reasoning")
    if given.get("tool_calls"):
        checked["tool_calls"] = _tool_calls(given["tool_calls"], f"{path}.tool_calls")
    return checked


def _content(message: Mapping[str, Any], path: str) -> str | list[dict[str, Any]]:
    content = message.get("content")
    if content is None:
        if message["role"] == "assistant":
            refusal = message.get("refusal")
            if refusal is not None:
                return _text(refusal, f"{path}.refusal")
            if message.get("tool_calls") or "reasoning_content" in message or "reasoning" in message:
                return ""
        raise InvalidRequestError(f"{path}.content is missing", param=f"{path}.content")
    if isinstance(content, str):
        return _text(content, f"{path}.content")
    if not isinstance(content, Sequence) or isinstance(content, bytes | bytearray):
        raise _wrong(f"{path}.content", "a str, a list of parts or None", content)
    return [_part(part, f"{path}.content[{index}]") for index, part in enumerate(content)]


def _part(part: object, path: str) -> dict[str, Any]:
    if not isinstance(part, Mapping):
        raise _wrong(path, "an object with `type`", part)
    part = _given(part)
    kind = part.get("type")
    if not isinstance(kind, str) or kind not in _TEXT_PARTS:
        known = ", ".join(_TEXT_PARTS)
        # Names of types are the API's words, but only a short word is surely one.
        found = repr(kind) if isinstance(kind, str) and kind.isidentifier() and len(kind) < 32 else _shown(kind)
        raise InvalidRequestError(f"{path}.type must be one of {known}, found {found}", param=f"{path}.type")
    key = _TEXT_PARTS[kind]
    for name in part:
        if name not in (key, "type") and name not in _PART_NOTES:
            shown = name if isinstance(name, str) and name.isidentifier() else "..."
            raise InvalidRequestError(f"{path} has a key that no {kind} part has", param=f"{path}.{shown}")
    if key not in part:
        raise InvalidRequestError(f"{path}.{key} is missing", param=f"{path}.{key}")
    return {"type": "text", "text": _text(part[key], f"{path}.{key}")}


def _tool_calls(calls: object, path: str) -> list[dict[str, Any]]:
    if not isinstance(calls, Sequence) or isinstance(calls, str | bytes):
        raise _wrong(path, "a list of tool calls", calls)
    return [_tool_call(call, f"{path}[{index}]") for index, call in enumerate(calls)]


def _tool_call(call: object, path: str) -> dict[str, Any]:
    if not isinstance(call, Mapping):
        raise _wrong(path, "an object with `id`, `type` and `function`", call)
    call = _given(call)
    unknown = [key for key in call if key not in ("type", "function") and key not in _CALL_NOTES]
    if unknown:
        name = unknown[0] if isinstance(unknown[0], str) and unknown[0].isidentifier() else "..."
        raise InvalidRequestError(f"{path} has a key that no tool call has", param=f"{path}.{name}")
    if call.get("type", "function") != "function":
        raise _wrong(f"{path}.type", "'function'", call["type"])
    function = call.get("function")
    if not isinstance(function, Mapping) or not _given(function).keys() <= {"name", "arguments"} | _CALL_NOTES:
        raise _wrong(f"{path}.function", "an object with `name` and `arguments`", function)
    checked: dict[str, Any] = {"type": "function"}
    if "id" in call:
        checked["id"] = _text(call["id"], f"{path}.id")
    checked["function"] = {
        "name": _text(function.get("name"), f"{path}.function.name"),
        "arguments": _arguments(function.get("arguments"), f"{path}.function.arguments"),
    }
    return checked


def _arguments(arguments: object, path: str) -> Any:
    if arguments is None:
        return {}
    if isinstance(arguments, Mapping):
        return _plain(arguments, path, 0)
    text = _text(arguments, path)
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return _plain(parsed, path, 0) if isinstance(parsed, dict) else text


def _given(members: Mapping[str, Any]) -> dict[str, Any]:
    """An object without what is None: to say so is to leave it out."""
    return {key: value for key, value in members.items() if value is not None}


def _plain(value: object, path: str, depth: int) -> Any:
    """A copy made of dict, list, str, numbers, bool and None only: templates see nothing of the caller's own types."""
    if depth > MAX_DEPTH:
        raise InvalidRequestError(f"{path} is nested deeper than {MAX_DEPTH} levels", param=path)
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return _text(value, path)
    if isinstance(value, Mapping):
        return {_text(key, path): _plain(item, path, depth + 1) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return [_plain(item, path, depth + 1) for item in value]
    raise _wrong(path, "plain JSON data", value)


def _text(value: object, path: str) -> str:
    if not isinstance(value, str):
        raise _wrong(path, "a str", value)
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InvalidRequestError(
            f"{path} must be valid Unicode, found a lone surrogate at index {error.start}", param=path
        ) from None
    return str(value)


def _shown(value: object) -> str:
    return "None" if value is None else f"a value of type {type(value).__name__}"


def _wrong(path: str, expected: str, found: object) -> InvalidRequestError:
    return InvalidRequestError(f"{path} must be {expected}, found {_shown(found)}", param=path)
