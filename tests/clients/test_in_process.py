"""OpenAI's client over an engine in this process: the engine's replies, piece by piece, cancelled on close."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import anyio
import openai
import pytest
from starlette.types import Receive, Scope, Send

from oxillama import Engine, clients
from oxillama.asgi import create_app
from tests.patience import eventually, is_idle

PROMPT = "Once upon a time"
ENDLESS: dict[str, Any] = {"prompt": [5], "max_tokens": 100_000, "extra_body": {"ignore_eos": True}}


async def until(holds: Callable[[], bool]) -> None:
    with anyio.fail_after(60):
        while not holds():
            await anyio.sleep(0.01)


@pytest.fixture(scope="module")
def client(demo: Engine) -> Iterator[openai.OpenAI]:
    with clients.openai(demo) as client:
        yield client


class TestSync:
    def test_a_reply_is_the_engine_s(self, client: openai.OpenAI, demo: Engine) -> None:
        reply = client.completions.create(model="any", prompt=PROMPT, max_tokens=12, temperature=0)
        assert reply.choices[0].text == demo.generate(PROMPT, max_tokens=12, temperature=0).text

    def test_a_stream_comes_piece_by_piece_and_adds_up(self, client: openai.OpenAI, demo: Engine) -> None:
        stream = client.completions.create(model="any", prompt=PROMPT, max_tokens=24, temperature=0, stream=True)
        texts = [chunk.choices[0].text for chunk in stream if chunk.choices]
        assert "".join(texts) == demo.generate(PROMPT, max_tokens=24, temperature=0).text

    def test_the_first_piece_comes_while_the_request_runs(self, long_engine: Engine) -> None:
        with clients.openai(long_engine) as client:
            with client.completions.create(model="any", stream=True, **ENDLESS) as stream:
                next(iter(stream))
                assert not is_idle(long_engine)
            eventually(lambda: is_idle(long_engine))

    def test_embedding_models_and_errors(self, client: openai.OpenAI, demo: Engine) -> None:
        assert [model.id for model in client.models.list()] == [demo.name]
        with pytest.raises(openai.BadRequestError, match="temperature"):
            client.completions.create(model="any", prompt=PROMPT, temperature=-1)

    def test_threads_share_one_client(self, client: openai.OpenAI, demo: Engine) -> None:
        from concurrent.futures import ThreadPoolExecutor

        def one(seed: int) -> str:
            return client.completions.create(model="any", prompt=PROMPT, max_tokens=8, seed=seed).choices[0].text

        with ThreadPoolExecutor(8) as pool:
            together = list(pool.map(one, range(16)))
        assert together == [one(seed) for seed in range(16)]

    def test_a_client_may_be_closed_before_its_stream(self, long_engine: Engine) -> None:
        client = clients.openai(long_engine)
        stream = client.completions.create(model="any", stream=True, **ENDLESS)
        next(iter(stream))
        client.close()
        stream.close()
        eventually(lambda: is_idle(long_engine))

    def test_a_closed_client_leaves_no_thread(self, demo: Engine) -> None:
        import threading

        before = threading.active_count()
        with clients.openai(demo) as client:
            client.models.list()
        assert threading.active_count() <= before


class TestAsync:
    pytestmark = pytest.mark.anyio

    async def test_many_at_once_equal_one_by_one(self, demo: Engine) -> None:
        async with clients.async_openai(demo) as client:
            texts: dict[int, str] = {}

            async def one(seed: int) -> None:
                reply = await client.completions.create(model="any", prompt=PROMPT, max_tokens=8, seed=seed)
                texts[seed] = reply.choices[0].text

            async with anyio.create_task_group() as tasks:
                for seed in range(8):
                    tasks.start_soon(one, seed)
        expected = {seed: demo.generate(PROMPT, max_tokens=8, seed=seed).text for seed in range(8)}
        assert texts == expected

    async def test_leaving_a_stream_ends_its_request(self, long_engine: Engine) -> None:
        async with clients.async_openai(long_engine) as client:
            stream = await client.completions.create(model="any", stream=True, **ENDLESS)
            async with stream:
                await anext(stream)
            await until(lambda: is_idle(long_engine))

    async def test_a_cancelled_task_ends_its_request(self, long_engine: Engine) -> None:
        async with clients.async_openai(long_engine) as client:

            async def endless() -> None:
                await client.completions.create(model="any", **ENDLESS)

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(endless)
                await until(lambda: not is_idle(long_engine))
                tasks.cancel_scope.cancel()
            await until(lambda: is_idle(long_engine))

    async def test_a_slow_reader_holds_up_the_app(self) -> None:
        sent = 0

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            nonlocal sent
            await send(
                {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]}
            )
            for _ in range(100):
                await send({"type": "http.response.body", "body": b'data: {"choices": []}\n\n', "more_body": True})
                sent += 1
            await send({"type": "http.response.body", "body": b"data: [DONE]\n\n", "more_body": False})

        async with clients.async_openai(app) as client:
            stream = await client.completions.create(model="any", prompt="", stream=True)
            async with stream:
                await anext(stream)
                await anyio.sleep(0.05)
                assert sent < 5

    async def test_an_app_that_fails_is_a_connection_error(self) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            raise RuntimeError("broken")

        async with clients.async_openai(app, max_retries=0) as client:
            with pytest.raises(openai.APIConnectionError):
                await client.models.list()

    async def test_a_reply_that_does_not_come_times_out(self) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await anyio.sleep_forever()

        async with clients.async_openai(app, max_retries=0, timeout=0.05) as client:
            with pytest.raises(openai.APITimeoutError):
                await client.models.list()


def test_keys_and_mounts_are_the_app_s(demo: Engine) -> None:
    from starlette.applications import Starlette
    from starlette.routing import Mount

    host = Starlette(routes=[Mount("/llm", create_app(demo, api_keys="secret"))])
    options: dict[str, Any] = {"base_url": "http://localhost/llm/v1"}
    with clients.openai(host, **options) as client, pytest.raises(openai.AuthenticationError):
        client.models.list()
    with clients.openai(host, api_key="secret", **options) as client:
        assert [model.id for model in client.models.list()] == [demo.name]


@pytest.mark.parametrize("name", ["httpx", "httpx2"])
def test_both_http_libraries_have_their_transport(name: str, demo: Engine) -> None:
    from importlib import import_module

    from oxillama.clients.transport import transports

    library = import_module(name)
    transport, _ = transports(library)
    with library.Client(transport=transport(create_app(demo))) as client:
        assert client.get("http://localhost/livez").status_code == 200
        with client.stream("POST", "http://localhost/tokenize", json={"content": PROMPT}) as reply:
            assert "tokens" in b"".join(reply.iter_bytes()).decode()
