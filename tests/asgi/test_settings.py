"""What the owner of an app may decide, and how a wrong decision is named."""

from __future__ import annotations

from typing import Any

import pytest

from oxillama import Engine, InvalidRequestError
from oxillama.asgi import Limits, create_app


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"api_keys": [""]}, "api_keys"),
        ({"api_keys": ""}, "api_keys"),  # a variable that nobody has set must not open the app to everybody
        ({"api_keys": ["white space"]}, "key"),
        ({"api_keys": [5]}, "api_keys"),
        ({"admin_token": ""}, "admin_token"),
        ({"model_name": ""}, "model_name"),
        ({"model_aliases": 5}, "model_aliases"),
        ({"limits": 5}, "limits"),
        ({"keep_alive": 0}, "keep_alive"),
    ],
)
def test_a_bad_option_is_named(demo: Engine, options: dict[str, object], named: str) -> None:
    with pytest.raises(InvalidRequestError, match=named):
        create_app(demo, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("engine", [None, "model.gguf"])
def test_what_is_no_engine_and_makes_none_is_refused_at_once(engine: Any) -> None:
    with pytest.raises(InvalidRequestError, match="engine must be an Engine, or an async function") as caught:
        create_app(engine)
    assert caught.value.param == "engine"


def test_the_limits_are_checked() -> None:
    for name, value in {"max_depth": 0, "max_tokens": 1.5, "requests_per_minute": 0, "max_deadline": -1}.items():
        with pytest.raises(InvalidRequestError, match=name):
            Limits(**{name: value})  # type: ignore[arg-type]
