"""The reply of the Responses API as it grows: its object, and the events that tell of each step. Not how it is sent.

Both the streamed and the whole reply are made here: the whole one is the last event's object."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from typing import Any, Literal, TypeAlias

from oxillama.results.chat import ChatCompletionChunk, ToolCallDelta
from oxillama.results.completion import Logprobs, Usage

Event: TypeAlias = dict[str, Any]
PartKind = Literal["reasoning_text", "output_text"]
ItemKind = Literal["reasoning_text", "output_text", "function_call"]
_PREFIXES = {"reasoning_text": "rs", "output_text": "msg", "function_call": "fc"}


class ResponseBuilder:
    """One response. ``echo``: the fields of the request that a response repeats."""

    def __init__(self, *, response_id: str, model: str, echo: dict[str, Any], wants_logprobs: bool = False) -> None:
        self._id = response_id
        self._model = model
        self._echo = echo
        self._wants_logprobs = wants_logprobs
        self._created = int(time.time())
        self._num_events = 0
        self._done_items: list[dict[str, Any]] = []
        self._item: _Item | None = None
        self._finish_reason: str | None = None
        self._usage: Usage | None = None

    def begin(self) -> Iterator[Event]:
        yield self._event("response.created", response=self.response("in_progress"))
        yield self._event("response.in_progress", response=self.response("in_progress"))

    def push(self, chunk: ChatCompletionChunk) -> Iterator[Event]:
        """The events of one piece of the reply."""
        if chunk.delta.reasoning_content:
            yield from self._extend("reasoning_text", chunk.delta.reasoning_content, None)
        if chunk.delta.content:
            yield from self._extend("output_text", chunk.delta.content, chunk.logprobs)
        for call in chunk.delta.tool_calls:
            yield from self._call(call)
        if chunk.finish_reason is not None:
            self._finish_reason = chunk.finish_reason
        if chunk.usage is not None:
            self._usage = chunk.usage

    def finish(self) -> Iterator[Event]:
        """The events after the last piece."""
        if self._item is None and not self._done_items:
            yield from self._open("output_text")  # an answer of no words is one all the same
        yield from self._close()
        status = self.final_status
        yield self._event(f"response.{status}", response=self.response(status))

    def error(self, error: dict[str, Any]) -> Event:
        """The event of a failure. ``error``: the members of the one error shape, where other clients look for them."""
        shown = {name: error.get(name) for name in ("code", "message", "param")}
        return self._event("error", **shown, error=error)

    @property
    def final_status(self) -> Literal["completed", "incomplete"]:
        return "incomplete" if self._finish_reason == "length" else "completed"

    def response(self, status: str) -> dict[str, Any]:
        is_over = status in ("completed", "incomplete")
        return {
            "id": self._id,
            "object": "response",
            "created_at": self._created,
            "completed_at": int(time.time()) if status == "completed" else None,
            "status": status,
            "background": False,
            "error": None,
            "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
            "model": self._model,
            "output": list(self._done_items) if is_over else [],
            "previous_response_id": None,
            "store": False,
            "usage": _usage(self._usage) if is_over and self._usage is not None else None,
            **self._echo,
        }

    # --- items: reasoning, then the message

    def _extend(self, kind: PartKind, text: str, logprobs: Logprobs | None) -> Iterator[Event]:
        if self._item is None or self._item.kind != kind:
            yield from self._close()
            yield from self._open(kind)
        item = self._item
        assert item is not None
        item.texts.append(text)
        extra: dict[str, Any] = {}
        if kind == "output_text":
            entries = [entry.to_dict() for entry in logprobs.content] if logprobs and self._wants_logprobs else []
            item.logprobs += entries
            extra["logprobs"] = entries
        yield self._event(f"response.{kind}.delta", **self._place(item), delta=text, **extra)

    def _call(self, call: ToolCallDelta) -> Iterator[Event]:
        if call.id is not None:
            yield from self._close()
            opened = self._item = _Item("function_call", call)
            place = len(self._done_items)
            shape = opened.to_dict("in_progress", [])
            yield self._event("response.output_item.added", output_index=place, item=shape)
        item = self._item
        if item is not None and call.arguments:
            item.texts.append(call.arguments)
            place = len(self._done_items)
            name = "response.function_call_arguments.delta"
            yield self._event(name, item_id=item.id, output_index=place, delta=call.arguments)

    def _open(self, kind: PartKind) -> Iterator[Event]:
        item = self._item = _Item(kind)
        yield self._event(
            "response.output_item.added", output_index=len(self._done_items), item=item.to_dict("in_progress", [])
        )
        yield self._event("response.content_part.added", **self._place(item), part=item.part(""))

    def _close(self) -> Iterator[Event]:
        item = self._item
        if item is None:
            return
        text, place = "".join(item.texts), self._place(item)
        cut = self._finish_reason == "length"
        if item.kind == "function_call":
            index = len(self._done_items)
            shape = item.to_dict("incomplete" if cut else "completed", [])
            name = "response.function_call_arguments.done"
            yield self._event(name, item_id=item.id, output_index=index, name=shape["name"], arguments=text)
            yield self._event("response.output_item.done", output_index=index, item=shape)
            self._done_items.append(shape)
            self._item = None
            return
        part = item.part(text)
        extra = {"logprobs": item.logprobs} if item.kind == "output_text" else {}
        yield self._event(f"response.{item.kind}.done", **place, text=text, **extra)
        yield self._event("response.content_part.done", **place, part=part)
        # Only what the end cut off is incomplete: reasoning that an answer follows is whole.
        shape = item.to_dict("incomplete" if cut else "completed", [part])
        yield self._event("response.output_item.done", output_index=len(self._done_items), item=shape)
        self._done_items.append(shape)
        self._item = None

    def _place(self, item: _Item) -> dict[str, Any]:
        return {"item_id": item.id, "output_index": len(self._done_items), "content_index": 0}

    def _event(self, type: str, **content: Any) -> Event:
        event = {"type": type, "sequence_number": self._num_events, **content}
        self._num_events += 1
        return event


class _Item:
    """An item of the output that is being written."""

    def __init__(self, kind: ItemKind, call: ToolCallDelta | None = None) -> None:
        self.kind = kind
        self.id = f"{_PREFIXES[kind]}_{uuid.uuid4().hex}"
        self._call = call
        self.texts: list[str] = []
        self.logprobs: list[dict[str, Any]] = []

    def part(self, text: str) -> dict[str, Any]:
        if self.kind == "reasoning_text":
            return {"type": "reasoning_text", "text": text}
        return {"type": "output_text", "text": text, "annotations": [], "logprobs": list(self.logprobs)}

    def to_dict(self, status: str, content: list[dict[str, Any]]) -> dict[str, Any]:
        if self._call is not None:
            named = {"call_id": self._call.id, "name": self._call.name, "arguments": "".join(self.texts)}
            return {"id": self.id, "type": "function_call", "status": status, **named}
        if self.kind == "reasoning_text":
            return {"id": self.id, "type": "reasoning", "status": status, "summary": [], "content": content}
        return {"id": self.id, "type": "message", "status": status, "role": "assistant", "content": content}


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens, "cache_write_tokens": 0},
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {
            "reasoning_tokens": usage.reasoning_tokens,
            "accepted_prediction_tokens": usage.accepted_prediction_tokens,
            "rejected_prediction_tokens": usage.rejected_prediction_tokens,
        },
        "total_tokens": usage.total_tokens,
    }
