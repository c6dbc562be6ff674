"""Large replies are made beside the event loop and in pieces, and say the same as small ones."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from oxillama import Engine
from oxillama.asgi import create_app, large_replies
from oxillama.asgi.errors import JSONResponse
from oxillama.asgi.large_replies import BLOCK, FEW, VALUES_ON_LOOP, beside, in_pieces
from oxillama.asgi.reply_requests import MOST_TOKENS
from oxillama.requests.completion_builder import CompletionBuilder
from oxillama.results.completion import TokenLogprob
from tests.asgi.events import parse
from tests.asgi.test_loop import spied

SCALARS = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text()
CONTENT = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.lists(st.integers(), min_size=BLOCK + 1),
    max_leaves=20,
)
CHAT = {"messages": [{"role": "user", "content": "hi"}], "ignore_eos": True}


@given(CONTENT)
def test_the_pieces_are_the_json(content: Any) -> None:
    assert bytes(in_pieces(content)) == msgspec.json.encode(content)


@pytest.mark.parametrize("size", [0, 1, BLOCK, BLOCK + 1, 3 * BLOCK, FEW, FEW + 1])
@pytest.mark.parametrize("item", [1, "a", [], {}, {"a": [1, {"b": [2] * 300}]}, [[{}] * 300]])
def test_lists_of_every_length_are(size: int, item: Any) -> None:
    for content in ([item] * size, {"choices": [{"logprobs": {"tokens": (item,) * size}}]}):
        assert bytes(in_pieces(content)) == msgspec.json.encode(content)


def test_only_much_work_gets_a_thread_and_what_it_raises_is_raised() -> None:
    async def run() -> None:
        here = threading.get_ident()
        assert await beside(threading.get_ident, values=VALUES_ON_LOOP) == here
        assert await beside(threading.get_ident, values=VALUES_ON_LOOP + 1) != here
        for values in (1, 10**9):
            with pytest.raises(ZeroDivisionError):
                await beside(lambda: 1 // 0, values=values)

    asyncio.run(run())


def test_not_many_of_them_work_at_once() -> None:
    async def run() -> None:
        lock, running, most = threading.Lock(), 0, 0

        def work() -> None:
            nonlocal running, most
            with lock:
                running += 1
                most = max(most, running)
            threading.Event().wait(0.02)
            with lock:
                running -= 1

        await asyncio.gather(*(beside(work, values=10**9) for _ in range(10)))
        assert most <= large_replies.THREADS

    asyncio.run(run())


# A route, a body with a large reply, and what makes it that must not happen on the loop.
LARGE: list[tuple[str, dict[str, Any], type, str]] = [
    (
        "/v1/completions",
        {"prompt": ["a"] * 3, "n": 4, "max_tokens": 20, "logprobs": 20},
        CompletionBuilder,
        "result",
    ),
    ("/v1/completions", {"prompt": ["a"] * 3, "n": 4, "max_tokens": 20, "logprobs": 20}, JSONResponse, "__init__"),
    (
        "/v1/completions",
        {"prompt": "a", "n": 9, "max_tokens": 300, "ignore_eos": True},
        CompletionBuilder,
        "result",
    ),
    (
        "/v1/chat/completions",
        {**CHAT, "max_tokens": 200, "logprobs": True, "top_logprobs": 20},
        TokenLogprob,
        "to_dict",
    ),
    (
        "/v1/chat/completions",
        {**CHAT, "max_tokens": 200, "logprobs": True, "top_logprobs": 20},
        JSONResponse,
        "__init__",
    ),
    (
        "/v1/completions",
        {"prompt": "hi " * 99, "max_tokens": 0, "echo": True, "logprobs": 20},
        JSONResponse,
        "__init__",
    ),
    ("/v1/embeddings", {"input": ["a"] * 1500}, JSONResponse, "__init__"),
]


@pytest.mark.parametrize(("path", "body", "owner", "name"), LARGE)
def test_a_large_reply_leaves_the_loop_free(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, path: str, body: dict[str, Any], owner: type, name: str
) -> None:
    on_loop = spied(monkeypatch, owner, name)
    assert client.post(path, json=body).status_code == 200
    assert on_loop
    assert not any(on_loop)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/responses", {"input": "hi", "max_output_tokens": 200, "ignore_eos": True, "top_logprobs": 20}),
        (
            "/v1/responses",
            {"input": "hi", "max_output_tokens": 200, "ignore_eos": True, "top_logprobs": 20, "stream": True},
        ),
    ],
)
def test_so_does_the_end_of_a_large_response(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, path: str, body: dict[str, Any]
) -> None:
    from oxillama.asgi.response_events import ResponseBuilder

    on_loop = spied(monkeypatch, ResponseBuilder, "response")
    assert client.post(path, json={**body, "include": ["message.output_text.logprobs"]}).status_code == 200
    assert on_loop.count(True) <= 2, "the two that begin a stream are small"
    assert False in on_loop


def test_what_a_deadline_throws_away_is_not_made_on_the_loop(
    open_long: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = TestClient(create_app(open_long()))
    on_loop = spied(monkeypatch, CompletionBuilder, "result")
    body = {"prompt": "a", "n": 8, "max_tokens": 100_000, "ignore_eos": True, "logprobs": 20, "deadline": 2}
    assert client.post("/v1/completions", json=body).status_code == 504
    assert on_loop
    assert not any(on_loop)


@pytest.mark.parametrize("large", [False, True])
def test_a_reply_is_the_same_wherever_it_is_made(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, large: bool
) -> None:
    bodies = [
        ("/v1/completions", {"prompt": ["One day", "b"], "n": 2, "seed": 1, "echo": True, "logprobs": 3}),
        ("/v1/chat/completions", {**CHAT, "max_tokens": 9, "seed": 1, "n": 2, "logprobs": True, "top_logprobs": 2}),
        ("/v1/embeddings", {"input": ["a", "b"]}),
        ("/tokenize", {"content": "hello there", "with_pieces": True}),
    ]
    plain = [comparable(client.post(path, json=body).json()) for path, body in bodies]
    monkeypatch.setattr(large_replies, "VALUES_ON_LOOP", -1 if large else 10**9)
    assert [comparable(client.post(path, json=body).json()) for path, body in bodies] == plain


def comparable(reply: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in reply.items() if key not in ("id", "created", "timings", "usage")}


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/chat/completions"])
def test_a_stream_takes_late_tokens_in_portions_and_loses_none(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """Its reader is always late here: it looks only when everything is there."""
    sizes = []
    take = CompletionBuilder.take

    def late(self: CompletionBuilder, most: int | None = None) -> Any:
        while not all(handle.finish_reason for handle in self.delivery.handles):
            threading.Event().wait(0.005)
        found = take(self, most)
        sizes.append(len(found))
        return found

    monkeypatch.setattr(CompletionBuilder, "take", late)
    body = {"prompt": "a", "n": 5, "max_tokens": 100, "seed": 3, "ignore_eos": True}
    body |= CHAT if "chat" in path else {}
    if "chat" in path:
        del body["prompt"]
    *events, done = parse(client.post(path, json={**body, "stream": True}).text)
    assert done == "[DONE]"
    assert 0 < max(sizes) <= MOST_TOKENS
    assert sum(sizes) == 500
    whole = client.post(path, json=body).json()["choices"]
    for choice in whole:
        own = [event["choices"][0] for event in events if event["choices"][0]["index"] == choice["index"]]
        texts = [one["delta"].get("content", "") if "chat" in path else one["text"] for one in own]
        assert "".join(texts) == (choice["message"]["content"] if "chat" in path else choice["text"])
        assert [one["finish_reason"] for one in own if one["finish_reason"]] == ["length"]
