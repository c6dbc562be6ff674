"""What a conversation is made of, for annotations; what is taken as one is checked in `oxillama.chat.messages`."""

from oxillama.chat.messages import Message

__all__ = ["Message"]
