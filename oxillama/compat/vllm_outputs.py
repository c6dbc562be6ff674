"""What vLLM's offline class gives back, made of the engine's results."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from oxillama.results.chat import ChatChoice, ChatCompletion
from oxillama.results.completion import Completion, CompletionChoice, TokenLogprob


@dataclass(frozen=True, kw_only=True)
class Logprob:
    """rank: 1 is the most likely token; None where it was not among those told."""

    logprob: float
    rank: int | None = None
    decoded_token: str | None = None


@dataclass(frozen=True, kw_only=True)
class CompletionOutput:
    index: int
    text: str
    token_ids: list[int]
    cumulative_logprob: float | None
    logprobs: list[dict[int, Logprob]] | None
    finish_reason: str | None
    stop_reason: str | int | None


@dataclass(frozen=True, kw_only=True)
class RequestOutput:
    request_id: str
    prompt: str | None
    prompt_token_ids: list[int]
    prompt_logprobs: list[dict[int, Logprob] | None] | None
    outputs: list[CompletionOutput]
    finished: bool = True
    num_cached_tokens: int = 0


@dataclass(frozen=True, kw_only=True)
class EmbeddingOutput:
    embedding: list[float]


@dataclass(frozen=True, kw_only=True)
class ScoringOutput:
    score: float


@dataclass(frozen=True, kw_only=True)
class ClassificationOutput:
    probs: list[float] = field(default_factory=list)

    @property
    def num_classes(self) -> int:
        return len(self.probs)


@dataclass(frozen=True, kw_only=True)
class PoolingRequestOutput:
    """Of embed, score and classify: `outputs` has what each gives."""

    request_id: str
    outputs: EmbeddingOutput | ScoringOutput | ClassificationOutput
    prompt_token_ids: list[int]
    finished: bool = True


def request_output(
    prompt: str | None, prompt_ids: Sequence[int], completion: Completion | ChatCompletion
) -> RequestOutput:
    scores = completion.prompt_logprobs if isinstance(completion, Completion) else None
    return RequestOutput(
        request_id=completion.id,
        prompt=prompt,
        prompt_token_ids=list(prompt_ids),
        # The first token was not predicted.
        prompt_logprobs=None if scores is None else [None, *(_told(entry) for entry in scores.content[1:])],
        outputs=[_output(choice) for choice in completion.choices],
        num_cached_tokens=completion.usage.cached_tokens,
    )


def _output(choice: CompletionChoice | ChatChoice) -> CompletionOutput:
    entries = None if choice.logprobs is None else choice.logprobs.content
    return CompletionOutput(
        index=choice.index,
        text=choice.text if isinstance(choice, CompletionChoice) else choice.message.content or "",
        token_ids=list(choice.token_ids),
        cumulative_logprob=None if entries is None else math.fsum(entry.logprob for entry in entries),
        logprobs=None if entries is None else [_told(entry) for entry in entries],
        finish_reason=choice.finish_reason,
        stop_reason=choice.stop_reason,
    )


def _told(entry: TokenLogprob) -> dict[int, Logprob]:
    """The alternatives best first, and the token itself."""
    found = {
        other.token_id: Logprob(logprob=other.logprob, rank=rank, decoded_token=other.text)
        for rank, other in enumerate(entry.top, 1)
    }
    found.setdefault(entry.token_id, Logprob(logprob=entry.logprob, decoded_token=entry.text))
    return found
