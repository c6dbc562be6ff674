"""What notebooks show of results: HTML in which every text is escaped, and no script."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable

from oxillama.results.completion import Logprobs, TokenLogprob

# Control characters and ends of lines, as a reader can see them.
_SEEN = {"\n": "\u23ce\n", "\t": "\u21e5", "\r": "\u240d"}


def token_strip(logprobs: Logprobs) -> str:
    """A span for each token: the likelier the model found it, the greener; probability and alternatives as its title.
    Where only some bytes of a character are in a token, they stand as U+FFFD."""
    spans = "".join(_span(entry) for entry in logprobs.content)
    return f'<div style="white-space: pre-wrap; font-family: monospace; line-height: 1.6">{spans}</div>'


def _span(entry: TokenLogprob) -> str:
    if math.isnan(entry.logprob):  # nothing predicted it
        return f"<span>{html.escape(_visible(entry.text))}</span>"
    probability = math.exp(entry.logprob)
    # From red over yellow to green, pale enough for dark text; the text's colour is set for dark themes.
    style = f"background: hsl({120 * probability:.0f}, 80%, 82%); color: #111"
    others = [f"{_visible(other.text)!r} {math.exp(other.logprob):.2%}" for other in entry.top]
    title = "\n".join([f"{probability:.2%}, token {entry.token_id}", *others])
    return f'<span style="{style}" title="{html.escape(title, quote=True)}">{html.escape(_visible(entry.text))}</span>'


def _visible(text: str) -> str:
    return "".join(
        _SEEN.get(letter, letter) if letter.isprintable() or letter in _SEEN else "\ufffd" for letter in text
    )


def note(text: str) -> str:
    return f"<div><em>[{html.escape(text)}]</em></div>"


def table(rows: Iterable[tuple[str, str]]) -> str:
    """Two columns: a name and a value."""
    lines = "".join(
        f'<tr><th style="text-align: left">{html.escape(name)}</th>'
        f'<td style="text-align: right">{html.escape(value)}</td></tr>'
        for name, value in rows
    )
    return f"<table>{lines}</table>"
