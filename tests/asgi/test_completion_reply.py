"""Pieces of a completion in orders that a real engine seldom has."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from types import SimpleNamespace
from typing import Any, cast

from oxillama import Engine, SamplingParams
from oxillama.asgi.completion_reply import CompletionReply, GivenPrompt
from oxillama.results.completion import CompletionChunk, Logprobs, TokenLogprob, Usage
from tests.asgi import events

Chunks = list[tuple[int, CompletionChunk]]


def scores(*texts: str) -> Logprobs:
    entries = (TokenLogprob(token_id=1000, token_bytes=text.encode(), logprob=-1.0) for text in texts)
    return Logprobs(content=tuple(entries))


def chunk(index: int, text: str, *, end: bool = False) -> CompletionChunk:
    return CompletionChunk(index=index, text=text, logprobs=scores(text), finish_reason="stop" if end else None)


class Script:
    """A generation whose chunks come as told; the prompt is scored just before round `scored`."""

    def __init__(self, rounds: list[Chunks], scored: int = 0) -> None:
        self.handle = SimpleNamespace(id="cmpl-1", created=1, prompt_logprobs=None)
        self.usage = Usage(prompt_tokens=2, completion_tokens=4)
        self._rounds = rounds
        self._scored = scored

    async def chunks(self) -> AsyncGenerator[Chunks, None]:
        for number, ready in enumerate(self._rounds):
            if number == self._scored:
                self.handle.prompt_logprobs = scores("Hel", "lo")
            yield ready


def streamed(demo: Engine, script: Script, **params: Any) -> list[dict[str, Any]]:
    async def run() -> str:
        reply = CompletionReply(
            demo,
            cast(Any, script),
            cast(Any, [script.handle]),
            [GivenPrompt("prompt", [1, 2], "Hello" if "prompt_logprobs" in params else None)],
            model="demo",
            params=SamplingParams(**params),
        )
        return b"".join([part async for part in reply.events(include_usage=False)]).decode()

    return cast(list[dict[str, Any]], events.parse(asyncio.run(run())))


def test_a_choice_that_is_quicker_than_the_prompt_s_scores_waits_for_them(demo: Engine) -> None:
    rounds = [[(0, chunk(1, " a"))], [(0, chunk(1, "b")), (0, chunk(0, " c"))], [(0, chunk(0, "d", end=True))]]
    found = streamed(demo, Script(rounds, scored=1), n=2, logprobs=0, prompt_logprobs=0)
    assert events.texts_by_choice(found) == {0: "Hello cd", 1: "Hello ab"}
    first: dict[int, dict[str, Any]] = {}
    for piece in found:
        for choice in piece["choices"]:
            first.setdefault(choice["index"], choice["logprobs"])
    assert first[1]["tokens"] == ["Hel", "lo", " a", "b"]
    assert first[1]["text_offset"] == [0, 3, 5, 7]


def test_a_reader_that_is_late_gets_larger_pieces(demo: Engine) -> None:
    late = [[(0, chunk(0, "a")), (0, chunk(1, "x")), (0, chunk(0, "b")), (0, chunk(0, "c", end=True))]]
    found = streamed(demo, Script(late), n=2, logprobs=0)
    assert [piece["choices"][0]["text"] for piece in found] == ["abc", "x"]
    assert found[0]["choices"][0]["logprobs"]["tokens"] == ["a", "b", "c"]
    assert found[0]["choices"][0]["finish_reason"] == "stop"


def test_pieces_that_say_nothing_are_not_sent(demo: Engine) -> None:
    silent = CompletionChunk(index=0, text="")
    found = streamed(demo, Script([[(0, silent)], [(0, silent), (0, CompletionChunk(index=0, text="a"))]]))
    assert [piece["choices"][0]["text"] for piece in found] == ["a"]
