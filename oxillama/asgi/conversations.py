"""Work on the messages of a request: their number, time beside the event loop, and errors in the client's words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from oxillama.asgi.errors import refusal
from oxillama.asgi.prompts import beside
from oxillama.asgi.settings import Limits
from oxillama.errors import InvalidRequestError
from oxillama.messages import strings

T = TypeVar("T")


async def on_conversation(messages: Sequence[Mapping[str, Any]], limits: Limits, work: Callable[[], T]) -> T:
    """What `work` returns. Raises HTTPError for too many messages, and what `work` raises."""
    if len(messages) > limits.max_messages:
        message = f"messages has {len(messages)} entries, at most {limits.max_messages} are allowed"
        raise refusal(message, "messages")
    try:
        return await beside(work, sum(map(len, strings(list(messages)))))
    except InvalidRequestError as error:
        if error.param and error.param.startswith("template_kwargs"):
            error.param = f"chat_{error.param}"
        raise
