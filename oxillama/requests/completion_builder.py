"""A completion as it grows: what the core has delivered for a request, as chunks and as a whole. Nothing here waits."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from oxillama._core.output.handle import Handle, TokenEvent
from oxillama.results.completion import (
    Completion,
    CompletionChoice,
    CompletionChunk,
    FinishReason,
    Logprobs,
    Timings,
    TokenLogprob,
    Usage,
)

if TYPE_CHECKING:
    from oxillama.structured.grammar import Grammar
    from oxillama.tokenizer import Tokenizer

# What ends a choice normally; everything else raises.
FINISH_REASONS: dict[str, FinishReason] = {"stop": "stop", "length": "length"}


@dataclass(frozen=True, kw_only=True)
class RequestSpec:
    """What is known of a request before it begins, and needed to shape its results."""

    id: str
    model: str
    created: int
    seed: int = 0
    stops: tuple[str, ...] = field(default=(), repr=False)
    n: int = 1
    wants_logprobs: bool = False
    grammar: Grammar | None = field(default=None, repr=False)
    expires: float = math.inf  # on the monotonic clock


class _Choice:
    """One sequence, and everything it has delivered."""

    def __init__(self, handle: Handle, index: int) -> None:
        self.handle = handle
        self.index = index
        self.events: list[TokenEvent] = []
        self.texts: list[str] = []
        self.ahead: list[TokenEvent] = []  # delivered by the core, but not given out yet
        self.rest: str | None = None  # the text after the last token, once the core has delivered everything
        self.finished = False  # everything has been given out


class CompletionBuilder:
    """Takes what comes from the core's handles, one per choice. Any thread may ask."""

    def __init__(self, handles: list[Handle], spec: RequestSpec, tokenizer: Tokenizer | None) -> None:
        self.spec = spec
        self._tokenizer = tokenizer
        self._choices = [_Choice(handle, index) for index, handle in enumerate(handles)]
        self._lock = threading.Lock()
        self._first = 0  # of the choices, to be asked next

    @property
    def handles(self) -> list[Handle]:
        return [choice.handle for choice in self._choices]

    @property
    def open_handles(self) -> list[Handle]:
        """Those that have not delivered everything yet."""
        return [choice.handle for choice in self._choices if not choice.finished]

    @property
    def exhausted(self) -> bool:
        """Everything has been taken."""
        return all(choice.finished for choice in self._choices)

    @property
    def usage(self) -> Usage:
        """Counts so far."""
        first = self._choices[0].handle
        return Usage(
            prompt_tokens=first.num_prompt_tokens,
            completion_tokens=sum(choice.handle.num_published for choice in self._choices),
            cached_tokens=first.num_cached_tokens,
            accepted_prediction_tokens=sum(choice.handle.num_accepted_drafts for choice in self._choices),
            rejected_prediction_tokens=sum(choice.handle.num_rejected_drafts for choice in self._choices),
        )

    @property
    def timings(self) -> Timings:
        """Where the time went; a part that is not over is 0."""
        submit, start, prefill, first, end = self._choices[0].handle.times
        last = max(choice.handle.times[4] for choice in self._choices)
        return Timings(
            queue=max(0.0, start - submit) if start else max(0.0, end - submit),
            prefill=max(0.0, prefill - start),
            decode=max(0.0, last - prefill) if prefill else 0.0,
            ttft=max(0.0, first - submit),
        )

    @property
    def prompt_logprobs(self) -> Logprobs | None:
        """The scores of the prompt, where they were asked for and there is output already or the end; else None."""
        handle = self._choices[0].handle
        return self._logprobs(tuple(handle.prompt_events())) if handle.has_prompt_logprobs else None

    def take(self, most: int | None = None) -> list[CompletionChunk]:
        """The chunks that have come since the last call, one per token; `most` of them, and of every choice in turn."""
        with self._lock:
            chunks: list[CompletionChunk] = []
            for choice in self._in_turn() if most is not None else self._choices:
                room = None if most is None else most - len(chunks)
                chunks += self._chunks(choice, *self._receive(choice, room))
                if most is not None and len(chunks) >= most:
                    break
            return chunks

    def collect(self) -> bool:
        """Takes what has come without making chunks of it. True: that was all."""
        self.arrivals()
        return self.exhausted

    def arrivals(self) -> list[tuple[int, int]]:
        """Takes what has come without making chunks of it: (choice, how many tokens) of each that got any."""
        with self._lock:
            found = [(choice.index, len(self._receive(choice)[0])) for choice in self._choices if not choice.finished]
            return [(index, n_tokens) for index, n_tokens in found if n_tokens]

    def completion(self) -> Completion:
        """Everything that has come."""
        self.collect()
        # best_of: the choices that the model itself found most likely, per token.
        best = sorted(self._choices, key=_mean_logprob, reverse=True)[: self.spec.n]
        kept = self._choices if len(best) == len(self._choices) else best
        return Completion(
            choices=tuple(self._choice(choice, index) for index, choice in enumerate(kept)),
            prompt_logprobs=self.prompt_logprobs,
            usage=self.usage,
            seed=self.spec.seed,
            timings=self.timings,
            warnings=self.spec.grammar.warnings if self.spec.grammar else (),
            id=self.spec.id,
            model=self.spec.model,
            created=self.spec.created,
        )

    def _in_turn(self) -> Iterator[_Choice]:
        """The choices, each call from another one on: who takes only some must not always take the same ones'."""
        n = len(self._choices)
        first, self._first = self._first, (self._first + 1) % n
        return (self._choices[(first + step) % n] for step in range(n))

    def _receive(self, choice: _Choice, most: int | None = None) -> tuple[list[TokenEvent], str | None]:
        """New tokens, and once, at the end, the text that was held back until then."""
        if choice.finished:
            return [], None
        if choice.rest is None:
            events, rest, is_last = choice.handle.take()
            choice.ahead += events
            choice.rest = rest if is_last else None
        events, choice.ahead = (choice.ahead, []) if most is None else (choice.ahead[:most], choice.ahead[most:])
        choice.events += events
        choice.texts += [event.text for event in events]
        if choice.rest is None or choice.ahead:
            return events, None
        choice.finished = True
        choice.texts.append(choice.rest)
        return events, choice.rest

    def _chunks(self, choice: _Choice, events: list[TokenEvent], rest: str | None) -> list[CompletionChunk]:
        chunks = [self._chunk(choice, event.text, (event,)) for event in events]
        if rest is not None:
            # The last token and the end come as one chunk.
            text = chunks[-1].text + rest if chunks else rest
            chunks[-1:] = [self._chunk(choice, text, tuple(events[-1:]), last=True)]
        return chunks

    def _chunk(
        self, choice: _Choice, text: str, events: tuple[TokenEvent, ...], *, last: bool = False
    ) -> CompletionChunk:
        return CompletionChunk(
            index=choice.index,
            text=text,
            token_ids=tuple(event.token for event in events),
            logprobs=self._logprobs(events) if self.spec.wants_logprobs else None,
            finish_reason=FINISH_REASONS.get(choice.handle.finish_reason or "") if last else None,
            stop_reason=self._stop_reason(choice) if last else None,
            usage=self.usage if last and self.exhausted else None,
            id=self.spec.id,
            model=self.spec.model,
            created=self.spec.created,
        )

    def _choice(self, choice: _Choice, index: int) -> CompletionChoice:
        return CompletionChoice(
            index=index,
            text="".join(choice.texts),
            token_ids=tuple(event.token for event in choice.events),
            finish_reason=FINISH_REASONS.get(choice.handle.finish_reason or ""),
            stop_reason=self._stop_reason(choice),
            logprobs=self._logprobs(tuple(choice.events)) if self.spec.wants_logprobs else None,
            grammar=self.spec.grammar,
        )

    def _stop_reason(self, choice: _Choice) -> str | int | None:
        if choice.handle.finish_reason != "stop":
            return None
        match choice.handle.stop:
            case int(index):
                return self.spec.stops[index]
            case (_, token):
                return token
        return None

    def _logprobs(self, events: tuple[TokenEvent, ...]) -> Logprobs:
        def entry(token: int, logprob: float, top: tuple[tuple[int, float], ...] = ()) -> TokenLogprob:
            return TokenLogprob(
                token_id=token,
                token_bytes=self._token_bytes(token),
                logprob=logprob,
                top=tuple(entry(*other) for other in top),
            )

        return Logprobs(content=tuple(entry(event.token, event.logprob, event.top) for event in events))

    def _token_bytes(self, token: int) -> bytes:
        # A model's output may be wider than its vocabulary.
        tokenizer = self._tokenizer
        return tokenizer.token_bytes(token) if tokenizer is not None and token < tokenizer.n_vocab else b""


def _mean_logprob(choice: _Choice) -> float:
    values = [event.logprob for event in choice.events]
    return sum(values) / len(values) if values else -math.inf
