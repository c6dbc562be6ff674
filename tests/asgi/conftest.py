"""Apps over the demo model, and clients that call them in-process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from oxillama import Engine
from oxillama.asgi import create_app


@pytest.fixture(scope="session")
def app(demo: Engine) -> Starlette:
    """The app with nothing but defaults."""
    return create_app(demo)


@pytest.fixture(scope="session")
def client(app: Starlette) -> Iterator[TestClient]:
    """Calls the app in-process; an error of the app's own is a reply, as for any client."""
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client
