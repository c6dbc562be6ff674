"""Calls made up by Hypothesis, written by a template itself, and read back."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from oxillama.chat import render
from oxillama.chat.template_traits import template_traits
from oxillama.errors import TemplateError
from oxillama.tools.events import ReplyEvent
from oxillama.tools.markers import marker_texts
from oxillama.tools.reader import ReplyReader
from oxillama.tools.syntax import ReplySyntax

ASK = "What is to be done?"
PARAMETERS: dict[str, Any] = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "days": {"type": "integer"},
        "ratio": {"type": "number"},
        "loud": {"type": "boolean"},
        "rows": {"type": "array"},
        "more": {"type": "object"},
    },
    "required": [],
}
TOOLS: list[dict[str, Any]] = [
    {"type": "function", "function": {"name": name, "description": "Does it.", "parameters": PARAMETERS}}
    for name in ("get_weather", "look-up", "f9")
]
SCHEMAS: dict[str, Any] = {tool["function"]["name"]: PARAMETERS for tool in TOOLS}

Call = tuple[str, dict[str, Any]]


def texts(extra: Iterable[str]) -> st.SearchStrategy[str]:
    """Any text, and texts with pieces in them that mean something to a reader."""
    pieces = [
        '"',
        "'",
        "\\",
        "\n",
        " ",
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "<",
        ">",
        "</",
        "\\n",
        "é",
        "😀",
        "\t",
        "true",
        "1",
    ]
    marked = st.lists(st.sampled_from([*pieces, *extra]), max_size=6).map("".join)
    return st.one_of(st.text(max_size=12), marked)


def values(text: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    numbers = st.one_of(st.integers(-(10**9), 10**9), st.floats(allow_nan=False, allow_infinity=False, width=32))
    flat = st.one_of(text, numbers, st.booleans(), st.none())
    return st.recursive(
        flat,
        lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(text, inner, max_size=3)),
        max_leaves=6,
    )


def calls_of(syntax: ReplySyntax) -> st.SearchStrategy[list[Call]]:
    pieces = [word for text in marker_texts(syntax) for word in text.split() if "{" not in word]
    # In braces and between tags the marks that end a text cannot stand in it: nobody could tell them apart.
    if syntax.codec == "braces":
        pieces = [piece for piece in pieces if syntax.quote not in piece]
    text = texts(pieces).filter(lambda said: not syntax.quote or syntax.quote not in said)
    if syntax.codec == "tagged":
        # What ends a value together with what may follow it, in one text.
        end = syntax.argument_close.strip()
        text = text.filter(lambda said: end not in said or "<" not in said.partition(end)[2])
    if syntax.codec == "python":
        # Templates put these between quotes as they are.
        text = text.filter(lambda said: not set(said) & set("'\\\n"))
    value = values(text)
    inner = st.dictionaries(text.filter(lambda key: bool(key.strip()) and ":" not in key), value, max_size=3)
    if syntax.codec == "braces":
        inner = st.dictionaries(st.from_regex(r"[a-z_]{1,8}", fullmatch=True), value, max_size=3)
        value = values(text).map(_plain_keys)
        inner = inner.map(lambda said: {key: _plain_keys(item) for key, item in said.items()})
    arguments = st.fixed_dictionaries(
        {},
        optional={
            "city": text,
            "days": st.integers(-(10**12), 10**12),
            "ratio": st.floats(allow_nan=False, allow_infinity=False),
            "loud": st.booleans(),
            "rows": st.lists(value, max_size=3),
            "more": inner,
        },
    )
    name = st.sampled_from(sorted(SCHEMAS))
    return st.lists(st.tuples(name, arguments), min_size=1, max_size=3 if syntax.parallel else 1)


def _plain_keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {f"k{index}": _plain_keys(item) for index, item in enumerate(value.values())}
    return [_plain_keys(item) for item in value] if isinstance(value, list) else value


def written(template: str, calls: Sequence[Call], *, content: str = "") -> str:
    """The reply with these calls as the template writes it into a history, with what ends the turn."""
    joined = template_traits(template).joins_arguments
    given = [
        {
            "id": f"call{index:05}",
            "type": "function",
            "function": {"name": name, "arguments": json.dumps(arguments) if joined else arguments},
        }
        for index, (name, arguments) in enumerate(calls)
    ]
    asked = {"role": "user", "content": ASK}
    said = {"role": "assistant", "content": content, "tool_calls": given}

    def made(messages: list[dict[str, Any]], **kwargs: Any) -> str:
        try:
            return render(template, messages, tools=TOOLS, bos_token="", eos_token="", **kwargs)
        except TemplateError:
            return render(template, messages, bos_token="", eos_token="", **kwargs)

    text, prompt = made([asked, said], add_generation_prompt=False), made([asked], add_generation_prompt=True)
    common = next((i for i, (one, other) in enumerate(zip(text, prompt, strict=False)) if one != other), len(prompt))
    return text[max(text.rindex(ASK) + len(ASK), text.rfind("\n", 0, common) + 1, text.rfind(">", 0, common) + 1) :]


@dataclass
class Reply:
    reasoning: str = ""
    content: str = ""
    calls: list[tuple[str, str]] = field(default_factory=list)
    whole: list[bool] = field(default_factory=list)

    def parsed(self) -> list[Call]:
        return [(name, json.loads(arguments)) for name, arguments in self.calls]


def joined(events: Iterable[ReplyEvent]) -> Reply:
    reply = Reply()
    for event in events:
        match event.kind:
            case "reasoning":
                reply.reasoning += event.text
            case "content":
                reply.content += event.text
            case "call":
                assert event.call == len(reply.calls)
                reply.calls.append((event.text, ""))
            case "arguments":
                name, arguments = reply.calls[event.call]
                reply.calls[event.call] = (name, arguments + event.text)
            case "end":
                reply.whole.append(event.ok)
    return reply


def read(reader: ReplyReader, pieces: Iterable[str]) -> Reply:
    events = [event for piece in pieces for event in reader.feed(piece)]
    return joined([*events, *reader.finish()])


def cut(text: str, size: int) -> list[str]:
    return [text[start : start + size] for start in range(0, len(text), size)]
