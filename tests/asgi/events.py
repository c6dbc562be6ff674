"""Reading a stream of server-sent events as a client does."""

from __future__ import annotations

import json
from typing import Any


def parse(body: str) -> list[Any]:
    """The data of each event, `[DONE]` as it is; fails unless every block is one `data:` line or a comment."""
    assert body.endswith("\n\n")
    found = []
    for block in body[:-2].split("\n\n"):
        lines = block.split("\n")
        if lines == [": keep-alive"]:
            continue
        assert len(lines) == 1, block
        assert block.startswith("data: ")
        data = block.removeprefix("data: ")
        found.append(data if data == "[DONE]" else json.loads(data))
    return found


def complete(body: str) -> list[dict[str, Any]]:
    """The events of a stream that ended well, without its `[DONE]`."""
    *events, last = parse(body)
    assert last == "[DONE]"
    assert "[DONE]" not in events
    return events


def texts_by_choice(events: list[dict[str, Any]]) -> dict[int, str]:
    """The texts of completion chunks, joined per choice."""
    texts: dict[int, str] = {}
    for event in events:
        for choice in event["choices"]:
            texts[choice["index"]] = texts.get(choice["index"], "") + choice["text"]
    return texts
