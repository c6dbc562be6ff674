"""The text that a client expects a reply to follow, in OpenAI's shape."""

from __future__ import annotations

from typing import Literal

import msgspec

MEANING = "`{type: content, content}`, a text or text parts that the reply is expected to follow; it changes no reply"


class PredictedPart(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    type: Literal["text"]
    text: str


class Prediction(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    type: Literal["content"]
    content: str | list[PredictedPart]

    @property
    def text(self) -> str:
        return self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)
