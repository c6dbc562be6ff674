"""A submitted chat as an app holds it: a request's handle whose text is split into reasoning, content and calls."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from oxillama._core.output.text_stream import TextStream
from oxillama.chat.reply_format import ReplyFormat
from oxillama.errors import DeadlineExceeded, RequestCancelled
from oxillama.requests.reply import Reply, StreamedReply
from oxillama.requests.request import RequestHandle
from oxillama.requests.stream import Later, ResultStream
from oxillama.results.chat import ChatChoice, ChatCompletion, ChatCompletionChunk, ChatDelta, joined_deltas
from oxillama.results.completion import Completion, CompletionChoice, CompletionChunk, Timings, Usage


class ChatHandle:
    """A chat on its way. Iterate it for chunks, synchronously or asynchronously, or ask for the whole ``result()``.

    A handle keeps its engine alive; dropping it cancels the request. Threads may share it, and tasks
    of one event loop."""

    def __init__(self, request: RequestHandle, reply_format: ReplyFormat) -> None:
        self._request = request
        self._format = reply_format
        self._replies: dict[int, StreamedReply] = {}
        self._lock = threading.Lock()

    @property
    def id(self) -> str:
        return f"chat{self._request.id}"

    @property
    def request(self) -> RequestHandle:
        """The request under it: the same text, not yet split."""
        return self._request

    @property
    def discards_choices(self) -> bool:
        return self._request.discards_choices

    @property
    def seed(self) -> int:
        """Repeats the request: the same messages and parameters with this seed give the same tokens."""
        return self._request.seed

    @property
    def done(self) -> bool:
        return self._request.done

    @property
    def usage(self) -> Usage:
        """Counts so far; ``reasoning_tokens`` of what has been taken."""
        reasoning = sum(reply.num_reasoning_tokens for reply in list(self._replies.values()))
        return replace(self._request.usage, reasoning_tokens=reasoning)

    @property
    def num_values(self) -> int:
        """As RequestHandle's."""
        return self._request.num_values

    @property
    def timings(self) -> Timings:
        return self._request.timings

    @property
    def exhausted(self) -> bool:
        """Everything has been taken."""
        return self._request.exhausted and all(reply.finished for reply in list(self._replies.values()))

    def try_enter(self) -> bool:
        with self._partial_as_chat():
            return self._request.try_enter()

    def enter(self) -> None:
        with self._partial_as_chat():
            self._request.enter()

    async def aenter(self) -> None:
        with self._partial_as_chat():
            await self._request.aenter()

    def cancel(self) -> None:
        """Ends the request within one step. Waiting callers get RequestCancelled. May be called again."""
        self._request.cancel()

    def result(self, timeout: float | None = None) -> ChatCompletion:
        """Waits for the whole reply. TimeoutError after `timeout` seconds leaves the request running."""
        with self._partial_as_chat():
            return self._chat(self._request.result(timeout))

    async def aresult(self) -> ChatCompletion:
        """Waits for the whole reply. A cancelled wait leaves the request running."""
        with self._partial_as_chat():
            return self._chat(await self._request.aresult())

    def take(self, most: int | None = None) -> list[ChatCompletionChunk]:
        """The chunks that have come since the last call, of at most so many tokens, without waiting."""
        with self._lock:
            chunks = [chunk for piece in self._request.take(most) for chunk in self._chunks(piece)]
            if self._request.exhausted:
                # What ended early, by a cancel or a deadline, has no last piece that says so.
                for index, reply in self._replies.items():
                    if not reply.finished and (rest := reply.finish()) != ChatDelta():
                        chunks.append(self._chunk(CompletionChunk(index=index), rest))
            return chunks

    def arrivals(self) -> list[tuple[int, int]]:
        """(choice, number of tokens) of what has come since the last call. It is part of the result only."""
        return self._request.arrivals()

    def raise_for_end(self) -> None:
        """Raises what ended the request, if it was not its natural end."""
        with self._partial_as_chat():
            self._request.raise_for_end()

    def wait_news(self, seconds: float) -> None:
        self._request.wait_news(seconds)

    async def await_news(self) -> None:
        await self._request.await_news()

    def __iter__(self) -> ChatStream:
        return ChatStream(self)

    def __aiter__(self) -> ChatStream:
        return ChatStream(self)

    def __repr__(self) -> str:
        return f"<ChatHandle {self.id}: {'done' if self.done else 'running'}, {self.usage.completion_tokens} tokens>"

    def _chunks(self, piece: CompletionChunk) -> Iterator[ChatCompletionChunk]:
        reply = self._replies.get(piece.index)
        if reply is None:
            reply = self._replies[piece.index] = StreamedReply(self._format, piece.index)
        if not reply.started:
            reply.started = True
            yield self._chunk(CompletionChunk(index=piece.index), ChatDelta(role="assistant", content=""))
        delta = reply.push(piece.text, piece.token_ids)
        if piece.finish_reason is None:
            yield self._chunk(piece, delta)
            return
        rest = reply.finish()
        bare = replace(piece, finish_reason=None, stop_reason=None, usage=None)
        yield self._chunk(bare, joined_deltas([delta, rest]))
        usage = None if piece.usage is None else self.usage
        reason = reply.finish_reason(piece.finish_reason)
        yield self._chunk(replace(piece, token_ids=(), logprobs=None, usage=usage, finish_reason=reason), ChatDelta())

    def _chunk(self, piece: CompletionChunk, delta: ChatDelta) -> ChatCompletionChunk:
        return ChatCompletionChunk(
            delta=delta,
            index=piece.index,
            token_ids=piece.token_ids,
            finish_reason=piece.finish_reason,
            stop_reason=piece.stop_reason,
            logprobs=piece.logprobs,
            usage=piece.usage,
            id=self.id,
            model=self._request.model,
            created=self._request.created,
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
        reply, stream = StreamedReply(self._format, choice.index), TextStream(self._format.table, self._format.stops)
        for token in choice.token_ids:
            reply.push(stream.push(token), (token,))
        return reply.num_reasoning_tokens

    @contextmanager
    def _partial_as_chat(self) -> Iterator[None]:
        try:
            yield
        except (RequestCancelled, DeadlineExceeded) as error:
            if isinstance(error.partial, Completion):
                error.partial = self._chat(error.partial)
            raise


class ChatStream(ResultStream[ChatHandle, ChatCompletionChunk, ChatCompletion]):
    """Chunks of a chat as they come. ``text`` is what choice 0 has answered so far, without its reasoning, ``result()``
    the whole."""

    def __init__(self, handle: ChatHandle | Later[ChatHandle]) -> None:
        super().__init__(
            handle, lambda chunk: "" if chunk.index else chunk.delta.content or "", lambda reply: reply.text
        )
