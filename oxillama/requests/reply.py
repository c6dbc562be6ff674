"""One choice's message as it grows: what has come of its text, read as reasoning, content and calls."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from oxillama.chat.reply_format import ReplyFormat
from oxillama.results.chat import ChatDelta, ChatMessage, ToolCall, ToolCallDelta, joined_deltas
from oxillama.results.completion import FinishReason
from oxillama.tools.events import ReplyEvent
from oxillama.tools.history import call_id
from oxillama.tools.marked_text import MarkedText


class StreamedReply:
    """Makes deltas of what comes."""

    def __init__(self, reply_format: ReplyFormat, index: int) -> None:
        self._format = reply_format
        self._index = index
        self._reader = reply_format.reader()
        self._splitter = reply_format.splitter() if self._reader is None else None
        self._marked = MarkedText(reply_format.table, reply_format.controls) if reply_format.controls else None
        self._ids = set(reply_format.call_ids)
        self._num_tokens = 0
        self._num_calls = 0
        self.num_reasoning_tokens: int = 0
        self.started = False
        self.finished: bool = False

    def push(self, text: str, token_ids: Sequence[int]) -> ChatDelta:
        """What this text, of these tokens, adds."""
        self._num_tokens += len(token_ids)
        parts = self._reader or self._splitter
        assert parts is not None
        had_thought = parts.has_thought
        if self._reader is not None:
            said = text if self._marked is None else self._marked.push(text, token_ids)
            delta = self._delta(self._reader.feed(said)) if said else ChatDelta()
        else:
            assert self._splitter is not None
            delta = _split(*self._splitter.push(text))
        if parts.is_thinking or parts.has_thought != had_thought:
            # Thinking comes first, so up to here everything was: also what it took to be sure of the opening tag.
            self.num_reasoning_tokens = self._num_tokens
        return delta

    def finish(self) -> ChatDelta:
        """What is left when no more text comes."""
        self.finished = True
        if self._reader is None:
            assert self._splitter is not None
            return _split(*self._splitter.finish())
        events = self._reader.feed(self._marked.finish()) if self._marked is not None else []
        return self._delta([*events, *self._reader.finish()])

    def finish_reason(self, reason: FinishReason | None) -> FinishReason | None:
        """Why the reply ended, given why its text did."""
        return "tool_calls" if reason == "stop" and self._num_calls else reason

    def _delta(self, events: Iterable[ReplyEvent]) -> ChatDelta:
        return joined_deltas(_event_delta(event, self._call_id(event)) for event in events)

    def _call_id(self, event: ReplyEvent) -> str | None:
        if event.kind != "call":
            return None
        self._num_calls += 1
        written, key = event.call_id, f"{self._format.call_key}/{self._index}/{event.call}"
        nine = self._format.syntax is not None and self._format.syntax.ids == "nine"
        if not written or written in self._ids:
            written = call_id(key, nine=nine)
        self._ids.add(written)
        return written


class Reply(StreamedReply):
    """Makes the whole message."""

    def __init__(self, reply_format: ReplyFormat, index: int) -> None:
        super().__init__(reply_format, index)
        self._deltas: list[ChatDelta] = []

    def push(self, text: str, token_ids: Sequence[int]) -> ChatDelta:
        self._deltas.append(super().push(text, token_ids))
        return self._deltas[-1]

    def message(self) -> ChatMessage:
        """The message, of which no more will come."""
        whole = joined_deltas([*self._deltas, self.finish()])
        calls = (
            ToolCall(id=call.id or "", name=call.name or "", arguments_json=call.arguments) for call in whole.tool_calls
        )
        return ChatMessage(
            content=whole.content or "", reasoning_content=whole.reasoning_content or None, tool_calls=tuple(calls)
        )


def _split(reasoning: str, content: str) -> ChatDelta:
    return ChatDelta(content=content or None, reasoning_content=reasoning or None)


def _event_delta(event: ReplyEvent, written_id: str | None) -> ChatDelta:
    match event.kind:
        case "reasoning":
            return ChatDelta(reasoning_content=event.text)
        case "content":
            return ChatDelta(content=event.text)
        case "call":
            return ChatDelta(tool_calls=(ToolCallDelta(index=event.call, id=written_id, name=event.text),))
        case "arguments":
            return ChatDelta(tool_calls=(ToolCallDelta(index=event.call, arguments=event.text),))
    return ChatDelta()
