"""The OpenAPI document: it has every route and every field, and says what is not there yet."""

from __future__ import annotations

from typing import Any

import jsonschema_rs
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount, Route
from starlette.testclient import TestClient

from oxillama import Engine
from oxillama.asgi import create_app
from oxillama.asgi.app import FIELD_TABLES
from oxillama.asgi.operations import OPERATIONS


@pytest.fixture(scope="module")
def document(client: TestClient) -> dict[str, Any]:
    reply = client.get("/openapi.json")
    assert reply.status_code == 200
    found: dict[str, Any] = reply.json()
    return found


def test_every_route_is_told_and_no_other(app: Starlette, document: dict[str, Any]) -> None:
    routes = {
        (route.path.replace(":path}", "}"), method.lower())
        for route in app.routes
        if isinstance(route, Route)
        for method in (route.methods or set()) - {"HEAD"}
    }
    assert routes == {(path, method) for path, item in document["paths"].items() for method in item}


def test_every_table_of_fields_is_told() -> None:
    assert {id(each.fields) for each in OPERATIONS if each.fields} == {id(table) for table in FIELD_TABLES}


@pytest.mark.parametrize("operation", [each for each in OPERATIONS if each.body], ids=lambda each: each.path)
def test_every_field_is_told(document: dict[str, Any], operation: Any) -> None:
    schema = document["components"]["schemas"][operation.body.__name__]
    assert schema["additionalProperties"] is False
    for field in operation.fields.fields.values():
        told = schema["properties"][field.name]
        assert field.why in told["description"]
        assert ("enum" in told) >= (field.status == "refused")
    assert schema["properties"].keys() == operation.fields.fields.keys()


def test_the_schemas_are_schemas(document: dict[str, Any]) -> None:
    for name, schema in document["components"]["schemas"].items():
        try:
            jsonschema_rs.meta.validate({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema})
        except jsonschema_rs.ValidationError as error:
            pytest.fail(f"{name}: {error}")


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    def references(value: Any) -> set[str]:
        if isinstance(value, dict):
            own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
            return own.union(*map(references, value.values()))
        return set().union(*map(references, value)) if isinstance(value, list) else set()

    names = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert references(document) <= names


def test_errors_have_the_one_shape(document: dict[str, Any]) -> None:
    for item in document["paths"].values():
        for operation in item.values():
            for status, response in operation["responses"].items():
                if status != "200":
                    schema = response["content"]["application/json"]["schema"]
                    assert schema == {"$ref": "#/components/schemas/ErrorReply"}


def test_open_routes_need_no_key(document: dict[str, Any]) -> None:
    is_open = {path for path, item in document["paths"].items() for each in item.values() if not each["security"]}
    assert is_open == {"/livez", "/readyz", "/health"}


def test_a_mounted_app_tells_where_it_is(demo: Engine) -> None:
    host = Starlette(routes=[Mount("/deep/llm", create_app(demo))])
    found = TestClient(host).get("/deep/llm/openapi.json").json()
    assert found["servers"] == [{"url": "/deep/llm"}]
