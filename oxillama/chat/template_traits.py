"""What a chat template expects of the messages it is given, found out by rendering small conversations with it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from oxillama.chat import render
from oxillama.errors import TemplateError

_USER = {"role": "user", "content": "first_word"}


@dataclass(frozen=True)
class TemplateTraits:
    """``takes_parts``: content may be a list of text parts; ``takes_text``: it may be a str.

    ``joins_arguments``: arguments of a tool call must be JSON text, not a mapping."""

    takes_text: bool
    takes_parts: bool
    joins_arguments: bool
    knows_developer: bool


@lru_cache(maxsize=32)
def template_traits(template: str) -> TemplateTraits:
    parts = [{"type": "text", "text": "first_word"}, {"type": "text", "text": "second_word"}]
    as_parts = _tried(template, [{"role": "user", "content": parts}])
    takes_parts = "first_word" in as_parts and "second_word" in as_parts and "'type'" not in as_parts
    return TemplateTraits(
        takes_text=not takes_parts or "first_word" in _tried(template, [_USER]),
        takes_parts=takes_parts and '"type"' not in as_parts,
        joins_arguments=not _tried(template, _called({"key": "value"})) and bool(_tried(template, _called("{}"))),
        knows_developer="developer" in template,
    )


@lru_cache(maxsize=32)
def takes_system(template: str) -> bool:
    """Whether what the system says is told to the model."""
    return "second_word" in _tried(template, [{"role": "system", "content": "second_word"}, _USER])


@lru_cache(maxsize=32)
def deafness(template: str) -> str | None:
    """What keeps a template from telling the model anything of a conversation, or None.

    One that cannot be rendered fails where it is used, with the reason."""
    from oxillama.chat.template_rendering import mentions

    try:
        if not mentions(template, "messages"):
            return "never mentions the messages"
    except TemplateError:
        return None
    system, reply = {"role": "system", "content": "0"}, {"role": "assistant", "content": "0"}
    parts: dict[str, Any] = {"role": "user", "content": [{"type": "text", "text": "first_word"}]}
    failures = 0
    trials: list[list[dict[str, Any]]] = [[said] for said in (_USER, parts)]
    trials += [[system, said] for said in (_USER, parts)] + [[said, reply, said] for said in (_USER, parts)]
    for messages in trials:
        try:
            if "first_word" in render(template, messages):
                return None
        except TemplateError:
            failures += 1
    return None if failures == len(trials) else "leaves out what the messages say"


def _called(arguments: Any) -> list[dict[str, Any]]:
    call = {"id": "call00000", "type": "function", "function": {"name": "lookup", "arguments": arguments}}
    return [_USER, {"role": "assistant", "content": "", "tool_calls": [call]}]


def _tried(template: str, messages: list[dict[str, Any]]) -> str:
    try:
        return render(template, messages, add_generation_prompt=False)
    except TemplateError:
        return ""
