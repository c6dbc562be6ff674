"""Paths that are no routes, and the route that was meant."""

from __future__ import annotations

import time

import pytest

from oxillama.asgi.operations import OPERATIONS
from oxillama.asgi.suggestion import _OTHER_NAMES, MAX_LENGTH, suggested

ROUTES = [operation.path for operation in OPERATIONS if "{" not in operation.path]


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        # Without the version, or with it twice.
        ("/chat/completions", "/v1/chat/completions"),
        ("/completions", "/v1/completions"),
        ("/models", "/v1/models"),
        ("/models/demo", "/v1/models"),
        ("/embeddings", "/v1/embeddings"),
        ("/responses", "/v1/responses"),
        ("/v1/v1/chat/completions", "/v1/chat/completions"),
        ("/v1/v1/models", "/v1/models"),
        ("/v1/tokenize", "/tokenize"),
        ("/v1/health", "/health"),
        # Below a prefix that a proxy should have cut off, or that is there twice.
        ("/api/v1/chat/completions", "/v1/chat/completions"),
        ("/openai/v1/embeddings", "/v1/embeddings"),
        ("/openai/deployments/gpt/chat/completions", "/v1/chat/completions"),
        ("/v1/engines/gpt/completions", "/v1/completions"),
        # Other programs' names.
        ("/api/chat", "/v1/chat/completions"),
        ("/api/generate", "/v1/completions"),
        ("/api/embed", "/v1/embeddings"),
        ("/reranking", "/v1/rerank"),
        ("/api/tags", "/v1/models"),
        ("/api/version", "/version"),
        ("/proxy/api/chat", "/v1/chat/completions"),
        ("/completion", "/v1/completions"),
        ("/embedding", "/v1/embeddings"),
        ("/v1/messages", "/v1/chat/completions"),
        ("/v1/messages/count_tokens", "/tokenize"),
        ("/v1/chat", "/v1/chat/completions"),
        ("/healthz", "/health"),
        ("/docs", "/openapi.json"),
        # Slips.
        ("/v1/chat/completion", "/v1/chat/completions"),
        ("/chat/completion", "/v1/chat/completions"),
        ("/v1/completion", "/v1/completions"),
        ("/V1/Chat/Completions", "/v1/chat/completions"),
        ("//v1//chat/completions/", "/v1/chat/completions"),
        ("/v1/chat/completions\n", "/v1/chat/completions"),
        ("/detokenise", "/detokenize"),
    ],
)
def test_a_route_is_suggested(path: str, meant: str) -> None:
    assert suggested(path, ROUTES) == meant


@pytest.mark.parametrize(
    "path", ["/", "", "//", "/nope", "/v1", "/v1/audio/speech", "/favicon.ico", "/.env", "/wp-login.php"]
)
def test_nothing_is_suggested_for_what_is_like_nothing(path: str) -> None:
    assert suggested(path, ROUTES) is None


def test_only_routes_are_suggested() -> None:
    assert set(_OTHER_NAMES.values()) <= set(ROUTES)
    assert not set(_OTHER_NAMES) & set(ROUTES)


def test_a_long_path_costs_nothing() -> None:
    assert suggested("/v1/chat/completions" + "s" * MAX_LENGTH, ROUTES) is None
    started = time.thread_time()
    for letter in "/av":
        suggested(f"/{letter * (MAX_LENGTH - 1)}", ROUTES)
    # A hundredth of that; what a megabyte would take is minutes.
    assert time.thread_time() - started < 1
