"""A grammar for a reply whose beginning is thinking: the shape is that of what comes after it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from oxillama.structured.grammar import Grammar
from oxillama.structured.lark import lark_text

# What models put between the two.
_GAP = r"/[ \n]{0,3}/"


def after_thinking(
    grammar: Grammar, opening: str, closing: str, *, is_open: bool, is_control: Callable[[str], bool]
) -> Grammar:
    """The grammar of a reply that thinks, and then is as `grammar` says. `is_open`: the prompt has opened it;
    else the reply may do so or not. `is_control`: whether a tag is a control token, not text. A grammar in Lark stays
    as it is: who writes one writes all of it."""
    if grammar.kind == "lark":
        return grammar
    body = f"%json {grammar.text}" if grammar.kind == "json_schema" else f"/{_slashed(grammar.text)}/"
    if is_control(closing):
        thoughts = f"thoughts: /(?s:.)*/ {closing}"
    else:
        thoughts = f"thoughts[lazy]: /(?s:.)*/ {lark_text(closing)}"
    start = "thoughts GAP content"
    if not is_open:
        start = f"content | {opening if is_control(opening) else lark_text(opening)} {start}"
    text = f"start: {start}\n{thoughts}\nGAP: {_GAP}\ncontent: {body}\n"
    return replace(grammar, kind="lark", text=text)


def _slashed(pattern: str) -> str:
    return pattern.replace("/", r"\/")
