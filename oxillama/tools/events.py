"""What a reply turns out to say, as it is read."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

EventKind: TypeAlias = Literal["reasoning", "content", "call", "arguments", "end"]


class ReplyEvent(NamedTuple):
    """``text``: of "reasoning" and "content" what is added; of "call" the tool's name; of "arguments" what is added to
    the JSON text of the call's arguments. ``call``: which call. ``call_id``: what the model itself named the call.
    ``ok``: of "end" whether the call was read to its end."""

    kind: EventKind
    text: str = ""
    call: int = 0
    call_id: str | None = None
    ok: bool = True
