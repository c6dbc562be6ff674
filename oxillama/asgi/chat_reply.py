"""The reply of `/v1/chat/completions`, whole or in pieces."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from oxillama.asgi.completion_reply import FINGERPRINT
from oxillama.asgi.errors import JSONResponse
from oxillama.asgi.large_replies import json_reply
from oxillama.asgi.reply_requests import ReplyRequests
from oxillama.asgi.sse import Envelope, event
from oxillama.requests.chat import ChatHandle
from oxillama.results.chat import ChatCompletion, ChatCompletionChunk, ChatDelta, joined_deltas


class ChatReply:
    def __init__(
        self, handle: ChatHandle, requests: ReplyRequests[ChatCompletionChunk, ChatCompletion], *, model: str
    ) -> None:
        self._handle = handle
        self._requests = requests
        self._head = {"model": model, "system_fingerprint": FINGERPRINT}

    async def whole(self) -> JSONResponse:
        def build(completions: list[ChatCompletion]) -> JSONResponse:
            (completion,) = completions
            shape = completion.to_dict() | self._head
            # The engine's own; clients in JavaScript could not read it anyway.
            del shape["seed"]
            return json_reply(shape, values=self._requests.num_values)

        return await self._requests.results(build)

    async def events(self, *, include_usage: bool) -> AsyncGenerator[bytes, None]:
        """The same in pieces: concatenated, the deltas of a choice are its message."""
        head: dict[str, Any] = {
            "id": self._handle.id,
            "object": "chat.completion.chunk",
            "created": self._handle.request.created,
            **self._head,
        }
        envelope = Envelope({**head, "usage": None} if include_usage else head)
        # Closed with this generator, whose own end may be that of its reader.
        async with aclosing(self._requests.chunks()) as arrivals:
            async for ready in arrivals:
                chunks = _joined(chunk for _, chunk in ready)
                yield b"".join([envelope.event(chunk.choice_dict()) for chunk in chunks])
        if include_usage:
            cost = {"usage": self._handle.usage.to_dict(), "timings": self._handle.timings.to_dict()}
            yield event({**head, "choices": [], **cost})


def _joined(chunks: Iterable[ChatCompletionChunk]) -> list[ChatCompletionChunk]:
    """What has come at once with neighbours of one choice joined, and without pieces that say nothing: a reader that is
    late gets fewer and larger pieces."""
    groups: list[list[ChatCompletionChunk]] = []
    for chunk in chunks:
        if chunk.finish_reason is None and chunk.logprobs is None and chunk.delta == _NOTHING:
            continue
        last = groups[-1][-1] if groups else None
        if last is not None and last.index == chunk.index and _is_plain(last) and _is_plain(chunk):
            groups[-1].append(chunk)
        else:
            groups.append([chunk])
    return [group[0] if len(group) == 1 else _join(group) for group in groups]


_NOTHING = ChatDelta()


def _is_plain(chunk: ChatCompletionChunk) -> bool:
    return chunk.finish_reason is None and chunk.delta.role is None


def _join(group: list[ChatCompletionChunk]) -> ChatCompletionChunk:
    delta = joined_deltas(chunk.delta for chunk in group)
    first = group[0].logprobs
    entries = [entry for chunk in group if chunk.logprobs for entry in chunk.logprobs.content]
    return replace(group[-1], delta=delta, logprobs=first and replace(first, content=tuple(entries)))
