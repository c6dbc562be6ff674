"""The texts that `embed` and `rerank` read: lines, or JSON lines with a text in each."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

from oxillama.cli.mistakes import wrong_use


def texts_of(words: tuple[str, ...], files: tuple[str, ...], field: str) -> list[str]:
    """The words themselves, else the lines of files, else of standard input; `-` is that too. A line that is a JSON
    object is the text under `field`, one that is a JSON string that string."""
    if words and files:
        raise wrong_use("expected texts or files, found both")
    if words:
        return list(words)
    return [text for name in files or ("-",) for text in _texts(name, field)]


def _texts(name: str, field: str) -> Iterator[str]:
    content = sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8")
    for number, line in enumerate(content.splitlines(), 1):
        if not line.strip():
            continue
        if line.lstrip()[0] not in '{"':
            yield line
            continue
        try:
            found = json.loads(line)
        except ValueError:
            yield line  # a text may begin with a brace
            continue
        text = found.get(field) if isinstance(found, dict) else found
        if not isinstance(text, str):
            place = "standard input" if name == "-" else name
            raise wrong_use(f"line {number} of {place} has no text under {field!r}; --field names another")
        yield text
