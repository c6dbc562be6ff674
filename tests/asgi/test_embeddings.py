"""Embeddings over HTTP equal the engine's own, in every form of input and of output."""

from __future__ import annotations

import base64
import http.client
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from starlette.testclient import TestClient

from oxillama import Engine
from oxillama.asgi import Limits, create_app
from oxillama.asgi.request_log import RequestRecord
from tests.asgi.replies import error_of
from tests.asgi.servers import running
from tests.patience import eventually

TEXTS = ["Once upon a time", "The little fox", "a"]


def embed(client: TestClient, **body: Any) -> dict[str, Any]:
    reply = client.post("/v1/embeddings", json=body)
    assert reply.status_code == 200, reply.text
    found: dict[str, Any] = reply.json()
    return found


def rows(reply: dict[str, Any]) -> npt.NDArray[np.float32]:
    assert [item["index"] for item in reply["data"]] == list(range(len(reply["data"])))
    assert {item["object"] for item in reply["data"]} == {"embedding"}
    return np.array([item["embedding"] for item in reply["data"]], dtype=np.float32)


def test_a_text(client: TestClient, demo: Engine) -> None:
    reply = embed(client, input=TEXTS[0], model="demo")
    assert np.array_equal(rows(reply), demo.embed(TEXTS[0]))
    num_tokens = len(demo.tokenize(TEXTS[0]))
    assert reply["usage"] == {"prompt_tokens": num_tokens, "total_tokens": num_tokens}
    assert reply["model"] == "demo"
    assert reply["object"] == "list"


def test_every_form_of_input(client: TestClient, demo: Engine) -> None:
    ids = [demo.tokenize(text) for text in TEXTS]
    expected = demo.embed(TEXTS)
    assert np.array_equal(rows(embed(client, input=TEXTS)), expected)
    assert np.array_equal(rows(embed(client, input=ids)), expected)
    assert np.array_equal(rows(embed(client, input=ids[1])), expected[1:2])


def test_base64_is_little_endian_float32(client: TestClient, demo: Engine) -> None:
    reply = embed(client, input=TEXTS, encoding_format="base64")
    decoded = np.stack([np.frombuffer(base64.b64decode(item["embedding"]), "<f4") for item in reply["data"]])
    assert np.array_equal(decoded, demo.embed(TEXTS))


def test_dimensions_pooling_and_length(client: TestClient, demo: Engine) -> None:
    reply = embed(client, input=TEXTS, dimensions=8, pooling="last", normalize=False)
    assert np.array_equal(rows(reply), demo.embed(TEXTS, dimensions=8, pooling="last", normalize=False))


def test_more_inputs_than_fit_a_batch(client: TestClient, demo: Engine) -> None:
    texts = [f"{text} {number}" for number in range(30) for text in TEXTS]
    assert len(texts) > demo.max_batch_size
    assert np.array_equal(rows(embed(client, input=texts)), demo.embed(texts))


def test_a_reply_that_is_written_in_a_thread(client: TestClient, demo: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oxillama.asgi.large_replies.VALUES_ON_LOOP", 0)
    assert np.array_equal(rows(embed(client, input=TEXTS)), demo.embed(TEXTS))


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "input"),
        ({"input": None}, "input"),
        ({"input": []}, "input"),
        ({"input": [[]]}, "input"),
        ({"input": [[5], []]}, "input[1]"),
        ({"input": ["a", 5]}, "input[1]"),
        ({"input": [5, "a"]}, "input[0]"),
        ({"input": [[5], "a"]}, "input[1]"),
        ({"input": [1 << 40]}, "input"),
        ({"input": [[1], [-1]]}, "input[1]"),
        ({"input": [1.5]}, "input[0]"),
        ({"input": "a", "dimensions": 0}, "dimensions"),
        ({"input": "a", "dimensions": 1 << 20}, "dimensions"),
        ({"input": "a", "encoding_format": "hex"}, "encoding_format"),
        ({"input": "a", "pooling": "none"}, "pooling"),
        ({"input": "a", "nope": 1}, "nope"),
    ],
)
def test_what_is_wrong_is_named(client: TestClient, body: dict[str, Any], param: str) -> None:
    assert error_of(client.post("/v1/embeddings", json=body), 400)["param"] == param


def test_an_input_longer_than_the_context_is_told_with_its_counts(client: TestClient, demo: Engine) -> None:
    ids = [5] * (demo.n_ctx + 1)
    error = error_of(client.post("/v1/embeddings", json={"input": [[5], ids]}), 400)
    assert (error["code"], error["param"]) == ("context_length_exceeded", "input[1]")
    assert (error["n_prompt_tokens"], error["n_ctx"]) == (len(ids), demo.n_ctx)


def test_the_number_of_inputs_is_limited(demo: Engine) -> None:
    client = TestClient(create_app(demo, limits=Limits(max_inputs=2)))
    assert len(embed(client, input=["a", "b"])["data"]) == 2
    assert error_of(client.post("/v1/embeddings", json={"input": ["a", "b", "c"]}), 400)["param"] == "input"


def test_counts_reach_the_record(demo: Engine) -> None:
    app = create_app(demo)
    records: list[RequestRecord] = []
    app.state.service.observers.append(records.append)
    reply = embed(TestClient(app), input=TEXTS)
    (record,) = records
    assert sum(usage.prompt_tokens for usage in record.usages) == reply["usage"]["prompt_tokens"]
    assert len(record.timings) == len(TEXTS)
    assert record.model == "demo"


def test_a_client_that_leaves_frees_the_engine(open_long: Callable[..., Engine]) -> None:
    engine = open_long(max_batch_size=2)
    body = {"input": [list(range(5, 250)) * 400] * 8}
    with running(create_app(engine)) as server:
        connection = http.client.HTTPConnection(server.host, server.port, timeout=30)
        connection.request("POST", "/v1/embeddings", json.dumps(body), {"content-type": "application/json"})
        eventually(lambda: engine.stats().running > 0)
        connection.close()
        eventually(lambda: engine.stats().running + engine.stats().waiting + engine.stats().queue_depth == 0)
        assert engine.stats().prompt_tokens < sum(map(len, body["input"]))
