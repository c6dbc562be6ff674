"""Exceptions as replies: status, type, code, headers, and what is not said."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from starlette.testclient import TestClient

from oxillama import (
    ContextLengthError,
    DeadlineExceeded,
    Engine,
    EngineClosedError,
    EngineForkedError,
    GrammarError,
    InvalidRequestError,
    NumericalError,
    QueueFullError,
    RequestCancelled,
    UnsupportedModelError,
)
from oxillama.asgi import create_app
from oxillama.asgi.errors import ErrorsToReplies, http_error, too_many
from oxillama.asgi.request_log import RequestRecord
from oxillama.gguf import GGUFFile
from oxillama.gguf_writer import GGUFWriter
from oxillama.testing.tiny_models import TinyModel
from tests.asgi.replies import error_of


@pytest.mark.parametrize(
    ("error", "status", "type", "code"),
    [
        (InvalidRequestError("no", param="n"), 400, "invalid_request_error", None),
        (GrammarError("no", param="grammar", code="x"), 400, "invalid_request_error", "x"),
        (UnsupportedModelError("no"), 501, "not_supported_error", "not_supported"),
        (QueueFullError("full", retry_after=2.5), 429, "rate_limit_error", "queue_full"),
        (DeadlineExceeded(), 504, "timeout_error", "deadline_exceeded"),
        (EngineClosedError("closed"), 503, "unavailable_error", "engine_closed"),
        (EngineForkedError("forked"), 503, "unavailable_error", "forked"),
        (RequestCancelled(), 503, "unavailable_error", "cancelled"),
        (NumericalError("NaN in layer 3"), 500, "server_error", "numerical_error"),
        (MemoryError("secret"), 500, "server_error", "internal_error"),
        (KeyError("secret"), 500, "server_error", "internal_error"),
    ],
)
def test_an_exception_s_reply(error: Exception, status: int, type: str, code: str | None) -> None:
    reply = http_error(error)
    assert (reply.status, reply.type, reply.code) == (status, type, code)
    body = json.loads(bytes(reply.to_response().body))
    assert set(body["error"]) == {"message", "type", "param", "code"}
    if status == 500:
        assert "secret" not in str(body)
        assert "layer" not in str(body)


def test_too_long_is_said_in_the_words_that_clients_look_for() -> None:
    reply = http_error(ContextLengthError("long", n_prompt_tokens=700, n_ctx=512))
    error = reply.to_dict()["error"]
    assert reply.status == 400
    assert error["type"] == "exceed_context_size_error"
    assert error["code"] == "context_length_exceeded"
    assert (error["n_prompt_tokens"], error["n_ctx"]) == (700, 512)
    assert "exceeds the available context size" in error["message"]
    assert "maximum context length" in error["message"]


@pytest.mark.parametrize(
    ("seconds", "header", "ms"), [(0.0, "1", "1"), (0.25, "1", "250"), (2.5, "3", "2500"), (1e9, "120", "120000")]
)
def test_when_to_come_back(seconds: float, header: str, ms: str) -> None:
    headers = too_many("x", code="queue_full", retry_after=seconds).headers
    assert (headers["retry-after"], headers["retry-after-ms"]) == (header, ms)


def test_a_model_that_makes_no_numbers_is_not_asked_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "nan.gguf"
    nan_model(path)
    with Engine(path, n_threads=1, progress=False) as engine, TestClient(create_app(engine)) as client:
        body: dict[str, Any] = {"prompt": [1, 50], "max_tokens": 2}
        reply = client.post("/v1/completions", json=body)
        error = error_of(reply, 500)
        assert (error["code"], error["param"]) == ("numerical_error", None)
        assert reply.headers["x-should-retry"] == "false"
        assert "NaN or infinite logits" in caplog.text
        assert "Traceback" not in caplog.text
        streamed = client.post("/v1/completions", json={**body, "stream": True})
        assert '"code":"numerical_error"' in streamed.text
        assert "[DONE]" not in streamed.text
        # Other requests are served.
        assert client.post("/v1/completions", json={"prompt": [1, 2], "max_tokens": 2}).status_code == 200


def nan_model(path: Path) -> None:
    """A model with one token whose embedding is NaN."""
    plain = path.with_suffix(".plain")
    TinyModel().write(plain)
    with GGUFFile(plain) as found, GGUFWriter(path) as writer:
        for key in found.metadata:
            writer.add_raw(key, *found.metadata.raw(key))
        for name, tensor in found.tensors.items():
            data = tensor.data.view(np.float32).reshape(tensor.shape[::-1]).copy()
            if name == "token_embd.weight":
                data[50] = np.nan
            writer.add_tensor(name, data)


def test_a_reply_that_breaks_off_does_not_look_whole() -> None:
    sent: list[Any] = []

    async def breaks_off(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise KeyError("secret")

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "oxillama.record": RequestRecord(id="x", method="POST", path="/")}
    # The server learns of it, and cuts the connection instead of ending the body.
    with pytest.raises(KeyError):
        asyncio.run(ErrorsToReplies(breaks_off)(scope, cast(Any, None), send))
    assert [message.get("more_body") for message in sent] == [None, True]
