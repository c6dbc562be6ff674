"""A griffe extension: docstrings as they are written here, for a page of Markdown.

Lines of the form `name: what it is` that follow each other are a list to whoever reads the code; Markdown needs that
said."""

from __future__ import annotations

import re
from typing import Any

import griffe

# The first word of a line, and what may follow it on lines of its own.
ENTRY = re.compile(r"^(?P<name>[a-z_]\w*): (?P<rest>\S.*)$")
# What reStructuredText puts before a drawing.
COLONS = re.compile(r"^::\n|(?<=:):(?=\n)", re.MULTILINE)


def as_markdown(text: str) -> str:
    lines = COLONS.sub("", text).splitlines()
    entries = [bool(ENTRY.match(line)) for line in lines]
    done: list[str] = []
    for number, line in enumerate(lines):
        near = entries[max(0, number - 1) : number + 2]
        if not entries[number] or sum(near) < 2:
            done.append(line)
            continue
        if number and not entries[number - 1] and done[-1].strip():
            done.append("")
        done.append(ENTRY.sub(r"- `\g<name>`: \g<rest>", line))
    return "\n".join(done)


class Docstrings(griffe.Extension):
    """Rewrites every docstring that griffe reads."""

    def on_instance(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = as_markdown(obj.docstring.value)
