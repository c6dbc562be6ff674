"""Adapters over HTTP: chosen by the model's name or by a list, loaded and unloaded under the admin token."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import openai
import pytest
from starlette.testclient import TestClient

from oxillama import Engine
from oxillama.asgi import Limits, create_app
from oxillama.testing.tiny_adapters import TinyAdapter
from oxillama.testing.tiny_models import TinyModel
from tests.asgi.replies import error_of
from tests.asgi.servers import running

ADMIN = {"authorization": "Bearer admin"}
KEY = {"authorization": "Bearer key"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("adapters")
    TinyModel(tokenizer=True, n_ctx=1 << 16).write(root / "base.gguf")
    named = root / "named"
    (named / "inner").mkdir(parents=True)
    for name, seed in (("a", 0), ("b", 1)):
        TinyAdapter.of(root / "base.gguf", seed=seed, strength=2.0).write(named / f"{name}.gguf")
    TinyAdapter.of(root / "base.gguf", seed=2).write(root / "outside.gguf")
    (named / "link.gguf").symlink_to(root / "outside.gguf")
    (named / "inside.gguf").symlink_to(named / "a.gguf")
    (named / "up").symlink_to(root)
    peft = named / "peft"
    peft.mkdir()
    (peft / "adapter_config.json").symlink_to(root / "outside.gguf")
    return root


@pytest.fixture
def engine(folder: Path) -> Iterator[Engine]:
    with Engine(folder / "base.gguf", n_threads=1, progress=False) as engine:
        yield engine


@pytest.fixture
def client(engine: Engine, folder: Path) -> TestClient:
    app = create_app(engine, api_keys=["key"], admin_token="admin", lora_dirs=[str(folder / "named")])
    return TestClient(app, raise_server_exceptions=False)


def text(client: TestClient, **fields: Any) -> str:
    body = {"prompt": "Once", "max_tokens": 12, "temperature": 0, "ignore_eos": True} | fields
    reply = client.post("/v1/completions", json=body, headers=KEY)
    assert reply.status_code == 200, reply.text
    return str(reply.json()["choices"][0]["text"])


def load(client: TestClient, name: str, path: str, **fields: Any) -> Any:
    return client.post("/admin/loras", json={"name": name, "path": path} | fields, headers=ADMIN)


def test_an_adapter_is_chosen_by_model_or_by_list(client: TestClient, engine: Engine) -> None:
    plain = text(client)
    for number, name in enumerate("ab"):
        reply = load(client, name, f"{name}.gguf")
        assert reply.status_code == 201
        assert reply.json()["id"] == number
    applied = text(client, model="a")
    assert (
        applied == text(client, model="base:a") == text(client, lora=[{"id": 0}]) == text(client, lora=[{"name": "a"}])
    )
    assert applied != plain == text(client, lora=[]) == text(client, lora=[{"name": "a", "scale": 0}])
    assert applied == engine.generate("Once", max_tokens=12, temperature=0, ignore_eos=True, lora="a").text
    both = [{"name": "a", "scale": 0.5}, {"id": 1, "scale": 0.25}]
    assert text(client, lora=both) == text(client, lora=both[::-1])
    reply = client.post("/v1/completions", json={"prompt": "x", "model": "a", "max_tokens": 1}, headers=KEY).json()
    assert reply["model"] == "base"
    vectors = [
        client.post("/v1/embeddings", json={"input": "x", **wanted}, headers=KEY).json()["data"][0]["embedding"]
        for wanted in ({}, {"model": "a"}, {"lora": [{"name": "a"}]})
    ]
    assert vectors[0] != vectors[1] == vectors[2]


def test_models_are_listed_with_their_parent(client: TestClient) -> None:
    load(client, "a", "a.gguf")
    found = {model["id"]: model["parent"] for model in client.get("/v1/models", headers=KEY).json()["data"]}
    assert found == {"base": None, "a": "base", "base:a": "base"}
    for name in ("a", "base:a"):
        assert client.get(f"/v1/models/{name}", headers=KEY).json()["parent"] == "base"
    assert error_of(client.get("/v1/models/base:b", headers=KEY), 404)["code"] == "model_not_found"


@pytest.mark.parametrize(
    ("lora", "param"),
    [
        ([{"name": "z"}], "lora[0]"),
        ([{"id": 7}], "lora[0]"),
        ([{}], "lora[0]"),
        ([{"id": 0, "name": "a"}], "lora[0]"),
        ([{"name": "a", "scale": "x"}], "lora[0].scale"),
        ([{"name": "a", "weight": 1}], "lora[0].weight"),
        ([{"name": "a"}] * 65, "lora"),
        ("a", "lora"),
    ],
)
def test_bad_lists_are_refused(client: TestClient, lora: Any, param: str) -> None:
    load(client, "a", "a.gguf")
    reply = client.post("/v1/completions", json={"prompt": "x", "lora": lora}, headers=KEY)
    assert error_of(reply, 400)["param"] == param


def test_loading_and_unloading(client: TestClient, engine: Engine) -> None:
    assert client.get("/admin/loras", headers=ADMIN).json() == {"object": "list", "data": []}
    assert load(client, "a", "a.gguf", scale=0.5).json()["scale"] == 0.5
    assert error_of(load(client, "a", "b.gguf"), 409)["code"] == "adapter_exists"
    assert load(client, "user/b", "b.gguf").status_code == 201
    assert [each["name"] for each in client.get("/admin/loras", headers=ADMIN).json()["data"]] == ["a", "user/b"]
    handle = engine.submit("x", lora="a", ignore_eos=True)
    assert error_of(client.delete("/admin/loras/a", headers=ADMIN), 409)["code"] == "adapter_in_use"
    assert client.delete("/admin/loras/a?force=true", headers=ADMIN).json()["deleted"]
    assert handle.done
    assert client.delete("/admin/loras/user/b?when_idle=true", headers=ADMIN).status_code == 200
    assert error_of(client.delete("/admin/loras?name=a", headers=ADMIN), 404)["code"] == "adapter_not_found"
    assert error_of(client.delete("/admin/loras", headers=ADMIN), 400)["param"] == "name"
    assert error_of(client.delete("/admin/loras/a?force=maybe", headers=ADMIN), 400)["param"] == "force"


@pytest.mark.parametrize(
    "path",
    [
        "../outside.gguf",
        "inner/../../outside.gguf",
        "link.gguf",
        "up/outside.gguf",
        "peft",
        "/etc/passwd",
        "../nothing.gguf",
        "",
        "a.gguf\0",
    ],
)
def test_paths_stay_in_the_named_directories(client: TestClient, folder: Path, path: str) -> None:
    assert error_of(load(client, "a", path), 403)["code"] == "path_not_allowed"
    assert error_of(load(client, "a", str(folder / "outside.gguf")), 403)["code"] == "path_not_allowed"
    assert client.get("/admin/loras", headers=ADMIN).json()["data"] == []
    assert load(client, "a", str(folder / "named" / "a.gguf")).status_code == 201


def test_adapters_of_any_of_several_models(engine: Engine, folder: Path) -> None:
    with Engine(folder / "base.gguf", n_threads=1, progress=False) as other:
        app = create_app({"one": engine, "two": other}, admin_token="admin", lora_dirs=[str(folder / "named")])
        client = TestClient(app, raise_server_exceptions=False)
        assert load(client, "a", "a.gguf", model="two").status_code == 201
        assert load(client, "b", "b.gguf").status_code == 201
        raw = (folder / "outside.gguf").read_bytes()
        headers = ADMIN | {"content-type": "application/octet-stream"}
        assert client.post("/admin/loras?name=c&model=two", content=raw, headers=headers).status_code == 201
        body = {"lora_name": "d", "lora_path": "a.gguf", "model": "two"}
        assert client.post("/v1/load_lora_adapter", json=body, headers=ADMIN).status_code == 200
        assert ([info.name for info in engine.loras], [info.name for info in other.loras]) == (["b"], ["a", "c", "d"])
        listed = client.get("/admin/loras?model=two", headers=ADMIN).json()["data"]
        assert [each["name"] for each in listed] == ["a", "c", "d"]
        assert error_of(client.get("/admin/loras?model=three", headers=ADMIN), 404)["code"] == "model_not_found"
        assert error_of(load(client, "e", "a.gguf", model="three"), 404)["code"] == "model_not_found"
        assert client.delete("/admin/loras/a?model=two", headers=ADMIN).json()["deleted"]
        gone = {"lora_name": "d", "model": "two"}
        assert client.post("/v1/unload_lora_adapter", json=gone, headers=ADMIN).status_code == 200
        assert [info.name for info in other.loras] == ["c"]


def test_a_client_that_leaves_waits_for_no_adapter(client: TestClient, engine: Engine) -> None:
    load(client, "a", "a.gguf")
    handle = engine.submit("x", lora="a", ignore_eos=True)
    sent: list[Any] = []

    async def ask() -> None:
        messages = iter([{"type": "http.request", "body": b"", "more_body": False}, {"type": "http.disconnect"}])

        async def receive() -> Any:
            return next(messages)

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http", "method": "DELETE", "path": "/admin/loras/a", "query_string": b"when_idle=true",
            "headers": [(b"authorization", b"Bearer admin")], "root_path": "", "http_version": "1.1",
        }  # fmt: skip
        with anyio.fail_after(20):
            await client.app(scope, receive, send)

    anyio.run(ask)
    assert not handle.done, "nobody has ended its request"
    assert not engine.loras, "it takes no new ones all the same"
    assert not [message for message in sent if message.get("status") == 200]


def test_a_request_does_not_look_at_every_adapter(
    client: TestClient, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(client, "a", "a.gguf")

    def listed(self: Engine) -> Any:
        raise AssertionError("on the event loop, for each request")

    monkeypatch.setattr(Engine, "loras", property(listed))
    assert text(client, model="a") == text(client, lora=[{"name": "a"}]) == text(client, model="base:a")


def test_without_named_directories_there_are_no_paths(engine: Engine) -> None:
    client = TestClient(create_app(engine, admin_token="admin"), raise_server_exceptions=False)
    assert error_of(load(client, "a", "a.gguf"), 403)["code"] == "no_lora_dirs"


def test_faults_of_files_are_told(client: TestClient, folder: Path) -> None:
    (folder / "named" / "bad.gguf").write_bytes(b"GGUF")
    for name in ("bad.gguf", "missing.gguf"):
        assert error_of(load(client, "z", name), 400)["param"] == "path"


def test_an_adapter_is_sent_as_a_body(engine: Engine, folder: Path) -> None:
    raw = (folder / "outside.gguf").read_bytes()
    app = create_app(engine, admin_token="admin", limits=Limits(max_upload_bytes=len(raw)))
    client = TestClient(app, raise_server_exceptions=False)
    headers = ADMIN | {"content-type": "application/octet-stream"}
    reply = client.post("/admin/loras?name=sent&scale=2", content=raw, headers=headers)
    assert reply.status_code == 201
    assert (engine.loras[0].name, engine.loras[0].scale) == ("sent", 2.0)
    assert reply.json()["path"] == engine.loras[0].path == "uploaded", "and not where it lay for a moment"
    assert error_of(client.post("/admin/loras?name=more", content=raw + b"x", headers=headers), 413)
    chunks = (raw[i : i + 1000] for i in range(0, len(raw) + 1000, 1000))
    assert error_of(client.post("/admin/loras?name=more", content=[*chunks, b"x" * 1000], headers=headers), 413)
    told = error_of(client.post("/admin/loras?name=more", content=b"GGUF", headers=headers), 400)
    assert "/tmp" not in told["message"]
    assert error_of(client.post("/admin/loras", content=raw, headers=headers), 400)["param"] == "name"
    assert [info.name for info in engine.loras] == ["sent"]


def test_vllm_s_routes(client: TestClient, engine: Engine) -> None:
    body = {"lora_name": "a", "lora_path": "a.gguf"}
    assert error_of(client.post("/v1/load_lora_adapter", json=body, headers=KEY), 403)["code"] == "not_admin"
    reply = client.post("/v1/load_lora_adapter", json=body, headers=ADMIN)
    assert reply.status_code == 200
    assert reply.text == "Success: LoRA adapter 'a' added successfully."
    assert [info.name for info in engine.loras] == ["a"]
    unload = client.post("/v1/unload_lora_adapter", json={"lora_name": "a"}, headers=ADMIN)
    assert unload.text == "Success: LoRA adapter 'a' removed successfully."
    assert error_of(client.post("/v1/unload_lora_adapter", json={"lora_name": "a"}, headers=ADMIN), 404)
    outside = {"lora_name": "a", "lora_path": "../outside.gguf"}
    assert error_of(client.post("/v1/load_lora_adapter", json=outside, headers=ADMIN), 403)["param"] == "lora_path"


def test_figures_name_few_adapters(client: TestClient, engine: Engine, folder: Path) -> None:
    for number in range(40):
        engine.load_lora(f"n{number}", folder / "named" / "a.gguf")
        text(client, model=f"n{number}", max_tokens=1)
    lines = client.get("/metrics", headers=KEY).text.splitlines()
    assert 'oxillama_lora_requests_total{adapter="n0"} 1.0' in lines
    assert 'oxillama_lora_requests_total{adapter="others"} 8.0' in lines
    assert sum(line.startswith("oxillama_lora_requests_total") for line in lines) == 33
    assert sum(line.startswith("oxillama_engine_lora_bytes{") for line in lines) == 33


def test_sixty_four_streams_over_eight_adapters(engine: Engine, folder: Path, tmp_path: Path) -> None:
    """OpenAI's client picks adapters by model name; each stream gets what it gets alone."""
    for number in range(8):
        TinyAdapter.of(folder / "base.gguf", seed=number, strength=2.0).write(tmp_path / f"{number}.gguf")
        engine.load_lora(f"voice-{number}", tmp_path / f"{number}.gguf")

    def options(index: int) -> dict[str, Any]:
        return {"max_tokens": 24, "temperature": 0.8, "seed": index}

    alone = [engine.generate(f"Tale {i}", lora=f"voice-{i % 8}", ignore_eos=True, **options(i)).text for i in range(64)]
    assert len(set(alone)) == 64
    found: dict[int, str] = {}
    with running(create_app(engine, api_keys=["key"])) as server:
        client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="key", max_retries=0, timeout=120)

        def stream(index: int) -> None:
            chunks = client.completions.create(
                model=f"voice-{index % 8}",
                prompt=f"Tale {index}",
                stream=True,
                extra_body={"ignore_eos": True},
                **options(index),
            )
            found[index] = "".join(chunk.choices[0].text for chunk in chunks if chunk.choices)

        threads = [threading.Thread(target=stream, args=(i,)) for i in range(64)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        client.close()
    assert [found.get(i) for i in range(64)] == alone
