"""The input of the Responses API as messages of a conversation. Checks the items, not the messages themselves."""

from __future__ import annotations

from typing import Any

from oxillama.asgi.errors import HTTPError, refusal
from oxillama.asgi.settings import Limits
from oxillama.errors import InvalidRequestError

_CALL_KEYS = frozenset({"type", "id", "call_id", "name", "arguments", "status", "cache_control"})
_RESULT_KEYS = frozenset({"type", "id", "call_id", "output", "status", "cache_control"})
_ROLES = ("user", "assistant", "system", "developer")
_MESSAGE_KEYS = frozenset({"type", "role", "content", "id", "status", "phase", "cache_control"})
_REASONING_KEYS = frozenset({"type", "id", "status", "summary", "content", "encrypted_content", "cache_control"})


class InputMessages:
    """The messages of a request, and for each where the client wrote it."""

    def __init__(self, given: str | list[dict[str, Any]], instructions: str | None, limits: Limits) -> None:
        self.messages: list[dict[str, Any]] = []
        self._places: list[str] = []
        self._reasoning: str | None = None
        if instructions:
            self._add("instructions", {"role": "system", "content": instructions})
        if isinstance(given, str):
            self._add("input", {"role": "user", "content": given})
            return
        if not given:
            raise refusal("input is empty, expected at least one item", "input")
        if len(given) > limits.max_messages:
            raise refusal(f"input has {len(given)} items, at most {limits.max_messages} are allowed", "input")
        for index, item in enumerate(given):
            self._add_item(f"input[{index}]", item)
        if self._reasoning is not None:
            # An answer that was cut off while thinking.
            self._add(f"input[{len(given) - 1}]", {"role": "assistant", "content": "", **self._thought()})

    def relocated(self, error: InvalidRequestError) -> InvalidRequestError:
        """An error about a message, as one about the client's item."""
        prefix, bracket, rest = (error.param or "").partition("]")
        if bracket and prefix.startswith("messages["):
            index = prefix.removeprefix("messages[")
            if index.isdecimal() and int(index) < len(self._places):
                place = self._places[int(index)]
                rest = rest.replace(".tool_call_id", ".call_id")
                is_bare = place in ("input", "instructions")
                moved = type(error)(str(error).replace(f"{prefix}]", place), param=place if is_bare else place + rest)
                moved.code = error.code
                return moved
        if error.param and error.param.startswith("tools["):
            error.param = error.param.replace(".function", "", 1)
        if error.param == "messages":
            error.param = "input"
        return error

    def _add(self, place: str, message: dict[str, Any]) -> None:
        self.messages.append(message)
        self._places.append(place)

    def _add_item(self, place: str, item: dict[str, Any]) -> None:
        item = {key: value for key, value in item.items() if value is not None}
        match item.get("type", "message"):
            case "message":
                _check_keys(place, item, _MESSAGE_KEYS)
                role = item.get("role")
                if role not in _ROLES:
                    raise refusal(f"{place}.role must be one of {', '.join(_ROLES)}", f"{place}.role")
                if "content" not in item:
                    raise refusal(f"{place}.content is missing", f"{place}.content", code="missing_field")
                message = {"role": role, "content": item["content"]}
                if role == "assistant":
                    message.update(self._thought())
                self._add(place, message)
            case "reasoning":
                _check_keys(place, item, _REASONING_KEYS)
                self._reasoning = (self._reasoning or "") + _reasoning_text(place, item)
            case "function_call":
                self._add_call(place, item)
            case "function_call_output":
                _check_keys(place, item, _RESULT_KEYS)
                for key in ("call_id", "output"):
                    if key not in item:
                        raise refusal(f"{place}.{key} is missing", f"{place}.{key}", code="missing_field")
                self._add(place, {"role": "tool", "tool_call_id": item["call_id"], "content": item["output"]})
            case "item_reference":
                wrong = f"{place} names an item that was kept, and nothing is: send the item itself"
                raise refusal(wrong, f"{place}.type", code="unsupported_item")
            case _:
                wrong = f"{place}.type must be message, reasoning, function_call or function_call_output"
                raise refusal(wrong, f"{place}.type", code="unsupported_item")

    def _add_call(self, place: str, item: dict[str, Any]) -> None:
        """A call belongs to the assistant's turn before it, if there is one."""
        _check_keys(place, item, _CALL_KEYS)
        for key in ("call_id", "name", "arguments"):
            if not isinstance(item.get(key), str):
                raise refusal(f"{place}.{key} must be a text", f"{place}.{key}")
        function = {"name": item["name"], "arguments": item["arguments"]}
        call = {"id": item["call_id"], "type": "function", "function": function}
        last = self.messages[-1] if self.messages else None
        if last is not None and last["role"] == "assistant" and self._reasoning is None:
            last.setdefault("tool_calls", []).append(call)
        else:
            self._add(place, {"role": "assistant", "content": None, "tool_calls": [call], **self._thought()})

    def _thought(self) -> dict[str, Any]:
        thought, self._reasoning = self._reasoning, None
        return {} if thought is None else {"reasoning_content": thought}


def _reasoning_text(place: str, item: dict[str, Any]) -> str:
    """What was thought: the text itself, or, where the client kept only that, its summary."""
    for key, kind in (("content", "reasoning_text"), ("summary", "summary_text")):
        parts = item.get(key)
        if parts is None or parts == []:
            continue
        if not isinstance(parts, list):
            raise refusal(f"{place}.{key} must be a list of parts", f"{place}.{key}")
        for index, part in enumerate(parts):
            if not isinstance(part, dict) or part.get("type") != kind or not isinstance(part.get("text"), str):
                where = f"{place}.{key}[{index}]"
                raise refusal(f"{where} must be a part of the type {kind} with a text", where)
        return "".join(part["text"] for part in parts)
    return ""


def _check_keys(place: str, item: dict[str, Any], known: frozenset[str]) -> None:
    unknown = next((key for key in item if key not in known), None)
    if unknown is not None:
        raise _unknown(f"{place}.{unknown}")


def _unknown(path: str) -> HTTPError:
    return refusal(f"{path} is not known", path, code="unknown_field")


def nested_tools(tools: list[dict[str, Any]] | None) -> list[dict[str, Any]] | None:
    """Functions as chats have them, with what they are in an object of its own."""
    return tools and [
        {"type": tool["type"], "function": {key: value for key, value in tool.items() if key != "type"}}
        if tool.get("type") == "function" and "function" not in tool
        else tool
        for tool in tools
    ]
