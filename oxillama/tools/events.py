"""What a reply turns out to say, as it is read."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import Literal, NamedTuple, TypeAlias

EventKind: TypeAlias = Literal["reasoning", "content", "call", "arguments", "end"]

_TEXTS = frozenset({"reasoning", "content", "arguments"})


class ReplyEvent(NamedTuple):
    """``text``: of "reasoning" and "content" what is added; of "call" the tool's name; of "arguments" what is added to
    the JSON text of the call's arguments. ``call``: which call. ``call_id``: what the model itself named the call.
    ``ok``: of "end" whether the call was read to its end."""

    kind: EventKind
    text: str = ""
    call: int = 0
    call_id: str | None = None
    ok: bool = True


def joined_events(events: Iterable[ReplyEvent]) -> list[ReplyEvent]:
    """The same with texts of one kind that follow each other put together."""
    found: list[ReplyEvent] = []
    for (kind, call), run in groupby(events, key=lambda event: (event.kind, event.call)):
        if kind in _TEXTS:
            found.append(ReplyEvent(kind, "".join([event.text for event in run]), call))
        else:
            found += run
    return found
