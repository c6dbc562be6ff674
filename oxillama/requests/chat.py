"""A submitted chat as an app holds it."""

from __future__ import annotations

from typing import Self

from oxillama.requests.request import RequestHandle
from oxillama.results.chat import ChatCompletion, ChatCompletionChunk


class ChatHandle(RequestHandle[ChatCompletion, ChatCompletionChunk]):
    """A chat on its way: a request whose chunks and whose ``result()`` are a conversation's."""

    @property
    def request(self) -> Self:
        """The handle itself, by the name that it had when a chat stood around a request."""
        return self
