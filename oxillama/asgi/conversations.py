"""Work on the messages of a request: their number, the template's variables, and errors in the client's words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from starlette.requests import Request

from oxillama.asgi.body import on_body
from oxillama.asgi.errors import refusal
from oxillama.asgi.service import Service
from oxillama.errors import InvalidRequestError

T = TypeVar("T")


async def on_conversation(request: Request, messages: Sequence[Mapping[str, Any]], work: Callable[[], T]) -> T:
    """What `work` returns. Raises HTTPError for too many messages, for a tool's that answers no call, and what `work`
    raises."""
    limits = Service.of(request).limits
    if len(messages) > limits.max_messages:
        message = f"messages has {len(messages)} entries, at most {limits.max_messages} are allowed"
        raise refusal(message, "messages")
    for index, each in enumerate(messages):
        if each.get("role") == "tool" and each.get("tool_call_id") is None:
            place = f"messages[{index}].tool_call_id"
            raise refusal(f"{place} is missing: a tool's message answers a call", place, code="missing_field")
    try:
        # How long a template takes is not told by the length of what was said.
        return await on_body(request, work, tells_time=False)
    except InvalidRequestError as error:
        if error.param and error.param.startswith("template_kwargs"):
            error.param = f"chat_{error.param}"
        raise


def template_kwargs(effort: str | None, given: Mapping[str, Any] | None) -> dict[str, Any]:
    """The variables of the template: those that the client gives it go before what is said in OpenAI's words."""
    kwargs: dict[str, Any] = {}
    if effort is not None:
        kwargs["reasoning_effort"] = effort
        if effort == "none":
            kwargs["enable_thinking"] = False
    return {**kwargs, **(given or {})}
