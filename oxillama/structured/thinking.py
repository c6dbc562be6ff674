"""A grammar for a reply whose beginning is thinking: the shape is that of what comes after it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from oxillama.structured.grammar import Grammar
from oxillama.structured.lark import lark_text

# What models put between the two.
_GAP = r"/[ \n]{0,3}/"
# Of Lark that was made here, which has no rule by the names below.
_START = re.compile(r"^start:", re.MULTILINE)


def after_thinking(
    grammar: Grammar, opening: str, closing: str, *, is_open: bool, control_id: Callable[[str], int | None]
) -> Grammar:
    """The grammar of a reply that thinks, and then is as `grammar` says. `is_open`: the prompt has opened it;
    else the reply may do so or not. `control_id`: the id of a tag that is a control token, None for one that is text.
    A grammar that its caller wrote in Lark stays as it is: who writes one writes all of it."""
    if grammar.kind == "lark" and not grammar.is_made:
        return grammar
    if grammar.kind == "lark":
        body = _START.sub("content:", grammar.text, count=1)
    elif grammar.kind == "json_schema":
        body = f"content: %json {grammar.text}"
    else:
        body = f"content: /{grammar.text}/"
    end = control_id(closing)
    thoughts = f"thoughts[lazy]: /(?s:.)*/ {lark_text(closing)}" if end is None else f"thoughts: /(?s:.)*/ <[{end}]>"
    start = "thoughts GAP content"
    if not is_open:
        begin = control_id(opening)
        start = f"content | {lark_text(opening) if begin is None else f'<[{begin}]>'} {start}"
    text = f"start: {start}\n{thoughts}\nGAP: {_GAP}\n{body}\n"
    return replace(grammar, kind="lark", text=text)
