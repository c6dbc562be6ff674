"""Runs of tools: rounds, results, failures, and how they end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import anyio
import pytest

from oxillama import Engine, InvalidRequestError
from oxillama.chat.messages import Message

ASK: list[Message] = [{"role": "user", "content": "Weather?"}]
OPTIONS: dict[str, Any] = {"tool_choice": "required", "parallel_tool_calls": False, "max_tokens": 60}
City = Literal["Bonn", "Rome"]


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with Engine.demo(n_threads=1) as engine:
        yield engine


def get(city: City) -> str:
    return f"sunny in {city}"


def fail(city: City) -> str:
    raise RuntimeError("no such place")


async def later(city: City) -> dict[str, str]:
    await anyio.sleep(0)
    return {"city": city}


def kinds(events: list[Any]) -> list[str]:
    return [event.kind for event in events if event.kind != "chunk"]


def test_a_function_is_called_and_its_result_told(engine: Engine) -> None:
    run = engine.run_tools(ASK, tools=[get], max_rounds=2, seed=1, **OPTIONS)
    events = list(run)
    assert kinds(events)[:3] == ["reply", "call", "result"]
    result = next(event for event in events if event.kind == "result")
    assert result.text in ("sunny in Bonn", "sunny in Rome")
    assert not result.failed
    assert run.reply is not None
    said: list[Any] = [getattr(message, "to_dict", lambda message=message: message)() for message in run.messages]
    assert [message["role"] for message in said][:3] == ["user", "assistant", "tool"]
    assert said[2]["content"] == result.text
    assert run.result() is run.reply


def test_an_exception_is_told_without_its_trace(engine: Engine) -> None:
    events = list(engine.run_tools(ASK, tools=[fail], max_rounds=1, seed=1, **OPTIONS))
    result = next(event for event in events if event.kind == "result")
    assert (result.text, result.failed) == ("RuntimeError: no such place", True)


def test_rounds_are_bounded(engine: Engine) -> None:
    run = engine.run_tools(ASK, tools=[get], max_rounds=1, seed=1, **OPTIONS)
    assert run.result().finish_reason == "tool_calls"


def test_a_tool_without_a_function_is_the_callers(engine: Engine) -> None:
    tool = {
        "type": "function",
        "function": {"name": "get", "parameters": {"type": "object", "properties": {}, "additionalProperties": False}},
    }
    run = engine.run_tools(ASK, tools=[tool], seed=1, **OPTIONS)
    assert kinds(list(run)) == ["reply"]
    assert run.result().tool_calls[0].name == "get"


def test_leaving_it_cancels(engine: Engine) -> None:
    with engine.run_tools(ASK, tools=[get], seed=1, **OPTIONS) as run:
        next(run)
    assert list(run) == []


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("function", [later, get])
def test_the_async_twin(engine: Engine, backend: str, function: Any) -> None:
    async def main() -> list[Any]:
        async with engine.arun_tools(ASK, tools=[function], max_rounds=2, seed=1, **OPTIONS) as run:
            return [event async for event in run]

    events = anyio.run(main, backend=backend)
    result = next(event for event in events if event.kind == "result")
    assert "Bonn" in result.text or "Rome" in result.text


def test_wrong_runs_are_refused(engine: Engine) -> None:
    for options, param in (
        ({"tools": []}, "tools"),
        ({"tools": [get], "n": 2}, "n"),
        ({"tools": [get], "max_rounds": 0}, "max_rounds"),
    ):
        with pytest.raises(InvalidRequestError) as caught:
            engine.run_tools(ASK, **options)
        assert caught.value.param == param
