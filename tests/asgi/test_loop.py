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
from oxillama.chat.conversation import Conversation
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
    ("/apply-template", Conversation, "text", {"messages": HI, "tools": [{"type": "a", "b": [1] * 10_000}]}),
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


def test_a_small_text_is_not_worth_a_thread(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    on_loop = spied(monkeypatch, Engine, "prepare")
    assert client.post("/v1/completions", json={"prompt": "hi", "max_tokens": 1}).status_code == 200
    assert on_loop == [True]


def test_no_template_is_rendered_on_the_loop(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    # However little was said: a template decides by itself how long it takes.
    on_loop = spied(monkeypatch, Conversation, "_render")
    for path, name in (
        ("/v1/chat/completions", "messages"),
        ("/v1/responses", "input"),
        ("/apply-template", "messages"),
        ("/tokenize", "messages"),
    ):
        assert client.post(path, json={name: HI}).status_code == 200
    assert on_loop == [False] * 4


LONG = "some words " * 20_000
CANNOT_FIT: list[tuple[str, dict[str, Any], str]] = [
    ("/v1/completions", {"prompt": LONG}, "prompt"),
    ("/v1/completions", {"prompt": ["a", LONG]}, "prompt[1]"),
    ("/v1/chat/completions", {"messages": [{"role": "user", "content": LONG}]}, "messages"),
    ("/v1/responses", {"input": LONG}, "input"),
    ("/v1/embeddings", {"input": LONG}, "input"),
]


@pytest.mark.parametrize(("path", "body", "param"), CANNOT_FIT)
def test_what_cannot_fit_is_refused_by_its_bytes(
    client: TestClient, demo: Engine, monkeypatch: pytest.MonkeyPatch, path: str, body: dict[str, Any], param: str
) -> None:
    assert demo.tokenizer is not None
    longest = 0
    encoder, _ = demo.tokenizer._text_encoder()
    encode = type(encoder).encode

    def noting(self: Any, text: str, *, after_special: bool) -> list[int]:
        nonlocal longest
        longest = max(longest, len(text))
        return encode(self, text, after_special=after_special)

    monkeypatch.setattr(type(encoder), "encode", noting)
    reply = client.post(path, json=body)
    error = reply.json()["error"]
    assert (reply.status_code, error["code"], error["param"]) == (400, "context_length_exceeded", param)
    assert "at least" in error["message"]
    assert error["n_prompt_tokens"] > error["n_ctx"] == 512
    assert longest < 1000


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
