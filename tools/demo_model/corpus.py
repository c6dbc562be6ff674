"""Turns stories and chats into training documents, reproducibly: document i depends on the seed and on i only."""

from __future__ import annotations

import random
from collections.abc import Iterator

from .chat import Message, write_chat
from .stories import write_story

SEED = 20240229
CHAT_SHARE = 0.5

ROLE_TOKENS = {role: f"<|{role}|>" for role in ("system", "user", "assistant")}
END_TOKEN = "<|end|>"
CONTROL_TOKENS = (*ROLE_TOKENS.values(), END_TOKEN)

Document = str | list[Message]


def document(index: int, *, seed: int = SEED) -> Document:
    """Document `index`: a story (str) or a chat (list of (role, text))."""
    rng = random.Random(f"{seed}/{index}")
    if rng.random() < CHAT_SHARE:
        return write_chat(rng)
    return write_story(rng).text


def documents(count: int, *, start: int = 0, seed: int = SEED) -> Iterator[Document]:
    """The documents `start` to `start + count - 1`."""
    return (document(index, seed=seed) for index in range(start, start + count))


def plain_texts(item: Document) -> list[str]:
    """The texts of a document without its control tokens: what a tokenizer is trained on."""
    return [item] if isinstance(item, str) else [text for _, text in item]
