"""The reply of `/v1/chat/completions`, whole or in pieces."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from dataclasses import replace
from typing import Any

from oxillama.asgi.completion_reply import FINGERPRINT
from oxillama.asgi.generation import Generation
from oxillama.asgi.sse import event
from oxillama.chat_request import ChatHandle
from oxillama.chat_results import ChatCompletion, ChatCompletionChunk, ChatDelta


class ChatReply:
    def __init__(
        self, handle: ChatHandle, generation: Generation[ChatCompletionChunk, ChatCompletion], *, model: str
    ) -> None:
        self._handle = handle
        self._generation = generation
        self._head = {"model": model, "system_fingerprint": FINGERPRINT}

    async def whole(self) -> dict[str, Any]:
        (completion,) = await self._generation.results()
        shape = completion.to_dict() | self._head
        # The engine's own; clients in JavaScript could not read it anyway.
        del shape["seed"]
        return shape

    async def events(self, *, include_usage: bool) -> AsyncGenerator[bytes, None]:
        """The same in pieces: concatenated, the deltas of a choice are its message."""
        extras: dict[str, Any] = {**self._head, **({"usage": None} if include_usage else {})}
        head: dict[str, Any] = {}
        async for ready in self._generation.chunks():
            parts = []
            for chunk in _joined(chunk for _, chunk in ready):
                head = chunk.to_dict() | extras
                if not include_usage:
                    head.pop("usage", None)
                parts.append(event(head))
            yield b"".join(parts)
        if include_usage:
            yield event({**head, "choices": [], "usage": self._handle.usage.to_dict()})


def _joined(chunks: Iterable[ChatCompletionChunk]) -> list[ChatCompletionChunk]:
    """What has come at once with neighbours of one choice joined, and without pieces that say nothing: a reader that is
    late gets fewer and larger pieces."""
    found: list[ChatCompletionChunk] = []
    for chunk in chunks:
        if chunk.finish_reason is None and chunk.delta == _NOTHING and chunk.logprobs is None:
            continue
        last = found[-1] if found else None
        if last is None or last.index != chunk.index or not (_is_plain(last) and _is_plain(chunk)):
            found.append(chunk)
        else:
            found[-1] = _join(last, chunk)
    return found


_NOTHING = ChatDelta()


def _is_plain(chunk: ChatCompletionChunk) -> bool:
    return chunk.finish_reason is None and chunk.delta.role is None


def _join(first: ChatCompletionChunk, second: ChatCompletionChunk) -> ChatCompletionChunk:
    delta = ChatDelta(
        content=_text(first.delta.content, second.delta.content),
        reasoning_content=_text(first.delta.reasoning_content, second.delta.reasoning_content),
    )
    logprobs = second.logprobs
    if first.logprobs and second.logprobs:
        logprobs = replace(first.logprobs, content=first.logprobs.content + second.logprobs.content)
    return replace(second, delta=delta, logprobs=logprobs)


def _text(first: str | None, second: str | None) -> str | None:
    return None if first is None and second is None else (first or "") + (second or "")
