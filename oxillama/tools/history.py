"""The calls and results of a conversation, brought into the form that a template expects of them."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

from oxillama.errors import InvalidRequestError
from oxillama.tools.syntax import ReplySyntax
from oxillama.tools.writer import written_call, written_calls

_NINE = re.compile(r"[A-Za-z0-9]{9}\Z")
_LETTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
RESULT_OPEN, RESULT_CLOSE = "<tool_response>\n", "\n</tool_response>"


def call_id(key: str, *, nine: bool = False) -> str:
    """The id of a call, by what makes it unique: the same key always gives the same id."""
    digest = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=12)
    if not nine:
        return f"call_{digest.hexdigest()}"
    number, letters = int.from_bytes(digest.digest()), ""
    for _ in range(9):
        number, rest = divmod(number, len(_LETTERS))
        letters += _LETTERS[rest]
    return letters


def has_calls(messages: list[dict[str, Any]]) -> bool:
    return any(message["role"] == "tool" or "tool_calls" in message for message in messages)


def ids_in(messages: list[dict[str, Any]]) -> frozenset[str]:
    """The ids of the calls that a conversation has already."""
    return frozenset(call["id"] for message in messages for call in message.get("tool_calls", ()) if "id" in call)


def settled(messages: list[dict[str, Any]], *, nine: bool) -> list[dict[str, Any]]:
    """The messages with an id for every call, results in the order of their calls and with the names of the tools.

    Raises InvalidRequestError for a result of a call that was never asked for, by the message's path."""
    done: list[dict[str, Any]] = []
    calls: list[dict[str, Any]] = []  # of the last reply that had any
    results: list[tuple[int, dict[str, Any]]] = []
    for index, message in enumerate(messages):
        if message["role"] == "tool":
            results.append((_place(message, index, calls, results), message))
            continue
        done += _in_order(results, calls)
        results = []
        if "tool_calls" in message:
            message = {
                **message,
                "tool_calls": [_with_id(call, index, i) for i, call in enumerate(message["tool_calls"])],
            }
            calls = message["tool_calls"]
        done.append(message)
    done += _in_order(results, calls)
    return [_renamed(message) for message in done] if nine else done


def _with_id(call: dict[str, Any], message: int, index: int) -> dict[str, Any]:
    return call if "id" in call else {**call, "id": call_id(f"{message}/{index}")}


def _place(
    message: dict[str, Any], index: int, calls: list[dict[str, Any]], results: list[tuple[int, dict[str, Any]]]
) -> int:
    """Which of the calls a result belongs to; one past the last where there are none."""
    said = message.get("tool_call_id")
    taken = {place for place, _ in results}
    if said is None or not calls:
        return next((i for i in range(len(calls)) if i not in taken), len(calls))
    places = [i for i, call in enumerate(calls) if call["id"] == said]
    if not places:
        path = f"messages[{index}].tool_call_id"
        raise InvalidRequestError(f"{path} is the id of no call before it", param=path)
    return next((place for place in places if place not in taken), places[0])


def _in_order(results: list[tuple[int, dict[str, Any]]], calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
    ordered = []
    for place, message in sorted(results, key=lambda one: one[0]):
        if place < len(calls):
            call = calls[place]
            message = {"name": call["function"]["name"], **message, "tool_call_id": call["id"]}
        ordered.append(message)
    return ordered


def _renamed(message: dict[str, Any]) -> dict[str, Any]:
    """A message whose ids are nine alphanumerics."""

    def short(said: str) -> str:
        return said if _NINE.match(said) else call_id(said, nine=True)

    if "tool_calls" in message:
        message = {**message, "tool_calls": [{**call, "id": short(call["id"])} for call in message["tool_calls"]]}
    if "tool_call_id" in message:
        message = {**message, "tool_call_id": short(message["tool_call_id"])}
    return message


# --- templates that know nothing of tools


def with_tools_described(
    messages: list[dict[str, Any]], tools: list[dict[str, Any]] | None, syntax: ReplySyntax, *, takes_system: bool
) -> list[dict[str, Any]]:
    """The messages with the tools told in the system text, or before what the user said first."""
    if not tools:
        return messages
    text = _description(tools, syntax)
    first = messages[0]
    if first["role"] in ("system", "developer") or not takes_system:
        place = next((i for i, one in enumerate(messages) if one["role"] in ("system", "developer", "user")), None)
        if place is not None:
            said = messages[place]
            words = _words(said)
            joined = f"{words}\n\n{text}" if said["role"] != "user" else f"{text}\n\n{words}"
            return [*messages[:place], {**said, "content": joined}, *messages[place + 1 :]]
    return [{"role": "system", "content": text}, *messages]


def with_calls_as_text(
    messages: list[dict[str, Any]], syntax: ReplySyntax, *, keeps_results: bool
) -> list[dict[str, Any]]:
    """The messages with calls written into texts; results too, as the user's, where there is no turn for them."""
    done: list[dict[str, Any]] = []
    answers = False  # the last message has results that are the user's now
    for message in messages:
        if "tool_calls" in message:
            calls = [(call["function"]["name"], call["function"]["arguments"]) for call in message["tool_calls"]]
            said, text = _words(message), written_calls(syntax, calls)
            message = {key: value for key, value in message.items() if key != "tool_calls"}
            message["content"] = f"{said}\n{text}" if said else text
        elif message["role"] == "tool" and not keeps_results:
            text = RESULT_OPEN + _words(message) + RESULT_CLOSE
            message = {"role": "user", "content": text}
            if answers:
                message["content"] = f"{done.pop()['content']}\n{text}"
            done.append(message)
            answers = True
            continue
        elif answers and message["role"] == "user":
            # Templates want the user and the assistant in turn.
            message = {**message, "content": f"{done.pop()['content']}\n\n{_words(message)}"}
        answers = False
        done.append(message)
    return done


def _words(message: dict[str, Any]) -> str:
    content = message["content"]
    return content if isinstance(content, str) else "\n".join(part["text"] for part in content)


def _description(tools: list[dict[str, Any]], syntax: ReplySyntax) -> str:
    lines = "\n".join(json.dumps(tool["function"], ensure_ascii=False) for tool in tools)
    example = written_call(syntax, "NAME", {"PARAMETER": "VALUE"})
    example = syntax.section_open + example + syntax.section_close
    return (
        f"You can call these functions, each described by a JSON object:\n{lines}\n\n"
        f"Where one of them helps, write a call of this form, with its arguments, and end your turn:\n{example}\n"
        "The result comes with the next message. Where none helps, answer in words."
    )
