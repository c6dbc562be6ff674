"""Many clients at once: each gets what it would get alone, and none of them can harm the others."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest

from oxillama import Engine
from oxillama.asgi import create_app
from oxillama.requests.beside import LANES
from tests.asgi.servers import RunningServer, running
from tests.asgi.visitors import request_bytes, slow_reader, streamed_text, vanish
from tests.patience import eventually, is_idle

PROMPTS = ("Once upon a time", "One day", "The little fox", "Mia and Ben", "It was a dark night")


def requests_of(count: int) -> list[dict[str, Any]]:
    return [
        {
            "prompt": f"{PROMPTS[number % len(PROMPTS)]} {number % 7}",
            "max_tokens": 8 + number % 40,
            "temperature": 0 if number % 3 == 0 else 1.1,
            "seed": number,
        }
        for number in range(count)
    ]


@pytest.fixture
def server(demo: Engine) -> Iterator[RunningServer]:
    with running(create_app(demo)) as server:
        yield server


def test_64_streams_at_once_equal_their_serial_results(demo: Engine, server: RunningServer) -> None:
    bodies = requests_of(64)
    serial = [demo.generate(body.pop("prompt"), **body).text for body in (dict(body) for body in bodies)]

    async def crowd() -> list[str]:
        return await asyncio.gather(*(streamed_text(server.port, body) for body in bodies))

    assert asyncio.run(crowd()) == serial
    assert len(set(serial)) > 32, "too much alike to tell them apart"


def test_a_client_that_reads_a_byte_a_second_harms_nobody(open_long: Callable[..., Engine]) -> None:
    engine = open_long(max_batch_size=4)
    endless = {"prompt": "a", "max_tokens": 100_000, "ignore_eos": True, "temperature": 0}
    quick = {"prompt": "b", "max_tokens": 64, "ignore_eos": True, "temperature": 0}
    expected = engine.generate("b", max_tokens=64, ignore_eos=True, temperature=0).text
    with running(create_app(engine)) as server:
        slow = [slow_reader(server.port, endless) for _ in range(2)]
        try:
            for client in slow:
                client.recv(1)
            begin = time.monotonic()
            for _ in range(3):
                for client in slow:
                    client.recv(1)
                reply = httpx2.post(f"{server.url}/v1/completions", json=quick, timeout=30)
                assert reply.json()["choices"][0]["text"] == expected
                time.sleep(max(0.0, 1 - (time.monotonic() - begin) % 1))
            # The last reply may be here before the engine's figures are.
            eventually(lambda: engine.stats().running <= 2)
        finally:
            for client in slow:
                client.close()
        eventually(lambda: is_idle(engine))


# None of them would end by itself in time.
VANISHING_BODIES: tuple[dict[str, Any], ...] = (
    {"prompt": "Once upon a time", "max_tokens": 50_000, "ignore_eos": True},
    {"prompt": "Once upon a time", "max_tokens": 50_000, "ignore_eos": True, "stream": True},
    {"prompt": ["One day"] * 8, "max_tokens": 10_000, "n": 4, "ignore_eos": True, "stream": True},
    {"prompt": "word " * 300, "max_tokens": 10_000, "ignore_eos": True, "echo": True, "logprobs": 1},
)


def vanish_often(server: RunningServer, count: int, seed: int) -> None:
    """So many clients that leave before their request is whole, while it waits, and in the middle of its reply."""

    def leave(number: int) -> None:
        chosen = random.Random(seed * 1_000_000 + number)
        body = chosen.choice(VANISHING_BODIES)
        path = chosen.choice(["/v1/completions", "/v1/chat/completions", "/v1/responses", "/v1/embeddings"])
        if path == "/v1/chat/completions":
            body = {
                "messages": [{"role": "user", "content": "A story?"}],
                "ignore_eos": True,
                "stream": number % 2 == 0,
            }
        elif path == "/v1/responses":
            body = {"input": "A story?", "ignore_eos": True, "stream": number % 2 == 0}
        elif path == "/v1/embeddings":
            body = {"input": ["word " * 100] * 8}
        sent = request_bytes(path, body)
        if chosen.random() < 0.2:
            sent = sent[: chosen.randrange(len(sent))]
            read = 0
        else:
            read = chosen.choice([0, 0, 1]) if body.get("stream") else 0
        vanish(server.port, sent, reset=chosen.random() < 0.5, read=read)
        time.sleep(chosen.random() * 0.01)

    with ThreadPoolExecutor(max_workers=16) as visitors:
        list(visitors.map(leave, range(count)))


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def resident_bytes() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def check_vanishing(engine: Engine, rounds: int, each: int, max_growth: int) -> None:
    with running(create_app(engine)) as server:
        vanish_often(server, each, seed=0)  # warms up allocators, pools and caches
        eventually(lambda: is_idle(engine), seconds=60)
        gc.collect()
        threads, files, memory = threading.active_count(), open_files(), resident_bytes()
        for number in range(1, rounds + 1):
            vanish_often(server, each, seed=number)
        eventually(lambda: is_idle(engine), seconds=60)
        eventually(lambda: open_files() <= files)
        gc.collect()
        assert resident_bytes() - memory < max_growth
        # Of those that work beside the loop, some may have been needed at once for the first time.
        assert threading.active_count() <= threads + sum(workers for _, workers in LANES)
        reply = httpx2.post(
            f"{server.url}/v1/completions", json={"prompt": "One day", "max_tokens": 8, "temperature": 0}, timeout=30
        )
        assert reply.json()["choices"][0]["text"] == engine.generate("One day", max_tokens=8, temperature=0).text


@pytest.fixture
def own_engine(open_long: Callable[..., Engine]) -> Engine:
    template = "{% for message in messages %}{{ message.content }}{% endfor %}"
    return open_long(max_batch_size=8, queue_size=64, kv_cache_tokens=1 << 17, chat_template=template)


def test_clients_that_vanish_leave_nothing_behind(own_engine: Engine) -> None:
    check_vanishing(own_engine, rounds=1, each=60, max_growth=32 << 20)


@pytest.mark.slow
def test_a_thousand_clients_that_vanish_leave_nothing_behind(own_engine: Engine) -> None:
    check_vanishing(own_engine, rounds=5, each=200, max_growth=16 << 20)
