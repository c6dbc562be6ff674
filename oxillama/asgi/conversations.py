"""Work on the messages of a request: their number, time beside the event loop, and errors in the client's words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from oxillama.asgi.errors import refusal
from oxillama.asgi.prompts import INLINE_CHARACTERS, beside
from oxillama.asgi.settings import Limits
from oxillama.errors import InvalidRequestError

T = TypeVar("T")


async def on_conversation(
    messages: Sequence[Mapping[str, Any]], limits: Limits, work: Callable[[], T], *, beside_it: object = None
) -> T:
    """What `work` returns. Raises HTTPError for too many messages, and what `work` raises. beside_it: what else the
    template is given."""
    if len(messages) > limits.max_messages:
        message = f"messages has {len(messages)} entries, at most {limits.max_messages} are allowed"
        raise refusal(message, "messages")
    try:
        return await beside(work, _size([*messages, beside_it]))
    except InvalidRequestError as error:
        if error.param and error.param.startswith("template_kwargs"):
            error.param = f"chat_{error.param}"
        raise


def _size(value: object) -> int:
    """Characters of plain data, and one more for each value; no more than it takes to know that it is long."""
    size = 0
    rest = [value]
    while rest and size <= INLINE_CHARACTERS:
        size += 1
        match rest.pop():
            case str(text):
                size += len(text)
            case dict(entries):
                rest += entries.keys()
                rest += entries.values()
            case list(items):
                rest += items
    return size
