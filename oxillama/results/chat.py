"""What a chat gives back: frozen typed objects, and their form in OpenAI's chat completions API.

``repr()`` of every class shows lengths and counts, never text.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from oxillama.results.completion import FinishReason, Logprobs, Timings, Usage

if TYPE_CHECKING:
    from oxillama.structured.grammar import Grammar


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class ChatMessage:
    """What the assistant said. It may stand among the messages of the next call.

    ``reasoning_content`` is what the model thought before it answered; None where it did not think, or where the
    request left thinking in the content."""

    content: str
    reasoning_content: str | None = None
    role: str = "assistant"
    grammar: Grammar | None = field(default=None, compare=False)  # of a reply that is whole

    @property
    def parsed(self) -> Any:
        """The value of the content under a grammar of JSON: decoded, or an instance of the type that was passed. None
        for other replies and for one that was cut; ValueError where it is no such value."""
        return self.grammar.decode(self.content) if self.grammar is not None and self.grammar.is_json else None

    def to_dict(self) -> dict[str, Any]:
        shape: dict[str, Any] = {"role": self.role, "content": self.content, "refusal": None}
        if self.reasoning_content is not None:
            shape["reasoning_content"] = self.reasoning_content
        return shape

    def __repr__(self) -> str:
        return f"ChatMessage({_lengths(self.content, self.reasoning_content)})"


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
class ChatCompletion:
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
    def token_ids(self) -> tuple[int, ...]:
        return self.choices[0].token_ids

    @property
    def finish_reason(self) -> FinishReason | None:
        return self.choices[0].finish_reason

    @property
    def stop_reason(self) -> str | int | None:
        return self.choices[0].stop_reason

    @property
    def logprobs(self) -> Logprobs | None:
        return self.choices[0].logprobs

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

    def __repr__(self) -> str:
        return f"ChatCompletion(choices={list(self.choices)!r}, usage={self.usage!r})"


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class ChatDelta:
    """What a chunk adds to a message; None where it adds nothing."""

    role: str | None = None
    content: str | None = None
    reasoning_content: str | None = None

    def to_dict(self) -> dict[str, Any]:
        parts = {"role": self.role, "content": self.content, "reasoning_content": self.reasoning_content}
        return {key: value for key, value in parts.items() if value is not None}

    def __repr__(self) -> str:
        role = "" if self.role is None else f"role={self.role!r}, "
        return f"ChatDelta({role}{_lengths(self.content, self.reasoning_content)})"


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

    def to_dict(self) -> dict[str, Any]:
        choice: dict[str, Any] = {
            "index": self.index,
            "delta": self.delta.to_dict(),
            "logprobs": _logprobs(self.logprobs),
            "finish_reason": self.finish_reason,
        }
        if self.finish_reason is not None:
            choice["stop_reason"] = self.stop_reason
        shape: dict[str, Any] = {
            "id": self.id,
            "object": "chat.completion.chunk",
            "created": self.created,
            "model": self.model,
            "choices": [choice],
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
