"""A chat as it grows: a completion whose text is split into reasoning, content and calls. Nothing here waits."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from oxillama.chat.reply_format import ReplyFormat
from oxillama.requests.completion_builder import CompletionBuilder
from oxillama.requests.delivery import Delivery
from oxillama.requests.reply import Reply, StreamedReply
from oxillama.requests.result_builder import ResultBuilder
from oxillama.requests.stream import Later, ResultStream
from oxillama.results.chat import ChatChoice, ChatCompletion, ChatCompletionChunk, ChatDelta, joined_deltas
from oxillama.results.completion import Completion, CompletionChoice, CompletionChunk, Logprobs, Usage

if TYPE_CHECKING:
    from oxillama.requests.request import RequestHandle


class ChatBuilder(ResultBuilder[ChatCompletion, ChatCompletionChunk]):
    """A conversation that is answered, in one or several choices."""

    def __init__(self, delivery: Delivery, reply_format: ReplyFormat) -> None:
        super().__init__(delivery)
        self._completion = CompletionBuilder(delivery)
        self._format = reply_format
        self._replies: dict[int, StreamedReply] = {}
        self._lock = threading.Lock()

    @property
    def id(self) -> str:
        return f"chat{self.delivery.spec.id}"

    @property
    def exhausted(self) -> bool:
        return self.delivery.exhausted and all(reply.finished for reply in list(self._replies.values()))

    @property
    def usage(self) -> Usage:
        """Counts so far; ``reasoning_tokens`` of what has been taken."""
        reasoning = sum(reply.num_reasoning_tokens for reply in list(self._replies.values()))
        return replace(self.delivery.usage, reasoning_tokens=reasoning)

    @property
    def prompt_logprobs(self) -> Logprobs | None:
        return self._completion.prompt_logprobs

    def take(self, most: int | None = None) -> list[ChatCompletionChunk]:
        with self._lock:
            chunks = [chunk for part in self._completion.take(most) for chunk in self._chunks(part)]
            if self.delivery.exhausted:
                # What ended early, by a cancel or a deadline, has no last chunk that says so.
                for index, reply in self._replies.items():
                    if not reply.finished and (rest := reply.finish()) != ChatDelta():
                        chunks.append(self._chunk(CompletionChunk(index=index), rest))
            return chunks

    def stream(self, handle: RequestHandle[ChatCompletion, ChatCompletionChunk]) -> ChatStream:
        return ChatStream(handle)

    def result(self) -> ChatCompletion:
        return self._chat(self._completion.result())

    def partial(self) -> ChatCompletion:
        return self.result()

    def _chunks(self, part: CompletionChunk) -> Iterator[ChatCompletionChunk]:
        reply = self._replies.get(part.index)
        if reply is None:
            reply = self._replies[part.index] = StreamedReply(self._format, part.index)
        if not reply.started:
            reply.started = True
            yield self._chunk(CompletionChunk(index=part.index), ChatDelta(role="assistant", content=""))
        delta = reply.push(part.text, part.token_ids)
        if part.finish_reason is None:
            yield self._chunk(part, delta)
            return
        rest = reply.finish()
        bare = replace(part, finish_reason=None, stop_reason=None, usage=None)
        yield self._chunk(bare, joined_deltas([delta, rest]))
        usage = None if part.usage is None else self.usage
        reason = reply.finish_reason(part.finish_reason)
        yield self._chunk(replace(part, token_ids=(), logprobs=None, usage=usage, finish_reason=reason), ChatDelta())

    def _chunk(self, part: CompletionChunk, delta: ChatDelta) -> ChatCompletionChunk:
        return ChatCompletionChunk(
            delta=delta,
            index=part.index,
            token_ids=part.token_ids,
            finish_reason=part.finish_reason,
            stop_reason=part.stop_reason,
            logprobs=part.logprobs,
            usage=part.usage,
            id=self.id,
            model=self.delivery.spec.model,
            created=self.delivery.spec.created,
        )

    def _chat(self, completion: Completion) -> ChatCompletion:
        return ChatCompletion(
            choices=tuple(self._choice(choice) for choice in completion.choices),
            usage=replace(completion.usage, reasoning_tokens=sum(map(self._num_reasoning_tokens, completion.choices))),
            seed=completion.seed,
            timings=completion.timings,
            warnings=completion.warnings,
            id=self.id,
            model=completion.model,
            created=completion.created,
        )

    def _choice(self, choice: CompletionChoice) -> ChatChoice:
        reply = Reply(self._format, choice.index)
        reply.push(choice.text, choice.token_ids)
        message = reply.message()
        if choice.finish_reason == "stop" and not message.tool_calls:
            message = replace(message, grammar=self._format.grammar)
        return ChatChoice(
            index=choice.index,
            message=message,
            token_ids=choice.token_ids,
            finish_reason=reply.finish_reason(choice.finish_reason),
            stop_reason=choice.stop_reason,
            logprobs=choice.logprobs,
        )

    def _num_reasoning_tokens(self, choice: CompletionChoice) -> int:
        if self._format.tags is None:
            return 0
        reply, stream = StreamedReply(self._format, choice.index), self._format.text_stream()
        for token in choice.token_ids:
            reply.push(stream.push(token), (token,))
        return reply.num_reasoning_tokens


class ChatStream(ResultStream[ChatCompletion, ChatCompletionChunk]):
    """Chunks of a chat as they come. ``text`` is what choice 0 has answered so far, without its reasoning, ``result()``
    the whole."""

    def __init__(
        self, handle: RequestHandle[ChatCompletion, ChatCompletionChunk] | Later[ChatCompletion, ChatCompletionChunk]
    ) -> None:
        super().__init__(
            handle, lambda chunk: "" if chunk.index else chunk.delta.content or "", lambda reply: reply.text
        )
