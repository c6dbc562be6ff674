"""How a chat's reply is to be read: what the caller asked for, and what the model's text is split by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from oxillama._core.output.vocab import TokenTable
from oxillama.chat.conversation import ChatPrompt, Conversation
from oxillama.chat.messages import checked_tools
from oxillama.chat.reasoning import ReasoningSplitter, ThinkTags
from oxillama.errors import InvalidRequestError
from oxillama.sampling.params import SamplingParams
from oxillama.structured.grammar import Grammar
from oxillama.structured.response_format import ResponseFormat, response_grammar
from oxillama.structured.thinking import after_thinking

ReasoningFormat = Literal["auto", "none"]


@dataclass(frozen=True)
class ReplyFormat:
    """How a reply's text is read. ``tags`` None: all of it is content. ``thinking``: the prompt has opened them.
    ``grammar``: what makes a value of the content."""

    tags: ThinkTags | None
    thinking: bool
    table: TokenTable
    stops: tuple[str, ...]
    grammar: Grammar | None = None

    def splitter(self) -> ReasoningSplitter:
        return ReasoningSplitter(self.tags, thinking=self.thinking)


@dataclass(frozen=True)
class ReplyOptions:
    """What a caller wants of a reply, as `Engine.prepare_chat` tells it."""

    tools: object
    response_format: ResponseFormat
    reasoning_format: ReasoningFormat
    grammar: Grammar | None = field(init=False)

    def __post_init__(self) -> None:
        if checked_tools(self.tools):
            raise InvalidRequestError("tools are not supported yet", param="tools")
        object.__setattr__(self, "grammar", response_grammar(self.response_format))
        if self.reasoning_format not in ("auto", "none"):
            raise InvalidRequestError("reasoning_format must be 'auto' or 'none'", param="reasoning_format")

    def format(
        self, conversation: Conversation, prompt: ChatPrompt, *, stops: Sequence[str], grammar: object = None
    ) -> ReplyFormat:
        """How the reply to a prompt of this conversation is read."""
        tags = conversation.think_tags if self.reasoning_format == "auto" else None
        reader = grammar if isinstance(grammar, Grammar) else None
        return ReplyFormat(tags, prompt.thinking, conversation.tokenizer.table, tuple(stops), reader)

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
        """The parameters, whose grammar lets a model think before what it says of the reply."""
        tags, grammar = conversation.think_tags, params.grammar
        if tags is None or not isinstance(grammar, Grammar) or not (prompt.thinking or self.reasoning_format == "auto"):
            return params
        tokenizer = conversation.tokenizer

        def is_control(text: str) -> bool:
            token = tokenizer.find(text.encode())
            return token is not None and tokenizer.is_control(token)

        wrapped = after_thinking(grammar, tags.opening, tags.closing, is_open=prompt.thinking, is_control=is_control)
        return params.replace(grammar=wrapped)
