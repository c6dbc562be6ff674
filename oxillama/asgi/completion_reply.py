"""The reply of `/v1/completions`, whole or in pieces: both are made of the same choices."""

from __future__ import annotations

import importlib.metadata
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeAlias

from oxillama.asgi.errors import JSONResponse
from oxillama.asgi.large_replies import beside, json_reply
from oxillama.asgi.logprobs import LogprobLists
from oxillama.asgi.reply_requests import ReplyRequests
from oxillama.asgi.sse import Envelope, event
from oxillama.engine import Engine
from oxillama.requests.request import RequestHandle
from oxillama.results.completion import Completion, CompletionChoice, CompletionChunk, TokenLogprob
from oxillama.sampling.params import MAX_LOGPROBS, SamplingParams

# A prompt's number, and what has come of one of its choices.
Group: TypeAlias = tuple[int, list[CompletionChunk]]
FINGERPRINT = f"oxillama-{importlib.metadata.version('oxillama-engine')}"


@dataclass(frozen=True)
class GivenPrompt:
    """Where it stood in the request, its token ids, and the text to repeat before the completion, if it is wanted."""

    place: str
    ids: list[int] = field(repr=False)
    echo: str | None = field(repr=False)


class CompletionReply:
    def __init__(
        self,
        engine: Engine,
        requests: ReplyRequests[CompletionChunk, Completion],
        handles: list[RequestHandle],
        prompts: list[GivenPrompt],
        *,
        model: str,
        params: SamplingParams,
    ) -> None:
        self._engine = engine
        self._requests = requests
        self._handles = handles
        self._prompts = prompts
        self._params = params
        self._choices: dict[int, list[_Choice]] = {}
        first = handles[0]
        self._head = {
            "id": first.id,
            "object": "text_completion",
            "created": first.created,
            "model": model,
            "system_fingerprint": FINGERPRINT,
        }

    async def whole(self) -> JSONResponse:
        def build(completions: list[Completion]) -> JSONResponse:
            found = [
                choice.push(piece)
                for number, completion in enumerate(completions)
                for choice, piece in zip(self._begin(number) or (), completion.choices, strict=True)
            ]
            shape = {**self._head, "choices": found, "usage": self._requests.usage.to_dict()}
            if len(completions) == 1:
                shape["timings"] = completions[0].timings.to_dict()
            return json_reply(shape, values=self._requests.num_values)

        return await self._requests.results(build)

    async def events(self, *, include_usage: bool) -> AsyncGenerator[bytes, None]:
        """The same in pieces: concatenated, the texts of a choice are its text."""
        envelope = Envelope({**self._head, "usage": None} if include_usage else self._head)
        held: list[tuple[int, CompletionChunk]] = []
        # Closed with this generator, whose own end may be that of its reader.
        async with aclosing(self._requests.chunks()) as arrivals:
            async for ready in arrivals:
                groups, held = _by_choice([*held, *ready]), []

                def write(groups: list[Group], held: list[tuple[int, CompletionChunk]]) -> bytes:
                    parts = []
                    for number, chunks in groups:
                        choices = self._begin(number)
                        if choices is None:
                            held += [(number, chunk) for chunk in chunks]
                            continue
                        piece = choices[chunks[0].index].push(_joined(chunks))
                        if piece["text"] or piece["logprobs"] or piece["finish_reason"]:
                            parts.append(envelope.event(piece))
                    return b"".join(parts)

                yield await beside(partial(write, groups, held), values=self._num_first_values(groups))
        if include_usage:
            yield event({**self._head, "choices": [], "usage": self._requests.usage.to_dict()})

    def _num_first_values(self, groups: list[Group]) -> int:
        """How many values of prompts go out with these pieces: the whole prompt with the first of each choice."""
        if self._params.prompt_logprobs is None:
            return 0
        new = [number for number, chunks in groups if not self._has_begun(number, chunks[0].index)]
        return sum(len(self._prompts[number].ids) for number in new) * (1 + MAX_LOGPROBS)

    def _has_begun(self, number: int, index: int) -> bool:
        choices = self._choices.get(number)
        return choices is not None and choices[index].has_begun

    def _begin(self, number: int) -> list[_Choice] | None:
        """The choices of a prompt, or None as long as what they begin with is not known: one choice scores the prompt
        for all, and another may be quicker."""
        if number not in self._choices:
            prompt, n = self._prompts[number], self._params.n
            entries: tuple[TokenLogprob, ...] = ()
            if self._params.prompt_logprobs is not None:
                scores = self._handles[number].prompt_logprobs
                if scores is None:
                    return None
                entries = scores.content
            self._choices[number] = [_Choice(number * n + index, prompt, entries, self._engine) for index in range(n)]
        return self._choices[number]


class _Choice:
    """One choice as it is written: the echoed prompt comes with its first piece."""

    def __init__(self, index: int, prompt: GivenPrompt, entries: tuple[TokenLogprob, ...], engine: Engine) -> None:
        self._index = index
        self.has_begun = False
        self._echo = prompt.echo or ""
        self._entries = entries
        tokenizer = engine.tokenizer
        is_control = tokenizer.is_control if tokenizer else lambda token: False
        self._lists = LogprobLists(is_control, end_of_prompt=len(self._echo), prompt=entries)

    def push(self, piece: CompletionChoice | CompletionChunk) -> dict[str, Any]:
        self.has_begun = True
        text, entries = self._echo + piece.text, self._entries
        self._echo, self._entries = "", ()
        logprobs = None if piece.logprobs is None else self._lists.push([*entries, *piece.logprobs.content])
        return {
            "index": self._index,
            "text": text,
            "logprobs": logprobs,
            "finish_reason": piece.finish_reason,
            "stop_reason": piece.stop_reason,
        }


def _by_choice(ready: Iterable[tuple[int, CompletionChunk]]) -> list[Group]:
    """What has come at once, choice by choice: a reader that is late gets fewer and larger pieces."""
    groups: dict[tuple[int, int], list[CompletionChunk]] = {}
    for request, chunk in ready:
        groups.setdefault((request, chunk.index), []).append(chunk)
    return [(request, chunks) for (request, _), chunks in groups.items()]


def _joined(chunks: list[CompletionChunk]) -> CompletionChunk:
    last = chunks[-1]
    if len(chunks) == 1:
        return last
    logprobs = last.logprobs and replace(
        last.logprobs, content=tuple(entry for chunk in chunks if chunk.logprobs for entry in chunk.logprobs.content)
    )
    return replace(last, text="".join(chunk.text for chunk in chunks), logprobs=logprobs)
