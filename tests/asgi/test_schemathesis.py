"""Requests made from the OpenAPI document, sound ones and broken ones: nothing undocumented comes back, and no 5xx."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.schemas import OpenApiSchema

from oxillama import Engine
from oxillama.asgi import Limits, create_app
from oxillama.asgi.operations import OPERATIONS

CONFIG = {
    "checks": {
        # Documented: 501 for what the engine cannot do yet, 504 for a deadline of the client's own.
        "not_a_server_error": {"expected-statuses": ["2xx", "3xx", "4xx", 501, 504]},
        # It takes the key given below for one that it made up; test_authentication.py knows better.
        "ignored_auth": {"enabled": False},
        # A sound body may still ask for too much: how much is too much depends on the model.
        "positive_data_acceptance": {"enabled": False},
    }
}
EXAMPLES = 30
# Without a body or a parameter there is nothing that could be wrong.
NEGATIVE = [each for each in OPERATIONS if each.body or each.parameters]


@pytest.fixture(scope="module")
def document(demo: Engine) -> OpenApiSchema:
    limits = Limits(max_tokens=4, max_choices=4)
    app = create_app(demo, model_aliases="*", api_keys=["key"], admin_token="admin", limits=limits)
    config = SchemathesisConfig.from_dict(CONFIG)
    return schemathesis.openapi.from_asgi("/openapi.json", app, config=config, headers={"x-api-key": "key"})


@pytest.mark.parametrize(
    ("path", "method", "mode"),
    [
        pytest.param(each.path, each.method, mode, id=f"{mode.value}-{each.method}-{each.path}")
        for mode, operations in ((GenerationMode.POSITIVE, OPERATIONS), (GenerationMode.NEGATIVE, NEGATIVE))
        for each in operations
    ],
)
def test_the_app_keeps_to_its_document(document: OpenApiSchema, path: str, method: str, mode: GenerationMode) -> None:
    (access,) = {each.access for each in OPERATIONS if (each.path, each.method) == (path, method)}
    key = {"x-api-key": "admin" if access == "admin" else "key"}

    @given(case=document[path][method].as_strategy(generation_mode=mode))
    @settings(
        max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
    )
    def check(case: schemathesis.Case[Any]) -> None:
        case.call_and_validate(headers=key)

    check()
