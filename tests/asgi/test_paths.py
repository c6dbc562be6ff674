"""Where a request goes and where the app is, as hosts of different kinds tell it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from oxillama.asgi.paths import OnePath, mount_prefix, route_path


def scope(path: str, root: str | None = "", raw: str | None = None) -> dict[str, Any]:
    found: dict[str, Any] = {"type": "http", "path": path}
    if root is not None:
        found["root_path"] = root
    if raw is not None:
        found["raw_path"] = raw.encode()
    return found


def inside(given: Scope) -> Scope:
    """The scope as the app gets it."""
    found: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        found.append(scope)

    asyncio.run(OnePath(app)(given, None, None))  # type: ignore[arg-type]
    return found[0]


@pytest.mark.parametrize(
    ("given", "route", "prefix"),
    [
        # Alone.
        (scope("/v1/models", "", "/v1/models"), "/v1/models", ""),
        (scope("/v1/models/", "", "/v1/models/"), "/v1/models", ""),
        (scope("/v1/models//", "", "/v1/models//"), "/v1/models/", ""),
        (scope("/v1/models", None), "/v1/models", ""),
        (scope("/", "", "/"), "/", ""),
        (scope(""), "/", ""),
        # Starlette, FastAPI, hypercorn's dispatcher: the whole path, and the prefix beside it.
        (scope("/llm/v1/models", "/llm", "/llm/v1/models"), "/v1/models", "/llm"),
        (scope("/llm/v1/models/", "/llm", "/llm/v1/models/"), "/v1/models", "/llm"),
        (scope("/llm/", "/llm", "/llm/"), "/", "/llm"),
        (scope("/llm", "/llm", "/llm"), "/", "/llm"),
        (scope("/llm/v1/models", "/llm/"), "/v1/models", "/llm"),
        (scope("/llmx/v1", "/llm"), "/llmx/v1", "/llm"),
        # Litestar: the rest of the path with a slash at its end, and nothing beside it.
        (scope("/v1/models/", "", "/llm/v1/models"), "/v1/models", "/llm"),
        (scope("/v1/models/", None, "//deep//llm/v1/models/"), "/v1/models", "/deep/llm"),
        (scope("/v1/models/a b/", "", "/llm/v1/models/a%20b"), "/v1/models/a b", "/llm"),
        (scope("/", "", "/llm/"), "/", "/llm"),
        (scope("/", "", "/llm?x=/y"), "/", "/llm"),
        # The same behind a proxy that is told of.
        (scope("/v1/models/", "/proxy", "/proxy/llm/v1/models"), "/v1/models", "/proxy/llm"),
        (scope("/v1/models", "/proxy", "/v1/models"), "/v1/models", "/proxy"),
        # A host that has rewritten the path as a whole.
        (scope("/v1/models", "", "/elsewhere"), "/v1/models", ""),
    ],
)
def test_every_host_s_way_to_say_it(given: Scope, route: str, prefix: str) -> None:
    found = inside(given)
    assert (route_path(found), mount_prefix(found)) == (route, prefix)


def test_the_host_s_own_scope_stays_as_it_was() -> None:
    given = scope("/v1/models/", "/llm/")
    inside(given)
    assert given == scope("/v1/models/", "/llm/")
    other = {"type": "lifespan"}
    assert inside(other) is other
