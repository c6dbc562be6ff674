"""Several engines behind one app: whose turn it is by name, what each can do, and what is told of each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from oxillama import Engine, InvalidRequestError
from oxillama.asgi import ModelRegistry, ServedModel, create_app
from tests.asgi.replies import error_of
from tests.tiny_encoder import TinyEncoder

CHAT = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 1}
ADMIN = {"authorization": "Bearer admin"}


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    path: Path = tmp_path_factory.mktemp("several") / "encoder.gguf"
    TinyEncoder().write(path)
    with Engine(path, n_threads=1, progress=False) as engine:
        yield engine


@pytest.fixture(scope="module")
def ranker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    path: Path = tmp_path_factory.mktemp("several") / "ranker.gguf"
    TinyEncoder(labels=1, has_pooler=True).write(path)
    with Engine(path, n_threads=1, progress=False) as engine:
        yield engine


@pytest.fixture(scope="module")
def several(demo: Engine, encoder: Engine, ranker: Engine) -> TestClient:
    models: dict[str, Engine | ServedModel] = {
        "chat": demo,
        "embed": ServedModel(encoder, aliases=["text-embedding-3-small"]),
        "rank": ranker,
    }
    return TestClient(create_app(models, admin_token="admin"), raise_server_exceptions=False)


def test_the_name_says_which(several: TestClient, demo: Engine, encoder: Engine) -> None:
    assert several.post("/v1/chat/completions", json={"model": "chat", **CHAT}).json()["model"] == "chat"
    for name in ("embed", "text-embedding-3-small"):
        reply = several.post("/v1/embeddings", json={"model": name, "input": "the fox"}).json()
        assert reply["model"] == "embed"
        assert reply["data"][0]["embedding"] == encoder.embed("the fox")[0].tolist()
    ids = several.post("/tokenize", json={"model": "chat", "content": "fox"}).json()["tokens"]
    assert ids == demo.tokenize("fox", add_special=False)
    assert several.get("/props", params={"model": "embed"}).json()["architecture"] == "bert"


def test_without_a_name_the_one_that_can_answers(several: TestClient) -> None:
    assert several.post("/v1/chat/completions", json=CHAT).json()["model"] == "chat"
    # The chat model could make vectors too, but the encoder does nothing else.
    assert several.post("/v1/embeddings", json={"input": "the fox"}).json()["model"] == "embed"
    assert several.post("/v1/rerank", json={"query": "fox", "documents": ["a"]}).json()["model"] == "rank"


@pytest.mark.parametrize(
    ("path", "body", "able"),
    [
        ("/v1/chat/completions", {"model": "embed", **CHAT}, "chat"),
        ("/v1/completions", {"model": "rank", "prompt": "a"}, "chat"),
        ("/v1/responses", {"model": "embed", "input": "a"}, "chat"),
        ("/v1/rerank", {"model": "embed", "query": "a", "documents": ["b"]}, "rank"),
        ("/v1/rerank", {"model": "chat", "query": "a", "documents": ["b"]}, "rank"),
    ],
)
def test_the_wrong_kind_says_which_models_can(
    several: TestClient, path: str, body: dict[str, object], able: str
) -> None:
    error = error_of(several.post(path, json=body), 400)
    assert (error["param"], error["code"]) == ("model", "model_cannot")
    assert error["message"].endswith(f"models that can: {able}")


def test_an_unknown_name_is_a_404(several: TestClient) -> None:
    error = error_of(several.post("/v1/embeddings", json={"model": "nope", "input": "a"}), 404)
    assert error["code"] == "model_not_found"


def test_each_is_listed_and_told_of(several: TestClient) -> None:
    listed = {model["id"]: model for model in several.get("/v1/models").json()["data"]}
    assert list(listed) == ["chat", "embed", "text-embedding-3-small", "rank"]
    assert listed["text-embedding-3-small"]["parent"] == "embed"
    assert listed["chat"]["meta"]["capabilities"] == ["embed", "generate"]
    assert listed["rank"]["meta"]["capabilities"] == ["embed", "rerank"]
    assert several.get("/health").json()["models"] == dict.fromkeys(("chat", "embed", "rank"), "ready")
    figures = several.get("/admin/stats", headers=ADMIN).json()["models"]
    assert {name: model["engine"]["architecture"] for name, model in figures.items()} == {
        "chat": "llama",
        "embed": "bert",
        "rank": "bert",
    }
    metrics = several.get("/metrics").text
    for name in ("chat", "embed", "rank"):
        assert f'oxillama_engine_ready{{model_name="{name}"}} 1.0' in metrics
        assert f'oxillama_prompt_tokens_total{{model_name="{name}"}}' in metrics


def test_one_that_is_not_there_keeps_the_app_from_being_ready(demo: Engine) -> None:
    async def never() -> Engine:
        raise OSError("no model today")

    with TestClient(create_app({"chat": demo, "embed": never})) as client:
        error = error_of(client.get("/readyz"), 503)
        assert "embed" in error["message"]
        # The others serve meanwhile; a request that only the missing one may serve is told that it is missing.
        assert client.post("/v1/chat/completions", json=CHAT).status_code == 200
        error_of(client.post("/v1/embeddings", json={"model": "embed", "input": "a"}), 503)
        # Nobody knows whether it could rank.
        error_of(client.post("/v1/rerank", json={"query": "a", "documents": ["b"]}), 503)


def test_a_registry_grows_while_the_app_serves(demo: Engine, encoder: Engine) -> None:
    models = ModelRegistry({"chat": demo})
    client = TestClient(create_app(models))
    error_of(client.post("/v1/embeddings", json={"model": "embed", "input": "a"}), 404)
    models.add("embed", encoder)
    assert client.post("/v1/embeddings", json={"model": "embed", "input": "a"}).status_code == 200


def test_names_that_cannot_be_told_apart_are_refused(demo: Engine, encoder: Engine) -> None:
    models = ModelRegistry({"chat": demo})
    with pytest.raises(InvalidRequestError, match="no other model has"):
        models.add("embed", encoder, aliases=["chat"])
    with pytest.raises(InvalidRequestError, match="names of their own"):
        create_app({"chat": demo}, model_name="other")
    with pytest.raises(InvalidRequestError, match="at least one model"):
        create_app({})
    with pytest.raises(InvalidRequestError):
        ServedModel(demo, name="")


def test_a_model_may_take_any_name(demo: Engine, encoder: Engine) -> None:
    models: dict[str, Engine | ServedModel] = {"chat": ServedModel(demo, aliases="*"), "embed": encoder}
    client = TestClient(create_app(models))
    assert client.post("/v1/chat/completions", json={"model": "gpt-4o", **CHAT}).json()["model"] == "chat"
    assert client.post("/v1/embeddings", json={"model": "embed", "input": "a"}).json()["model"] == "embed"
