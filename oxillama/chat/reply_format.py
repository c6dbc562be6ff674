"""How a chat's reply is to be read: what the caller asked for, and what the model's text is split by."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from oxillama._core.output.text_stream import TextStream
from oxillama._core.output.thinking import ThinkingMarks
from oxillama._core.output.vocab import TokenTable
from oxillama.chat.conversation import ChatPrompt, Conversation
from oxillama.chat.reasoning import ReasoningSplitter, ThinkTags
from oxillama.errors import InvalidRequestError
from oxillama.sampling.params import SamplingParams
from oxillama.structured.grammar import Grammar
from oxillama.structured.response_format import ResponseFormat, response_grammar
from oxillama.structured.thinking import after_thinking
from oxillama.tools.choice import ToolChoice, tool_choice
from oxillama.tools.definitions import ToolSet, tool_set
from oxillama.tools.grammar import CallGrammar
from oxillama.tools.markers import Markers
from oxillama.tools.reader import ReplyReader, ReplyState
from oxillama.tools.syntax import ReplySyntax, pattern
from oxillama.values import refused

ReasoningFormat = Literal["auto", "none"]


@dataclass(frozen=True)
class ReplyFormat:
    """How a reply's text is read. ``tags`` None: all of it is content. ``thinking``: the prompt has opened them.
    ``marks``: of thinking in which ``stops`` do not count. ``grammar``: what makes a value of the content.

    ``syntax`` is there where more than these tags parts a reply: then ``controls`` are the marking control tokens by
    their ids, ``schemas`` the tools that may be called, and ``call_key`` is what their calls' ids are made of, other
    than ``call_ids``, those of the conversation."""

    tags: ThinkTags | None
    thinking: bool
    table: TokenTable
    stops: tuple[str, ...]
    marks: ThinkingMarks | None = None
    grammar: Grammar | None = None
    syntax: ReplySyntax | None = None
    answering: bool = False
    controls: Mapping[int, str] = field(default_factory=dict)
    schemas: Mapping[str, Any] = field(default_factory=dict)
    call_key: str = ""
    call_ids: frozenset[str] = frozenset()

    def splitter(self) -> ReasoningSplitter:
        return ReasoningSplitter(self.tags, thinking=self.thinking)

    def text_stream(self) -> TextStream:
        """As the core makes text of the reply's tokens."""
        return TextStream(self.table, self.stops, thinking=self.marks, is_open=self.thinking)

    def reader(self) -> ReplyReader | None:
        """What reads the parts of a reply; None where its thinking is all that is split off."""
        if self.syntax is None:
            return None
        return ReplyReader(
            self.syntax,
            self.schemas,
            ReplyState(self.thinking, self.answering),
            markers=Markers(frozenset(self.controls.values())),
            split_thinking=self.tags is not None,
        )


