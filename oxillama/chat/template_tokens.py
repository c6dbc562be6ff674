"""The special tokens that a chat template writes itself, or looks for: those that no message may write.

A file may declare the tokens that separate its turns user-defined, like tokens for markup and white space, which are
recognised in ordinary text. What a template does with them tells them apart.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from itertools import product
from typing import Any

from oxillama.chat import render
from oxillama.errors import TemplateError

_WORD = "0"  # what is said in the trials
_TRIED_ROLES = ("system", "developer", "user", "assistant", "tool")


def written_tokens(template: str, texts: Iterable[str], *, bos_token: str = "", eos_token: str = "") -> frozenset[str]:
    """Those of `texts` that stand in a template or in what it makes of some small conversations.

    White space and single ASCII characters are never among them: templates write these as text."""
    written = _writings(template, bos_token, eos_token)
    return frozenset(text for text in texts if _is_markup(text) and text in written)


def _is_markup(text: str) -> bool:
    return bool(text.replace("\u2581", " ").strip()) and (len(text) > 1 or not text.isascii())


@lru_cache(maxsize=32)
def _writings(template: str, bos_token: str, eos_token: str) -> str:
    from oxillama.chat.template_rendering import literals

    try:
        found = dict.fromkeys([*literals(template), bos_token, eos_token])
    except TemplateError:
        return template  # nothing will be rendered with it
    for messages, generate, thinking in product(_trials(), (True, False), (True, False)):
        options: dict[str, Any] = {"tools": _TOOLS if "tool_calls" in messages[-1] else None}
        try:
            text = render(
                template,
                messages,
                add_generation_prompt=generate,
                bos_token=bos_token,
                eos_token=eos_token,
                enable_thinking=thinking,
                **options,
            )
        except TemplateError:
            continue
        found[text] = None
    return "\0".join(found)


def _trials() -> list[list[dict[str, Any]]]:
    """Every role alone and after a user, a whole conversation, and one with a call."""
    user, reply = _said("user"), {**_said("assistant"), "reasoning_content": _WORD}
    call = {"id": "call00000", "type": "function", "function": {"name": _WORD, "arguments": {_WORD: _WORD}}}
    calling = {"role": "assistant", "content": "", "tool_calls": [call]}
    result = {**_said("tool"), "tool_call_id": "call00000", "name": _WORD}
    return [
        *([_said(role)] for role in _TRIED_ROLES),
        *([user, _said(role)] for role in _TRIED_ROLES),
        [_said("system"), user, reply, user],
        [user, calling],
        [user, calling, result],
        [user, calling, result, reply, user],
    ]


def _said(role: str) -> dict[str, Any]:
    return {"role": role, "content": _WORD}


_TOOLS = [
    {
        "type": "function",
        "function": {
            "name": _WORD,
            "description": _WORD,
            "parameters": {"type": "object", "properties": {_WORD: {"type": "string", "description": _WORD}}},
        },
    }
]
