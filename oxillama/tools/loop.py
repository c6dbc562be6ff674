"""Conversations that go on by themselves: the model calls tools, is told their results, and at last answers."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self, TypeAlias

import anyio
import anyio.to_thread

from oxillama.chat.messages import AnyMessage
from oxillama.errors import InvalidRequestError
from oxillama.requests.chat import ChatHandle
from oxillama.requests.chat_builder import ChatStream
from oxillama.results.chat import ChatCompletion, ChatCompletionChunk, ToolCall
from oxillama.tools.calling import bound_arguments, failure_text, is_async, result_text
from oxillama.tools.definitions import Tool, ToolSet, tool_set
from oxillama.values import integer

if TYPE_CHECKING:
    from oxillama.engine import Engine

MAX_ROUNDS = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class ToolEvent:
    """Something that happened in a round. "chunk": a piece of a reply. "reply": the whole of it. "call": a tool is
    about to be called. "result": what it gave, as the text that the model is told; ``failed`` where it raised."""

    kind: Literal["chunk", "reply", "call", "result"]
    round: int
    chunk: ChatCompletionChunk | None = None
    reply: ChatCompletion | None = None
    call: ToolCall | None = None
    text: str = ""
    failed: bool = False


class _Ask(NamedTuple):
    """A round is to be asked for."""

    round: int


class _Call(NamedTuple):
    """A call is to be carried out."""

    call: ToolCall
    tool: Tool


_Step: TypeAlias = ToolEvent | _Ask | _Call


class _Rounds:
    """What both ways to run share: the conversation as it grows, and who is to be called."""

    def __init__(
        self,
        engine: Engine,
        messages: Iterable[AnyMessage],
        tools: Sequence[object],
        max_rounds: int,
        options: dict[str, Any],
    ) -> None:
        self._engine = engine
        self._tools: ToolSet = tool_set(tools)
        if not self._tools:
            raise InvalidRequestError("run_tools needs tools", param="tools")
        if options.get("n", 1) != 1:
            raise InvalidRequestError("run_tools goes on with one choice, so n must be 1", param="n")
        self._max_rounds = integer("max_rounds", max_rounds, 1, MAX_ROUNDS)
        self._options = options
        self.messages: list[AnyMessage] = list(messages)
        self.reply: ChatCompletion | None = None

    def _round_options(self, number: int) -> dict[str, Any]:
        # What must be called was called in the first round; to demand it again would never end.
        return {**self._options, **({} if number == 0 else {"tool_choice": "auto"}), "tools": self._tools}

    def _take(self, reply: ChatCompletion) -> list[tuple[ToolCall, Tool]]:
        """Notes a reply. The calls to carry out; none where the loop ends."""
        self.reply = reply
        self.messages.append(reply.message)
        found = [(call, self._tools.get(call.name)) for call in reply.tool_calls]
        if reply.finish_reason != "tool_calls":
            return []
        if any(tool is None or tool.function is None for _, tool in found):
            return []  # the caller's to carry out
        return [(call, tool) for call, tool in found if tool is not None]

    def _rounds(self) -> Generator[_Step, Any, None]:
        """The events of all rounds, and between them what is wished for: the reply to what has been said so far, and
        what became of a call, as text and whether it failed."""
        for number in range(self._max_rounds):
            reply: ChatCompletion = yield _Ask(number)
            calls = self._take(reply)
            yield ToolEvent(kind="reply", round=number, reply=reply)
            for call, tool in calls:
                yield ToolEvent(kind="call", round=number, call=call)
                text, failed = yield _Call(call, tool)
                self.messages.append({"role": "tool", "tool_call_id": call.id, "content": text})
                yield ToolEvent(kind="result", round=number, call=call, text=text, failed=failed)
            if not calls:
                return


class ToolRun(_Rounds):
    """Iterate it for events, or ask for the ``result()``: the last reply. ``messages``: the history with all replies
    and results so far. Leaving it (``close()``, ``with``, or dropping it) cancels what is running."""

    def __init__(
        self,
        engine: Engine,
        messages: Iterable[AnyMessage],
        tools: Sequence[object],
        max_rounds: int,
        options: dict[str, Any],
    ) -> None:
        super().__init__(engine, messages, tools, max_rounds, options)
        self._steps = self._run()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> ToolEvent:
        return next(self._steps)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the run. May be called again."""
        self._steps.close()

    def result(self) -> ChatCompletion:
        """Runs to the end. The last reply; it asks for calls still where max_rounds ended the run, or where it calls a
        tool that was given without a function."""
        for _ in self:
            pass
        assert self.reply is not None
        return self.reply

    def _run(self) -> Generator[ToolEvent, None, None]:
        rounds = self._rounds()
        given: ChatCompletion | tuple[str, bool] | None = None
        while (step := _next(rounds, given)) is not None:
            given = None
            match step:
                case _Ask(number):
                    handle: ChatHandle = self._engine.submit_chat(self.messages, **self._round_options(number))
                    with ChatStream(handle) as stream:
                        for chunk in stream:
                            yield ToolEvent(kind="chunk", round=number, chunk=chunk)
                        given = handle.result()
                case _Call(call, tool):
                    given = _carried_out(tool, call)
                case _:
                    yield step


class AsyncToolRun(_Rounds):
    """The same under asyncio and trio: `async for`, `await run.result()`, `async with`."""

    def __init__(
        self,
        engine: Engine,
        messages: Iterable[AnyMessage],
        tools: Sequence[object],
        max_rounds: int,
        options: dict[str, Any],
    ) -> None:
        super().__init__(engine, messages, tools, max_rounds, options)
        self._steps = self._run()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ToolEvent:
        return await anext(self._steps)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Ends the run. May be called again."""
        await self._steps.aclose()

    async def result(self) -> ChatCompletion:
        """As ToolRun's."""
        async for _ in self:
            pass
        assert self.reply is not None
        return self.reply

    async def _run(self) -> AsyncGenerator[ToolEvent, None]:
        rounds = self._rounds()
        given: ChatCompletion | tuple[str, bool] | None = None
        while (step := _next(rounds, given)) is not None:
            given = None
            match step:
                case _Ask(number):
                    handle = await self._engine.asubmit_chat(self.messages, **self._round_options(number))
                    async with ChatStream(handle) as stream:
                        async for chunk in stream:
                            yield ToolEvent(kind="chunk", round=number, chunk=chunk)
                        given = await handle.aresult()
                case _Call(call, tool):
                    given = await _acarried_out(tool, call)
                case _:
                    yield step


def _next(rounds: Generator[_Step, Any, None], given: object) -> _Step | None:
    """What comes next, now that the last wish has been fulfilled; None at the end."""
    try:
        return rounds.send(given)
    except StopIteration:
        return None


def _carried_out(tool: Tool, call: ToolCall) -> tuple[str, bool]:
    function = tool.function
    assert function is not None
    try:
        work = partial(function, **bound_arguments(tool, call))
        return result_text(anyio.run(work) if is_async(function) else work()), False
    except Exception as error:
        return failure_text(error), True


async def _acarried_out(tool: Tool, call: ToolCall) -> tuple[str, bool]:
    function = tool.function
    assert function is not None
    try:
        work = partial(function, **bound_arguments(tool, call))
        if is_async(function):
            return result_text(await work()), False
        return result_text(await anyio.to_thread.run_sync(work, abandon_on_cancel=True)), False
    except Exception as error:
        return failure_text(error), True
