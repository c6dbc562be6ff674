"""Syntaxes by name, and what no template shows: how models write that have another form than their history."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from oxillama.errors import InvalidRequestError
from oxillama.tools.syntax import ReplySyntax

# A name of the table, a record, its fields as `to_dict` gives them, or the path of a JSON file (.json) with these.
GivenSyntax: TypeAlias = str | ReplySyntax | Mapping[str, Any]

SYNTAXES: dict[str, ReplySyntax] = {
    one.name: one
    for one in (
        ReplySyntax(),
        # Also the form in which tools are written into the system text where a template knows none.
        ReplySyntax(
            name="generic", codec="json", head="<tool_call>\n", close="\n</tool_call>", separator="\n", declares=False
        ),
        ReplySyntax(name="hermes", codec="json", head="<tool_call>\n", close="\n</tool_call>", separator="\n"),
        ReplySyntax(
            name="harmony",
            codec="arguments",
            head="<|channel|>commentary to=functions.{name}{skip}<|message|>",
            other_heads=(
                "<|channel|>analysis to=functions.{name}{skip}<|message|>",
                "to=functions.{name}{skip}<|message|>",
            ),
            close="<|call|>",
            parallel=False,
            think_open="<|channel|>analysis<|message|>",
            think_close="<|end|>",
            answer_open=("<|start|>assistant", "<|channel|>final<|message|>", "<|channel|>commentary<|message|>"),
            answer_close=("<|end|>", "<|return|>"),
        ),
        ReplySyntax(
            name="functionary-3.2",
            codec="arguments",
            head=">>>{name}\n",
            text_arguments=True,
            answer_open=(">>>all\n",),
            starts_open=">>>",
        ),
        ReplySyntax(
            name="muse",
            codec="tagged",
            head='to={name}<|message|><atem:function_calls>\n<atem:invoke name="{name}">',
            argument_head='\n<atem:parameter name="{key}">',
            argument_close="</atem:parameter>",
            close="\n</atem:invoke>\n</atem:function_calls>",
            separator="<|eom|><|start|>assistant ",
            think_open="to=self<|message|>",
            think_close="<|eom|><|start|>assistant",
            answer_open=("to=user<|message|>",),
            ends=("<|eom|><|start|>assistant",),
        ),
        ReplySyntax(
            name="kimi-k3",
            codec="tagged",
            section_open="<|open|>tools<|sep|>",
            section_close="<|close|>tools<|sep|>",
            head='<|open|>call tool="{name}" index="{number}"<|sep|>',
            close="<|close|>call<|sep|>",
            argument_head='<|open|>argument key="{key}" type="{kind}"<|sep|>',
            argument_close="<|close|>argument<|sep|>",
            kinds=(
                ("string", "string"),
                ("number", "json"),
                ("boolean", "json"),
                ("null", "json"),
                ("array", "json"),
                ("object", "json"),
            ),
            think_open="<|open|>think<|sep|>",
            think_close="<|close|>think<|sep|>",
            answer_open=("<|open|>response<|sep|>",),
            answer_close=("<|close|>response<|sep|>",),
            ends=("<|close|>message<|sep|>", "<|end_of_msg|>"),
        ),
        ReplySyntax(
            name="llama-3", codec="json", head="", arguments_key="parameters", parallel=False, ends=("<|python_tag|>",)
        ),
        ReplySyntax(
            name="granite-3", codec="json", array=True, section_open="<|tool_call|>[", section_close="]", separator=", "
        ),
        ReplySyntax(
            name="command-r",
            codec="json",
            array=True,
            name_key="tool_name",
            arguments_key="parameters",
            section_open="Action:\n```json\n[",
            section_close="]\n```",
            separator=",\n",
        ),
        ReplySyntax(name="pythonic", codec="python", array=True, section_open="[", section_close="]", separator=", "),
    )
}

# What only one family's templates say.
_SIGNS: tuple[tuple[str, Callable[[str], bool]], ...] = (
    ("harmony", lambda t: "<|channel|>" in t and "to=functions." in t),
    ("functionary-3.2", lambda t: ">>>all" in t and "'>>>'" in t),
    ("muse", lambda t: "<atem:" in t or ("atem" in t and "to=self" in t)),
    ("kimi-k3", lambda t: "<|open|>" in t and "<|sep|>" in t and "argument" in t),
    ("granite-3", lambda t: "<|tool_call|>" in t and "granite" in t.lower() and "tool_calls" not in t),
    ("command-r", lambda t: "Action:" in t and "tool_name" in t and "<|START_ACTION|>" not in t),
    ("hermes", lambda t: "xml_tools" in t),
)


def known_syntax(template: str) -> ReplySyntax | None:
    """The syntax of a family that cannot be probed, by signs in its template."""
    return next((SYNTAXES[name] for name, has in _SIGNS if has(template)), None)


def _record(path: str) -> Mapping[str, Any]:
    try:
        with open(path, encoding="utf-8") as file:
            said = json.load(file)
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidRequestError(f"tool_syntax cannot be read from {path}: {error}", param="tool_syntax") from None
    if not isinstance(said, dict):
        raise InvalidRequestError(f"{path} holds no object with the fields of a ReplySyntax", param="tool_syntax")
    return said


def given_syntax(given: GivenSyntax | None) -> ReplySyntax | None:
    """The syntax that a caller names or describes. Raises InvalidRequestError for one that is none."""
    if given is None or isinstance(given, ReplySyntax):
        return given
    if isinstance(given, Mapping):
        return ReplySyntax.from_dict(given)
    if isinstance(given, str) and given.endswith(".json"):
        return ReplySyntax.from_dict(_record(given))
    if not isinstance(given, str) or given not in SYNTAXES:
        known = ", ".join(sorted(SYNTAXES))
        raise InvalidRequestError(
            f"tool_syntax must be a ReplySyntax, its fields, a .json file of them, or one of {known}",
            param="tool_syntax",
        )
    return SYNTAXES[given]