class ReplyOptions:
    """What a caller wants of a reply, as `Engine.prepare_chat` tells it. Raises InvalidRequestError."""

    def __init__(
        self,
        tools: object,
        response_format: ResponseFormat,
        reasoning_format: ReasoningFormat,
        choice: object = None,
        parallel_tool_calls: bool | None = None,
    ) -> None:
        self.tools: ToolSet = tools if isinstance(tools, ToolSet) else tool_set(tools)
        self.choice: ToolChoice = tool_choice(choice, self.tools)
        if parallel_tool_calls is not None and not isinstance(parallel_tool_calls, bool):
            raise refused("parallel_tool_calls", "True, False or None", parallel_tool_calls)
        self.parallel: bool = parallel_tool_calls is not False
        self.response_format = response_format
        self.grammar: Grammar | None = response_grammar(response_format)
        if reasoning_format not in ("auto", "none"):
            raise InvalidRequestError("reasoning_format must be 'auto' or 'none'", param="reasoning_format")
        self.reasoning_format: ReasoningFormat = reasoning_format

    @property
    def shown_tools(self) -> ToolSet | None:
        """The tools that the model is told of."""
        return self.tools if self.tools and self.choice.mode != "none" else None

    def format(
        self,
        conversation: Conversation,
        prompt: ChatPrompt,
        *,
        params: SamplingParams,
        seed: int = 0,
    ) -> ReplyFormat:
        """How the reply to a prompt of this conversation is read. ``params``: what it was asked for with."""
        tags = conversation.think_tags if self.reasoning_format == "auto" else None
        table = conversation.tokenizer.table
        asked = self.grammar if self.choice.tools else params.grammar
        value = asked if isinstance(asked, Grammar) else None
        syntax = conversation.tool_syntax if self.choice.tools else conversation.parting
        marks = conversation.thinking(prompt, tools=bool(self.choice.tools)).silent(params)
        stops = tuple(params.stop)
        if syntax is None:
            return ReplyFormat(tags, prompt.thinking, table, stops, marks, value)
        return ReplyFormat(
            tags,
            prompt.thinking,
            table,
            stops,
            marks,
            value,
            syntax=syntax,
            answering=prompt.answering,
            controls={token: text for text, token in _controls(conversation, syntax).items()},
            schemas=self.choice.tools.schemas,
            call_key=f"{seed}/{_checksum(prompt.ids)}",
            call_ids=prompt.call_ids,
        )

    def own_name(self, param: str | None) -> str | None:
        """What a chat's caller calls a parameter of the request under it."""
        shaped = self.response_format is not None
        return {"prompt": "messages", "grammar": "response_format" if shaped else "grammar"}.get(param or "", param)

    def held(self, params: SamplingParams) -> SamplingParams:
        """The parameters with the grammar of `response_format`. Raises InvalidRequestError where there are two."""
        if self.grammar is None:
            return params
        if params.grammar is not None:
            raise InvalidRequestError(
                "response_format and grammar both say what the reply looks like", param="response_format"
            )
        return params.replace(grammar=self.grammar)

    def after_thinking(self, params: SamplingParams, conversation: Conversation, prompt: ChatPrompt) -> SamplingParams:
        """The parameters, whose grammar lets a model think before what it says of the reply, and call tools."""
        if self.choice.tools and (calls := self._calls(params, conversation, prompt)) is not None:
            return params.replace(grammar=calls)
        if self.tools and self.choice.mode == "none" and (opening := _opening_token(conversation)) is not None:
            params = params.replace(banned_tokens=(*params.banned_tokens, opening))
        tags, grammar = conversation.think_tags, params.grammar
        if tags is None or not isinstance(grammar, Grammar) or not (prompt.thinking or self.reasoning_format == "auto"):
            return params
        tokenizer = conversation.tokenizer

        def control_id(text: str) -> int | None:
            token = tokenizer.find(text.encode())
            return token if token is not None and tokenizer.is_control(token) else None

        wrapped = after_thinking(grammar, tags.opening, tags.closing, is_open=prompt.thinking, control_id=control_id)
        return params.replace(grammar=wrapped)

    def _calls(self, params: SamplingParams, conversation: Conversation, prompt: ChatPrompt) -> Grammar | None:
        """What holds the reply to the calls that are asked for; None where nothing does."""
        syntax, other = conversation.tool_syntax, params.grammar
        state = ReplyState(prompt.thinking, prompt.answering)
        controls = _controls(conversation, syntax)
        writer = CallGrammar(syntax, self.choice, state, controls, parallel=self.parallel, other=other)
        text = writer.text()
        return None if text is None else Grammar.lark(text)


def _controls(conversation: Conversation, syntax: ReplySyntax) -> dict[str, int]:
    """The ids of the control tokens that stand in a syntax's markers, by their texts."""
    tokenizer = conversation.tokenizer
    found = {text: tokenizer.find(text.encode()) for text in Markers.of(syntax, tokenizer.control_texts()).controls}
    return {text: token for text, token in found.items() if token is not None}


def _opening_token(conversation: Conversation) -> int | None:
    """The control token that begins a call and nothing else, if there is one."""
    syntax = conversation.tool_syntax
    opening = syntax.section_open or pattern(syntax.head)[0][0]
    others = "\n".join([syntax.think_open, syntax.think_close, *syntax.answer_open, *syntax.answer_close, *syntax.ends])
    controls = _controls(conversation, syntax)
    found = (token for text, token in controls.items() if opening.startswith(text) and text not in others)
    return next(found, None)


def _checksum(ids: Sequence[int]) -> int:
    return zlib.crc32(b"".join(token.to_bytes(4, "little") for token in ids))
