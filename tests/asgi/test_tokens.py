"""Tokenize and detokenize, in both shapes."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient

from oxillama import Engine
from tests.asgi.replies import error_of

TEXT = "Once upon a time, there was a cat."


def test_llama_server_s_shape(client: TestClient, demo: Engine) -> None:
    reply = client.post("/tokenize", json={"content": TEXT}).json()
    assert reply == {"tokens": demo.tokenize(TEXT, add_special=False, parse_special=True)}
    reply = client.post("/tokenize", json={"content": TEXT, "add_special": True}).json()
    assert reply == {"tokens": demo.tokenize(TEXT, add_special=True)}


def test_special_tokens_are_text_if_wanted(client: TestClient, demo: Engine) -> None:
    assert demo.tokenizer is not None
    special = demo.tokenizer.token_bytes(min(demo.tokenizer.eog_ids)).decode()
    as_token = client.post("/tokenize", json={"content": special}).json()["tokens"]
    as_text = client.post("/tokenize", json={"content": special, "parse_special": False}).json()["tokens"]
    assert len(as_token) == 1 < len(as_text)


def test_pieces_are_texts_or_bytes(client: TestClient) -> None:
    tokens = client.post("/tokenize", json={"content": "a é 🦊", "with_pieces": True}).json()["tokens"]
    raw = b"".join(
        piece.encode() if isinstance(piece, str) else bytes(piece) for piece in (token["piece"] for token in tokens)
    )
    assert raw.decode() == "a é 🦊"
    assert any(isinstance(token["piece"], list) for token in tokens)


def test_vllm_s_shape(client: TestClient, demo: Engine) -> None:
    ids = demo.tokenize(TEXT, add_special=True, parse_special=True)
    reply = client.post("/tokenize", json={"model": "demo", "prompt": TEXT}).json()
    assert reply == {"count": len(ids), "max_model_len": demo.n_ctx, "tokens": ids, "token_strs": None}
    body = {"prompt": TEXT, "add_special_tokens": False, "return_token_strs": True}
    reply = client.post("/tokenize", json=body).json()
    assert "".join(reply["token_strs"]) == TEXT


def test_a_conversation_is_tokenized_as_a_chat_is(client: TestClient, demo: Engine) -> None:
    messages = [{"role": "user", "content": "Hello"}]
    for options in ({}, {"add_generation_prompt": False}, {"chat_template_kwargs": {"a": 1}}):
        reply = client.post("/tokenize", json={"messages": messages, **options}).json()
        given: Any = {name.removeprefix("chat_"): value for name, value in options.items()}
        assert reply["tokens"] == demo.tokenize_chat(messages, **given)
        assert reply["count"] == demo.count_tokens(messages, **given)
    error = error_of(client.post("/tokenize", json={"messages": [{"role": "user"}]}), 400)
    assert error["param"] == "messages[0].content"


def test_detokenize_answers_under_both_names(client: TestClient, demo: Engine) -> None:
    ids = demo.tokenize(TEXT, add_special=False)
    assert client.post("/detokenize", json={"tokens": ids}).json() == {"content": TEXT, "prompt": TEXT}
    assert client.post("/detokenize", json={"tokens": []}).json()["content"] == ""


@pytest.mark.parametrize("token", [-1, 1 << 30, 1 << 70])
def test_a_token_outside_the_vocabulary_is_named(client: TestClient, token: int) -> None:
    error = error_of(client.post("/detokenize", json={"tokens": [1, token]}), 400)
    assert error["param"] == "tokens[1]"


@pytest.mark.parametrize("body", [{}, {"content": "a", "prompt": "b"}, {"model": "demo"}])
def test_exactly_one_text_is_needed(client: TestClient, body: dict[str, str]) -> None:
    error_of(client.post("/tokenize", json=body), 400)


def test_an_unknown_model_is_a_404(client: TestClient) -> None:
    body = {"model": "nope", "prompt": "a"}
    assert error_of(client.post("/tokenize", json=body), 404)["code"] == "model_not_found"
