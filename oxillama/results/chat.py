"""What a chat gives back: frozen typed objects, and their form in OpenAI's chat completions API.

``repr()`` of every class shows lengths and counts, never text.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from oxillama.results.completion import FinishReason, FirstChoice, Logprobs, Timings, Usage

if TYPE_CHECKING:
    from oxillama.structured.grammar import Grammar


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class ToolCall:
    """A call of a tool that the assistant asks for. ``arguments_json`` is the text as it was written; it is no JSON
    where the end of the reply cut it."""

    id: str
    name: str
    arguments_json: str

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments. ValueError where the text is no JSON object."""
        try:
            arguments = json.loads(self.arguments_json)
        except RecursionError:
            raise ValueError("the arguments have too many values inside one another") from None
        if not isinstance(arguments, dict):
            raise ValueError("the arguments are no JSON object")
        return arguments

    def to_dict(self) -> dict[str, Any]:
        function = {"name": self.name, "arguments": self.arguments_json}
        return {"id": self.id, "type": "function", "function": function}

    def __repr__(self) -> str:
        return f"ToolCall(id={self.id!r}, name={self.name!r}, arguments=<{len(self.arguments_json)} characters>)"


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class ToolCallDelta:
    """What a chunk adds to a call: at first ``id`` and ``name``, then pieces of the arguments' JSON text."""

    index: int
    id: str | None = None
    name: str | None = None
    arguments: str = ""

    def to_dict(self) -> dict[str, Any]:
        shape: dict[str, Any] = {"index": self.index}
        if self.id is not None:
            shape |= {"id": self.id, "type": "function"}
        named = {} if self.name is None else {"name": self.name}
        return {**shape, "function": {**named, "arguments": self.arguments}}

    def __repr__(self) -> str:
        return f"ToolCallDelta(index={self.index}, name={self.name!r}, arguments=<{len(self.arguments)} characters>)"


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class ChatMessage:
    """What the assistant said. It may stand among the messages of the next call.

    ``reasoning_content`` is what the model thought before it answered; None where it did not think, or where the
    request left thinking in the content. ``tool_calls``: the tools that it wants called."""

    content: str
    reasoning_content: str | None = None
    role: str = "assistant"
    tool_calls: tuple[ToolCall, ...] = ()
    grammar: Grammar | None = field(default=None, compare=False)  # of a reply that is whole

    @property
    def parsed(self) -> Any:
        """The value of the content under a grammar of JSON: decoded, or an instance of the type that was passed. None
        for other replies and for one that was cut; ValueError where it is no such value."""
        return self.grammar.decode(self.content) if self.grammar is not None and self.grammar.is_json else None

    def to_dict(self) -> dict[str, Any]:
        content = None if self.tool_calls and not self.content else self.content
        shape: dict[str, Any] = {"role": self.role, "content": content, "refusal": None}
        if self.reasoning_content is not None:
            shape["reasoning_content"] = self.reasoning_content
        if self.tool_calls:
            shape["tool_calls"] = [call.to_dict() for call in self.tool_calls]
        return shape

    def __repr__(self) -> str:
        calls = f", tool_calls=<{len(self.tool_calls)} calls>" if self.tool_calls else ""
        return f"ChatMessage({_lengths(self.content, self.reasoning_content)}{calls})"


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class ChatChoice:
    """One of the answers to a conversation. ``token_ids`` has every generated token, those of the reasoning too."""

    index: int
    message: ChatMessage
    token_ids: tuple[int, ...]
    finish_reason: FinishReason | None
    stop_reason: str | int | None = None
    logprobs: Logprobs | None = None

    def to_dict(self) -> dict[str, Any]:
        return {
            "index": self.index,
            "message": self.message.to_dict(),
            "logprobs": _logprobs(self.logprobs),
            "finish_reason": self.finish_reason,
            "stop_reason": self.stop_reason,
        }

    def __repr__(self) -> str:
        return (
            f"ChatChoice(index={self.index}, message={self.message!r}, "
            f"token_ids=<{len(self.token_ids)} tokens>, finish_reason={self.finish_reason!r})"
        )


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class ChatCompletion(FirstChoice):
    """Everything one chat request produced. ``message`` and its neighbours are those of choice 0.

    ``seed`` repeats the request: with the same messages and parameters it gives the same tokens. ``created`` is in
    Unix seconds."""

    choices: tuple[ChatChoice, ...]
    usage: Usage
    seed: int
    timings: Timings = field(default_factory=Timings)
    warnings: tuple[str, ...] = ()
    id: str = ""
    model: str = ""
    created: int = 0

    @property
    def message(self) -> ChatMessage:
        return self.choices[0].message

    @property
    def text(self) -> str:
        """The message's content."""
        return self.message.content

    @property
    def parsed(self) -> Any:
        """The message's value, see `ChatMessage.parsed`."""
        return self.message.parsed

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The message's calls of tools."""
        return self.message.tool_calls

    def to_dict(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": "chat.completion",
            "created": self.created,
            "model": self.model,
            "choices": [choice.to_dict() for choice in self.choices],
            "usage": self.usage.to_dict(),
            "seed": self.seed,
            "timings": self.timings.to_dict(),
        }

    def _repr_markdown_(self) -> str:
        """What a notebook shows: the answer, and of thinking that there was some."""
        thought = self.message.reasoning_content
        aside = f"\n\n*({len(thought)} characters of reasoning)*" if thought else ""
        return self.text + aside + f"\n\n*[{self.finish_reason}, {self.usage.completion_tokens} tokens]*"

    def _repr_html_(self) -> str | None:
        """As `Completion` has it: all tokens of the reply, those of its thinking and calls too."""
        if self.logprobs is None:
            return None
        from oxillama.results.pictures import note, token_strip

        return token_strip(self.logprobs) + note(f"{self.finish_reason}, {self.usage.completion_tokens} tokens")

    def __repr__(self) -> str:
        return f"ChatCompletion(choices={list(self.choices)!r}, usage={self.usage!r})"


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class ChatDelta:
    """What a chunk adds to a message; None where it adds nothing."""

    role: str | None = None
    content: str | None = None
    reasoning_content: str | None = None
    tool_calls: tuple[ToolCallDelta, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        parts = {"role": self.role, "content": self.content, "reasoning_content": self.reasoning_content}
        shape: dict[str, Any] = {key: value for key, value in parts.items() if value is not None}
        if self.tool_calls:
            shape["tool_calls"] = [call.to_dict() for call in self.tool_calls]
        return shape

    def __repr__(self) -> str:
        role = "" if self.role is None else f"role={self.role!r}, "
        calls = f", tool_calls={list(self.tool_calls)!r}" if self.tool_calls else ""
        return f"ChatDelta({role}{_lengths(self.content, self.reasoning_content)}{calls})"


def joined_deltas(deltas: Iterable[ChatDelta]) -> ChatDelta:
    """What several deltas add together."""
    given = list(deltas)
    begun: list[ToolCallDelta] = []
    arguments: list[list[str]] = []
    for call in (call for delta in given for call in delta.tool_calls):
        if begun and call.id is None and begun[-1].index == call.index:
            arguments[-1].append(call.arguments)
        else:
            begun.append(call)
            arguments.append([call.arguments])
    calls = [
        replace(call, arguments="".join(pieces)) if len(pieces) > 1 else call
        for call, pieces in zip(begun, arguments, strict=True)
    ]
    return ChatDelta(
        role=next((delta.role for delta in given if delta.role is not None), None),
        content=_together(delta.content for delta in given),
        reasoning_content=_together(delta.reasoning_content for delta in given),
        tool_calls=tuple(calls),
    )


def _together(parts: Iterable[str | None]) -> str | None:
    given = [part for part in parts if part is not None]
    return "".join(given) if given else None


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class ChatCompletionChunk:
    """A piece of a streamed chat: of each choice first one with the role, then one per token, whose delta may be
    empty, and at last an empty one with ``finish_reason``. ``usage`` comes with the very last only."""

    delta: ChatDelta = field(default_factory=ChatDelta)
    index: int = 0
    token_ids: tuple[int, ...] = ()
    finish_reason: FinishReason | None = None
    stop_reason: str | int | None = None
    logprobs: Logprobs | None = None
    usage: Usage | None = None
    id: str = ""
    model: str = ""
    created: int = 0

    @property
    def text(self) -> str:
        """The content that this chunk adds; may be empty."""
        return self.delta.content or ""

    def choice_dict(self) -> dict[str, Any]:
        """What `to_dict()` has as the only one of its `choices`."""
        choice: dict[str, Any] = {
            "index": self.index,
            "delta": self.delta.to_dict(),
            "logprobs": _logprobs(self.logprobs),
            "finish_reason": self.finish_reason,
        }
        if self.finish_reason is not None:
            choice["stop_reason"] = self.stop_reason
        return choice

    def to_dict(self) -> dict[str, Any]:
        shape: dict[str, Any] = {
            "id": self.id,
            "object": "chat.completion.chunk",
            "created": self.created,
            "model": self.model,
            "choices": [self.choice_dict()],
        }
        if self.usage is not None:
            shape["usage"] = self.usage.to_dict()
        return shape

    def __repr__(self) -> str:
        usage = "" if self.usage is None else f", usage={self.usage!r}"
        return (
            f"ChatCompletionChunk(index={self.index}, delta={self.delta!r}, "
            f"token_ids=<{len(self.token_ids)} tokens>, finish_reason={self.finish_reason!r}{usage})"
        )


def _lengths(content: str | None, reasoning: str | None) -> str:
    parts = {"content": content, "reasoning_content": reasoning}
    return ", ".join(f"{name}=<{len(text)} characters>" for name, text in parts.items() if text is not None)


def _logprobs(logprobs: Logprobs | None) -> dict[str, Any] | None:
    if logprobs is None:
        return None
    return {"content": [entry.to_dict() for entry in logprobs.content], "refusal": None}
