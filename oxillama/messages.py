"""What a conversation is made of, for annotations; what is taken as one is checked in `oxillama.chat.messages`."""

from oxillama.chat.messages import (
    AnyMessage,
    AssistantMessage,
    FunctionCall,
    Message,
    SystemMessage,
    TextPart,
    ToolCall,
    ToolMessage,
    UserMessage,
)

__all__ = [
    "AnyMessage",
    "AssistantMessage",
    "FunctionCall",
    "Message",
    "SystemMessage",
    "TextPart",
    "ToolCall",
    "ToolMessage",
    "UserMessage",
]
