"""Large bodies are worked on beside the event loop, so that nobody else waits for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient

from oxillama.asgi.embeddings import EmbeddingsRequest
from oxillama.asgi.errors import JSONResponse
from oxillama.asgi.response_input import InputMessages
from oxillama.conversation import Conversation
from oxillama.engine import Engine
from oxillama.tokenizer import Tokenizer

WORDS = "word " * 4000
HI = [{"role": "user", "content": "hi"}]
PARTS = [{"role": "user", "content": [{"type": "text", "text": ""}] * 1000}]

# Per route, where its time goes, and a body that takes a lot of it by means of another field than the obvious one too.
WORK: list[tuple[str, type, str, dict[str, Any]]] = [
    ("/v1/completions", Tokenizer, "encode", {"prompt": WORDS}),
    ("/v1/completions", Tokenizer, "encode", {"prompt": ["word " * 50] * 200, "max_tokens": 1}),
    ("/v1/completions", Engine, "prepare", {"prompt": [5] * 10_000}),
    ("/v1/completions", Tokenizer, "decode", {"prompt": [5] * 10_000, "echo": True}),
    ("/v1/embeddings", Engine, "prepare_embedding", {"input": WORDS}),
    ("/v1/embeddings", Engine, "prepare_embedding", {"input": [5] * 10_000}),
    ("/v1/embeddings", EmbeddingsRequest, "prompts", {"input": [5] * 10_000}),
    ("/v1/chat/completions", Conversation, "prompt", {"messages": PARTS, "max_tokens": 1}),
    (
        "/v1/chat/completions",
        Conversation,
        "prompt",
        {"messages": HI, "chat_template_kwargs": {"a": [1] * 10_000}, "max_tokens": 1},
    ),
    ("/v1/responses", InputMessages, "__init__", {"input": PARTS, "max_output_tokens": 1}),
    ("/v1/responses", Conversation, "prompt", {"input": PARTS, "max_output_tokens": 1}),
    ("/apply-template", Conversation, "prompt", {"messages": HI, "tools": [{"type": "a", "b": [1] * 10_000}]}),
    ("/tokenize", Tokenizer, "encode", {"content": WORDS}),
    ("/tokenize", Tokenizer, "token_bytes", {"content": WORDS, "with_pieces": True}),
    ("/tokenize", JSONResponse, "__init__", {"content": WORDS}),
    ("/tokenize", Conversation, "prompt", {"messages": PARTS}),
    ("/detokenize", Tokenizer, "decode", {"tokens": [5] * 10_000}),
]


@pytest.mark.parametrize(("path", "owner", "name", "body"), WORK)
def test_a_large_body_leaves_the_loop_free(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, path: str, owner: type, name: str, body: dict[str, Any]
) -> None:
    on_loop = spied(monkeypatch, owner, name)
    client.post(path, json=body)
    assert on_loop
    assert not any(on_loop)


def test_a_small_body_is_not_worth_a_thread(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    on_loop = spied(monkeypatch, Conversation, "prompt")
    assert client.post("/v1/chat/completions", json={"messages": HI, "max_tokens": 1}).status_code == 200
    assert on_loop == [True]


def spied(monkeypatch: pytest.MonkeyPatch, owner: type, name: str) -> list[bool]:
    """Of each call of a method from now on, whether an event loop had to wait for it."""
    method: Callable[..., Any] = getattr(owner, name)
    calls = []

    def spy(*args: Any, **kwargs: Any) -> Any:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            calls.append(False)
        else:
            calls.append(True)
        return method(*args, **kwargs)

    monkeypatch.setattr(owner, name, spy)
    return calls
