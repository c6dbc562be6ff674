"""The engine with a script: what it says, when it fails, and that everything around it is the real thing."""

from __future__ import annotations

import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from starlette.testclient import TestClient

from oxillama import Engine, InvalidRequestError, QueueFullError, RequestCancelled
from oxillama.asgi import create_app
from oxillama.testing import Reply, ScriptedEngine
from oxillama.testing import strategies as ox
from tests.cli.programs import LIMIT, environment
from tests.conftest import REPOSITORY

HELLO = [{"role": "user", "content": "Hello there"}]


@pytest.fixture(scope="module")
def says() -> Iterator[Callable[[str], ScriptedEngine]]:
    """One engine for many texts: it says the last one that was given."""
    wanted = [""]
    with ScriptedEngine(lambda prompt: wanted[0]) as engine:

        def saying(text: str) -> ScriptedEngine:
            wanted[0] = text
            return engine

        yield saying


def test_replies_come_in_order_by_every_call() -> None:
    lines = [f"reply {i} é \N{SNOWMAN}" for i in range(7)]
    with ScriptedEngine(lines) as engine:
        assert isinstance(engine, Engine)
        found = [
            engine.chat(HELLO).text,
            engine.generate("plain").text,
            "".join(chunk.text for chunk in engine.stream([3, 4])),
            anyio.run(engine.agenerate, "a").text,
            anyio.run(engine.achat, HELLO, backend="trio").text,
            *(one.text for one in engine.generate_batch(["x", "y"])),
        ]
        assert found == lines
        assert engine.requests[0].prompt == "user: Hello there\nassistant: "
        assert engine.requests[1].prompt == "plain"
        with pytest.raises(InvalidRequestError, match="7 replies, and this is one request more"):
            engine.generate("x")


def test_limits_stops_and_choices_are_the_engine_s() -> None:
    with ScriptedEngine(["one two three"] * 4) as engine:
        assert (engine.generate("x", max_tokens=3).text, engine.requests[0].params.max_tokens) == ("one", 3)
        stopped = engine.generate("x", stop=" three")
        assert (stopped.text, stopped.finish_reason, stopped.stop_reason) == ("one two", "stop", " three")
        assert [one.text for one in engine.generate("x", n=2, temperature=2.0, ignore_eos=True).choices] == [
            "one two three"
        ] * 2
        assert engine.generate("x").finish_reason == "stop"


def test_errors_on_demand() -> None:
    full = QueueFullError("256 requests are waiting", retry_after=1.5)
    with ScriptedEngine([full, Reply("so far", error=RequestCancelled()), Reply(error=RuntimeError("down"))]) as engine:
        with pytest.raises(QueueFullError) as caught:
            engine.generate("x")
        assert caught.value is full
        stream = engine.stream("x")
        with pytest.raises(RequestCancelled):
            for _ in stream:
                pass
        assert stream.text == "so far"
        with pytest.raises(RuntimeError, match="down"):
            anyio.run(engine.achat, HELLO)


def test_a_delay_holds_up_nobody_else() -> None:
    async def both() -> list[str]:
        order: list[str] = []

        async def ask(prompt: str) -> None:
            order.append((await engine.agenerate(prompt)).text)

        async with anyio.create_task_group() as group:
            group.start_soon(ask, "slow")
            await anyio.sleep(0.05)
            group.start_soon(ask, "fast")
        return order

    with ScriptedEngine(lambda prompt: Reply(prompt, delay=1.0 if prompt == "slow" else 0.0)) as engine:
        assert anyio.run(both) == ["fast", "slow"]
        begun = time.monotonic()
        engine.generate("slow")
        assert time.monotonic() - begun >= 1


def test_it_is_mounted_like_any_engine() -> None:
    with ScriptedEngine(["Hello!", QueueFullError("busy", retry_after=2)]) as engine:
        client = TestClient(create_app(engine, model_name="gpt"), raise_server_exceptions=False)
        reply = client.post("/v1/chat/completions", json={"model": "gpt", "messages": HELLO})
        assert reply.json()["choices"][0]["message"]["content"] == "Hello!"
        refused = client.post("/v1/chat/completions", json={"model": "gpt", "messages": HELLO})
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "2")


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(text=ox.hostile_texts(), conversation=ox.conversations())
def test_any_text_is_said_as_it_is_written(
    text: str, conversation: list[dict[str, str]], says: Callable[[str], ScriptedEngine]
) -> None:
    engine = says(text)
    assert engine.chat(conversation).text == text
    assert conversation[-1]["content"] in engine.requests[-1].prompt


def test_wrong_scripts_are_refused() -> None:
    with pytest.raises(TypeError, match="one str"):
        ScriptedEngine("reply")
    with pytest.raises(TypeError, match="text is a int"):
        Reply(5)  # type: ignore[arg-type]
    with pytest.raises(InvalidRequestError, match="delay"):
        Reply("x", delay=-1)


PLUGIN = "oxillama.testing.pytest_plugin"
HOST_TEST = """
from oxillama import Engine

def test_all(oxillama_engine, oxillama_script, oxillama_chat_model):
    assert oxillama_engine.generate("Once", max_tokens=1).usage.completion_tokens == 1
    assert oxillama_script("a", "b").generate("x").text == "a"
    with Engine(oxillama_chat_model, n_threads=1, progress=False) as engine:
        assert engine.chat([{"role": "user", "content": "x"}], max_tokens=2).usage.completion_tokens <= 2
"""


def test_the_plugin_s_fixtures_are_there_for_a_host(tmp_path: Path) -> None:
    (tmp_path / "test_host.py").write_text(HOST_TEST)
    # As the entry point loads it, whether or not this checkout has been installed since it was declared.
    command = [sys.executable, "-W", "error", "-m", "pytest", "-q", "-p", "no:oxillama", "-p", PLUGIN, str(tmp_path)]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=LIMIT, cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["entry-points"]["pytest11"] == {"oxillama": PLUGIN}
