"""How a chat's reply is to be read: what the caller asked for, and what the model's text is split by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from oxillama._core.output.vocab import TokenTable
from oxillama.chat.conversation import ChatPrompt, Conversation
from oxillama.chat.messages import checked_tools
from oxillama.chat.reasoning import ReasoningSplitter, ThinkTags
from oxillama.errors import GrammarError, InvalidRequestError
from oxillama.values import refused

ReasoningFormat = Literal["auto", "none"]


@dataclass(frozen=True)
class ReplyFormat:
    """How a reply's text is read. ``tags`` None: all of it is content. ``thinking``: the prompt has opened them."""

    tags: ThinkTags | None
    thinking: bool
    table: TokenTable
    stops: tuple[str, ...]

    def splitter(self) -> ReasoningSplitter:
        return ReasoningSplitter(self.tags, thinking=self.thinking)


@dataclass(frozen=True)
class ReplyOptions:
    """What a caller wants of a reply, as `Engine.prepare_chat` tells it."""

    tools: object
    response_format: Mapping[str, Any] | None
    reasoning_format: ReasoningFormat

    def __post_init__(self) -> None:
        if checked_tools(self.tools):
            raise InvalidRequestError("tools are not supported yet", param="tools")
        self._check_response_format()
        if self.reasoning_format not in ("auto", "none"):
            raise InvalidRequestError("reasoning_format must be 'auto' or 'none'", param="reasoning_format")

    def format(self, conversation: Conversation, prompt: ChatPrompt, *, stops: Sequence[str]) -> ReplyFormat:
        """How the reply to a prompt of this conversation is read."""
        tags = conversation.think_tags if self.reasoning_format == "auto" else None
        return ReplyFormat(tags, prompt.thinking, conversation.tokenizer.table, tuple(stops))

    def _check_response_format(self) -> None:
        shape = self.response_format
        if shape is None:
            return
        if not isinstance(shape, Mapping) or not isinstance(shape.get("type"), str):
            raise refused("response_format", "an object with a `type`, or None", shape)
        if shape["type"] != "text":
            raise GrammarError("only a response_format of type 'text' is supported yet", param="response_format")
