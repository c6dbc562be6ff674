"""A completion as it grows: what the core has delivered for a request, as chunks and as a whole. Nothing here waits."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from oxillama._core.output.handle import TokenEvent
from oxillama.requests.delivery import FINISH_REASONS, Choice
from oxillama.requests.result_builder import ResultBuilder
from oxillama.requests.stream import Later, ResultStream
from oxillama.results.completion import Completion, CompletionChoice, CompletionChunk, Logprobs, TokenLogprob

if TYPE_CHECKING:
    from oxillama.requests.request import RequestHandle


class CompletionBuilder(ResultBuilder[Completion, CompletionChunk]):
    """A text that is continued, in one or several choices."""

    @property
    def prompt_logprobs(self) -> Logprobs | None:
        handle = self.delivery.handles[0]
        return self._logprobs(tuple(handle.prompt_events())) if handle.has_prompt_logprobs else None

    def take(self, most: int | None = None) -> list[CompletionChunk]:
        """The chunks that have come since the last call, one per token; `most` of them, and of every choice in turn."""
        delivery = self.delivery
        with delivery.lock:
            chunks: list[CompletionChunk] = []
            for choice in delivery.in_turn() if most is not None else delivery.choices:
                left = None if most is None else most - len(chunks)
                chunks += self._chunks(choice, *choice.receive(left))
                if most is not None and len(chunks) >= most:
                    break
            return chunks

    def stream(self, handle: RequestHandle[Completion, CompletionChunk]) -> CompletionStream:
        return CompletionStream(handle)

    def result(self) -> Completion:
        """Everything that has come."""
        self.delivery.collect()
        spec, choices = self.delivery.spec, self.delivery.choices
        # best_of: the choices that the model itself found most likely, per token.
        best = sorted(choices, key=_mean_logprob, reverse=True)[: spec.n]
        kept = choices if len(best) == len(choices) else best
        return Completion(
            choices=tuple(self._choice(choice, index) for index, choice in enumerate(kept)),
            prompt_logprobs=self.prompt_logprobs,
            usage=self.usage,
            seed=spec.seed,
            timings=self.delivery.timings,
            warnings=spec.grammar.warnings if spec.grammar else (),
            id=spec.id,
            model=spec.model,
            created=spec.created,
        )

    def partial(self) -> Completion:
        return self.result()

    def _chunks(self, choice: Choice, events: list[TokenEvent], rest: str | None) -> list[CompletionChunk]:
        chunks = [self._chunk(choice, event.text, (event,)) for event in events]
        if rest is not None:
            # The last token and the end come as one chunk.
            text = chunks[-1].text + rest if chunks else rest
            chunks[-1:] = [self._chunk(choice, text, tuple(events[-1:]), last=True)]
        return chunks

    def _chunk(
        self, choice: Choice, text: str, events: tuple[TokenEvent, ...], *, last: bool = False
    ) -> CompletionChunk:
        return CompletionChunk(
            index=choice.index,
            text=text,
            token_ids=tuple(event.token for event in events),
            logprobs=self._logprobs(events) if self.delivery.spec.wants_logprobs else None,
            finish_reason=FINISH_REASONS.get(choice.handle.finish_reason or "") if last else None,
            stop_reason=self._stop_reason(choice) if last else None,
            usage=self.usage if last and self.exhausted else None,
            id=self.delivery.spec.id,
            model=self.delivery.spec.model,
            created=self.delivery.spec.created,
        )

    def _choice(self, choice: Choice, index: int) -> CompletionChoice:
        return CompletionChoice(
            index=index,
            text="".join(choice.texts),
            token_ids=tuple(event.token for event in choice.events),
            finish_reason=FINISH_REASONS.get(choice.handle.finish_reason or ""),
            stop_reason=self._stop_reason(choice),
            logprobs=self._logprobs(tuple(choice.events)) if self.delivery.spec.wants_logprobs else None,
            grammar=self.delivery.spec.grammar,
        )

    def _stop_reason(self, choice: Choice) -> str | int | None:
        if choice.handle.finish_reason != "stop":
            return None
        match choice.handle.stop:
            case int(index):
                return self.delivery.spec.stops[index]
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
        tokenizer = self.delivery.tokenizer
        return tokenizer.token_bytes(token) if tokenizer is not None and token < tokenizer.n_vocab else b""


def _mean_logprob(choice: Choice) -> float:
    values = [event.logprob for event in choice.events]
    return sum(values) / len(values) if values else -math.inf


class CompletionStream(ResultStream[Completion, CompletionChunk]):
    """Chunks of a completion as they come. ``text`` is what choice 0 has said so far, ``result()`` the whole."""

    def __init__(self, handle: RequestHandle[Completion, CompletionChunk] | Later[Completion, CompletionChunk]) -> None:
        super().__init__(handle, lambda chunk: "" if chunk.index else chunk.text, lambda completion: completion.text)
