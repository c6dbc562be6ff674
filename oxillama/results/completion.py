"""What a generation gives back: frozen typed objects, and their form in OpenAI's completions API.

``repr()`` of every class shows lengths and counts, never text. Chat objects are not here.
"""

from __future__ import annotations

import codecs
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

if TYPE_CHECKING:
    from oxillama.structured.grammar import Grammar

FinishReason: TypeAlias = Literal["stop", "length", "tool_calls"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    """Token counts of one request. ``cached_tokens`` is the part of the prompt that was not computed again,
    ``reasoning_tokens`` the part of the completion that a chat model thought with, ``accepted_prediction_tokens`` the
    part that was computed ahead; ``rejected_prediction_tokens`` were computed ahead in vain."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    accepted_prediction_tokens: int = 0
    rejected_prediction_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens

    def to_dict(self) -> dict[str, Any]:
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.total_tokens,
            "prompt_tokens_details": {"cached_tokens": self.cached_tokens},
            "completion_tokens_details": {
                "reasoning_tokens": self.reasoning_tokens,
                "accepted_prediction_tokens": self.accepted_prediction_tokens,
                "rejected_prediction_tokens": self.rejected_prediction_tokens,
            },
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Timings:
    """Seconds that one request spent waiting, on its prompt, and on its output; and to its first token from submit."""

    queue: float = 0.0
    prefill: float = 0.0
    decode: float = 0.0
    ttft: float = 0.0

    def to_dict(self) -> dict[str, float]:
        return {"queue": self.queue, "prefill": self.prefill, "decode": self.decode, "ttft": self.ttft}


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class TokenLogprob:
    """One token with its natural log-probability: the log-softmax of the model's raw logits.

    ``token_bytes`` is what the token writes, not necessarily whole characters. ``top`` are the most likely tokens at
    this place, best first, each without a ``top`` of its own. ``logprob`` is NaN where nothing was predicted.
    """

    token_id: int
    token_bytes: bytes
    logprob: float
    top: tuple[TokenLogprob, ...] = ()

    @property
    def text(self) -> str:
        """The token as text; bytes that are no whole character become U+FFFD."""
        return self.token_bytes.decode(errors="replace")

    def to_dict(self) -> dict[str, Any]:
        """The entry of chat's ``logprobs.content``."""
        return {**self._bare(), "top_logprobs": [other._bare() for other in self.top]}

    def _bare(self) -> dict[str, Any]:
        return {"token": self.text, "logprob": _json_number(self.logprob), "bytes": list(self.token_bytes)}

    def __repr__(self) -> str:
        return f"TokenLogprob(logprob={self.logprob:.4g}, top=<{len(self.top)} tokens>)"


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Logprobs:
    """The log-probabilities of a run of tokens; ``text_offset`` is where its text begins, in characters."""

    content: tuple[TokenLogprob, ...]
    text_offset: int = 0

    def to_dict(self) -> dict[str, Any]:
        """The four parallel lists of the completions API."""
        # Bytes of neighbouring tokens may make up one character, which counts where it is complete.
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        offsets: list[int] = []
        offset = self.text_offset
        for entry in self.content:
            offsets.append(offset)
            offset += len(decoder.decode(entry.token_bytes))
        return {
            "tokens": [entry.text for entry in self.content],
            "token_logprobs": [_json_number(entry.logprob) for entry in self.content],
            "top_logprobs": [
                {other.text: _json_number(other.logprob) for other in reversed(entry.top)} if entry.top else None
                for entry in self.content
            ],
            "text_offset": offsets,
        }

    def __repr__(self) -> str:
        return f"Logprobs(<{len(self.content)} tokens>)"


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class CompletionChoice:
    """One of the texts generated for a prompt.

    ``text`` leaves out control tokens, the end token and the stop text; ``token_ids`` has every generated token.
    ``stop_reason`` is the stop text or token that ended it, where one did.
    """

    index: int
    text: str
    token_ids: tuple[int, ...]
    finish_reason: FinishReason | None
    stop_reason: str | int | None = None
    logprobs: Logprobs | None = None
    grammar: Grammar | None = field(default=None, compare=False)

    @property
    def parsed(self) -> Any:
        """The value of the text under a grammar of JSON: decoded, or an instance of the type that was passed. None for
        other texts and for one that was cut; ValueError where it is no such value."""
        return _parsed(self.grammar, self.text, self.finish_reason)

    def to_dict(self) -> dict[str, Any]:
        return {
            "index": self.index,
            "text": self.text,
            "logprobs": None if self.logprobs is None else self.logprobs.to_dict(),
            "finish_reason": self.finish_reason,
            "stop_reason": self.stop_reason,
        }

    def __repr__(self) -> str:
        return (
            f"CompletionChoice(index={self.index}, text=<{len(self.text)} characters>, "
            f"token_ids=<{len(self.token_ids)} tokens>, finish_reason={self.finish_reason!r})"
        )


class Choice(Protocol):
    """As far as completions and chats share it."""

    @property
    def token_ids(self) -> tuple[int, ...]: ...
    @property
    def finish_reason(self) -> FinishReason | None: ...
    @property
    def stop_reason(self) -> str | int | None: ...
    @property
    def logprobs(self) -> Logprobs | None: ...


class FirstChoice:
    """What a result says of itself: the same as its choice 0."""

    __slots__ = ()

    if TYPE_CHECKING:

        @property
        def choices(self) -> Sequence[Choice]: ...

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


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Completion(FirstChoice):
    """Everything one request produced. ``text`` and its neighbours are those of choice 0. ``prompt_logprobs`` scores
    each token of the prompt given those before it; the first has NaN and no alternatives.

    ``seed`` repeats the request: with the same prompt and parameters it gives the same tokens. ``created`` is in
    Unix seconds. ``warnings`` say where a grammar holds less than its schema asks.
    """

    choices: tuple[CompletionChoice, ...]
    usage: Usage
    seed: int
    timings: Timings = field(default_factory=Timings)
    prompt_logprobs: Logprobs | None = None
    warnings: tuple[str, ...] = ()
    id: str = ""
    model: str = ""
    created: int = 0

    @property
    def text(self) -> str:
        return self.choices[0].text

    @property
    def parsed(self) -> Any:
        """As `CompletionChoice.parsed`, of choice 0."""
        return self.choices[0].parsed

    def to_dict(self) -> dict[str, Any]:
        shape: dict[str, Any] = {
            "id": self.id,
            "object": "text_completion",
            "created": self.created,
            "model": self.model,
            "choices": [choice.to_dict() for choice in self.choices],
            "usage": self.usage.to_dict(),
            "seed": self.seed,
            "timings": self.timings.to_dict(),
        }
        if self.prompt_logprobs is not None:
            shape["prompt_logprobs"] = self.prompt_logprobs.to_dict()
        return shape

    def _repr_markdown_(self) -> str:
        """What a notebook shows: the text as it is, in a fence that it cannot close."""
        fence = "`" * max([3, *(len(run) + 1 for run in re.findall("`+", self.text))])
        note = f"*[{self.finish_reason}, {self.usage.completion_tokens} tokens]*"
        return f"{fence}text\n{self.text}\n{fence}\n\n{note}"

    def _repr_html_(self) -> str | None:
        """What a notebook shows instead where log-probabilities were asked for: each token as likely as it was."""
        if self.logprobs is None:
            return None
        from oxillama.results.pictures import note, token_strip

        return token_strip(self.logprobs) + note(f"{self.finish_reason}, {self.usage.completion_tokens} tokens")

    def __repr__(self) -> str:
        return f"Completion(choices={list(self.choices)!r}, usage={self.usage!r})"


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class CompletionChunk:
    """A piece of a streamed completion. ``text`` may be empty; ``usage`` comes with the last chunk only."""

    index: int = 0
    text: str = ""
    token_ids: tuple[int, ...] = ()
    finish_reason: FinishReason | None = None
    stop_reason: str | int | None = None
    logprobs: Logprobs | None = None
    usage: Usage | None = None
    id: str = ""
    model: str = ""
    created: int = 0

    def to_dict(self) -> dict[str, Any]:
        choice = CompletionChoice(
            index=self.index,
            text=self.text,
            token_ids=self.token_ids,
            finish_reason=self.finish_reason,
            stop_reason=self.stop_reason,
            logprobs=self.logprobs,
        )
        shape: dict[str, Any] = {
            "id": self.id,
            "object": "text_completion",
            "created": self.created,
            "model": self.model,
            "choices": [choice.to_dict()],
        }
        if self.usage is not None:
            shape["usage"] = self.usage.to_dict()
        return shape

    def __repr__(self) -> str:
        usage = "" if self.usage is None else f", usage={self.usage!r}"
        return (
            f"CompletionChunk(index={self.index}, text=<{len(self.text)} characters>, "
            f"token_ids=<{len(self.token_ids)} tokens>, finish_reason={self.finish_reason!r}{usage})"
        )


def _parsed(grammar: Grammar | None, text: str, finish_reason: FinishReason | None) -> Any:
    return grammar.decode(text) if grammar is not None and grammar.is_json and finish_reason == "stop" else None


def _json_number(value: float) -> float | None:
    return value if math.isfinite(value) else None
