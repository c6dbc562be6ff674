"""OpenAI's own client objects over an engine or an app in this process: no socket, no server, streams as they come.

Whatever takes such a client then runs in process too: instructor, langchain-openai, pydantic-ai and others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.types import ASGIApp

from oxillama.asgi import create_app
from oxillama.clients.transport import http_library, transports
from oxillama.engine import Engine

if TYPE_CHECKING:
    from openai import AsyncOpenAI, OpenAI

# A name of this machine, so that an app with trusted hosts answers too.
BASE_URL = "http://localhost/v1"
# The client insists on a key; an app without keys reads none.
ANY_KEY = "in-process"


def openai(
    engine_or_app: Engine | ASGIApp, *, base_url: str = BASE_URL, api_key: str = ANY_KEY, **options: Any
) -> OpenAI:
    """An `openai.OpenAI` whose requests are calls of an ASGI app in this process.

    engine_or_app: an Engine (an app is made around it that takes any model name), or the app itself, for example one of
    `create_app` with keys and limits. base_url: the path in it is where the API is mounted. options: further ones of
    the client, such as max_retries or timeout. Closing the client, or a stream, ends its requests in the engine.

    The app runs in an event loop of its own, in a thread that the client's `close()` ends."""
    import openai as package

    library = http_library(package.DefaultHttpxClient)
    transport, _ = transports(library)
    http_client = package.DefaultHttpxClient(transport=transport(_app(engine_or_app)))
    return package.OpenAI(base_url=base_url, api_key=api_key, http_client=http_client, **options)


def async_openai(
    engine_or_app: Engine | ASGIApp, *, base_url: str = BASE_URL, api_key: str = ANY_KEY, **options: Any
) -> AsyncOpenAI:
    """The same as an `openai.AsyncOpenAI`, under asyncio or trio; the app runs in the caller's event loop."""
    import openai as package

    library = http_library(package.DefaultAsyncHttpxClient)
    _, transport = transports(library)
    http_client = package.DefaultAsyncHttpxClient(transport=transport(_app(engine_or_app)))
    return package.AsyncOpenAI(base_url=base_url, api_key=api_key, http_client=http_client, **options)


def _app(engine_or_app: Engine | ASGIApp) -> ASGIApp:
    if isinstance(engine_or_app, Engine):
        return create_app(engine_or_app, model_aliases="*")
    return engine_or_app
