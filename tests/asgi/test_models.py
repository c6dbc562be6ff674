"""Names of the model: its own, aliases, any."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from oxillama import Engine
from oxillama.asgi import create_app
from tests.asgi.replies import error_of


def test_the_file_s_name_is_the_model_s(client: TestClient, demo: Engine) -> None:
    listed = client.get("/v1/models").json()
    assert listed["object"] == "list"
    assert [model["id"] for model in listed["data"]] == ["demo"]
    model = client.get("/v1/models/demo").json()
    assert model == listed["data"][0]
    assert model["object"] == "model"
    assert model["max_model_len"] == demo.n_ctx
    assert isinstance(model["created"], int)


def test_names_can_be_chosen(demo: Engine) -> None:
    client = TestClient(create_app(demo, model_name="org/story", model_aliases=["gpt-4o", "org/story"]))
    assert [model["id"] for model in client.get("/v1/models").json()["data"]] == ["org/story", "gpt-4o"]
    assert client.get("/v1/models/org/story").json()["parent"] is None
    assert client.get("/v1/models/gpt-4o").json()["parent"] == "org/story"
    error_of(client.get("/v1/models/demo"), 404)


def test_the_star_accepts_any_name(demo: Engine) -> None:
    client = TestClient(create_app(demo, model_aliases="*"))
    assert [model["id"] for model in client.get("/v1/models").json()["data"]] == ["demo"]
    assert client.get("/v1/models/whatever").status_code == 200


@pytest.mark.parametrize("name", ["nope", "Demo", "demo//", "demo%00", "%F0%9F%A6%8A"])
def test_an_unknown_model_is_a_404(client: TestClient, name: str) -> None:
    error = error_of(client.get(f"/v1/models/{name}"), 404)
    assert (error["code"], error["param"]) == ("model_not_found", "model")
