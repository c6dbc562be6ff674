"""litellm over an engine in this process."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # else it looks for a list of prices
pytest.importorskip("litellm", reason="`make test-clients` installs litellm")

import litellm

from oxillama import Engine
from oxillama.integrations.litellm import OxillamaLLM
from tests.integrations.conftest import MESSAGES, MIA, PERSON_TOOL, PET
from tests.integrations.shown import shows
from tests.patience import eventually, is_idle

pytestmark = pytest.mark.clients

OPTIONS: dict[str, Any] = {"max_tokens": 12, "temperature": 0}


@pytest.fixture(autouse=True)
def provider(demo: Engine, caller: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[OxillamaLLM]:
    handler = OxillamaLLM({"story": demo, "caller": caller})
    monkeypatch.setattr(litellm, "custom_provider_map", [{"provider": "oxillama", "custom_handler": handler}])
    monkeypatch.setattr(litellm, "suppress_debug_info", True)
    yield handler
    handler.close()


@shows("litellm", "sync")
def test_it_says_what_the_engine_says(told: str) -> None:
    reply = litellm.completion(model="oxillama/story", messages=MESSAGES, **OPTIONS)
    assert reply.choices[0].message.content == told
    assert reply.choices[0].finish_reason == "length"
    assert reply.usage.completion_tokens == 12
    history = [*MESSAGES, reply.choices[0].message, {"role": "user", "content": "Another."}]
    assert litellm.completion(model="oxillama/story", messages=history, **OPTIONS).choices[0].message.content


@shows("litellm", "stream")
def test_it_streams(told: str) -> None:
    chunks = list(
        litellm.completion(
            model="oxillama/story", messages=MESSAGES, stream=True, stream_options={"include_usage": True}, **OPTIONS
        )
    )
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == told
    assert litellm.stream_chunk_builder(chunks).usage.completion_tokens == 12


@shows("litellm", "async", "stream")
def test_it_is_awaited_and_streams(told: str) -> None:
    async def main() -> None:
        replies = await asyncio.gather(
            *(litellm.acompletion(model="oxillama/story", messages=MESSAGES, **OPTIONS) for _ in range(4))
        )
        assert [reply.choices[0].message.content for reply in replies] == [told] * 4
        stream = await litellm.acompletion(model="oxillama/story", messages=MESSAGES, stream=True, **OPTIONS)
        assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream]) == told

    asyncio.run(main())
    asyncio.run(main())  # in another event loop


@shows("litellm", "sync", "async", "stream", "tools")
def test_tools_are_called() -> None:
    asked: dict[str, Any] = {"model": "oxillama/caller", "messages": MESSAGES, "tools": [PERSON_TOOL]}
    choice = litellm.completion(**asked).choices[0]
    assert choice.finish_reason == "tool_calls"
    assert json.loads(choice.message.tool_calls[0].function.arguments) == MIA
    built = litellm.stream_chunk_builder(list(litellm.completion(stream=True, **asked)))
    assert json.loads(built.choices[0].message.tool_calls[0].function.arguments) == MIA
    later = asyncio.run(litellm.acompletion(**asked)).choices[0]
    assert json.loads(later.message.tool_calls[0].function.arguments) == MIA


@shows("litellm", "sync", "schema")
def test_a_schema_holds() -> None:
    form = {"type": "json_schema", "json_schema": {"name": "pet", "schema": PET}}
    reply = litellm.completion(model="oxillama/story", messages=MESSAGES, response_format=form, temperature=0)
    found = json.loads(reply.choices[0].message.content)
    assert found["kind"] in ("cat", "dog")
    assert 0 <= found["legs"] <= 4


@shows("litellm", "sync", "async", "embeddings")
def test_it_embeds(demo: Engine) -> None:
    expected = demo.embed(["one", "two"]).tolist()
    reply = litellm.embedding(model="oxillama/story", input=["one", "two"])
    assert [row["embedding"] for row in reply.data] == expected
    later = asyncio.run(litellm.aembedding(model="oxillama/story", input=["one", "two"]))
    assert [row["embedding"] for row in later.data] == expected


def test_options_of_the_engine_s_own_and_log_probabilities(demo: Engine) -> None:
    options: dict[str, Any] = {"max_tokens": 8, "temperature": 0.9, "top_k": 5, "min_p": 0.05, "seed": 3}
    reply = litellm.completion(model="oxillama/story", messages=MESSAGES, logprobs=True, top_logprobs=2, **options)
    expected = demo.chat(MESSAGES, logprobs=2, **options)
    assert reply.choices[0].message.content == expected.text
    assert expected.logprobs is not None
    assert [entry.logprob for entry in reply.choices[0].logprobs.content] == [
        entry.logprob for entry in expected.logprobs.content
    ]


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"max_tokens": -4}, litellm.BadRequestError),
        ({"nonsense": 3}, litellm.BadRequestError),
        ({"messages": [{"role": "user", "content": "word " * 5000}]}, litellm.ContextWindowExceededError),
        ({"model": "oxillama/nobody"}, litellm.NotFoundError),
    ],
)
def test_mistakes_are_litellm_s_own_errors(given: dict[str, Any], error: type[Exception]) -> None:
    asked = {"model": "oxillama/story", "messages": MESSAGES, **given}
    with pytest.raises(error):
        litellm.completion(**asked)
    with pytest.raises(error):
        asyncio.run(litellm.acompletion(**asked))
    with pytest.raises(error):
        list(litellm.completion(stream=True, **asked))


def test_a_stream_that_is_left_ends_its_request(open_long: Callable[..., Engine]) -> None:
    engine = open_long(chat_template="chatml")
    handler = OxillamaLLM(engine)
    stream = handler.streaming("any", [{"role": "user", "content": "x"}], optional_params={"ignore_eos": True})
    next(stream)
    assert engine.stats().running == 1
    stream.close()
    eventually(lambda: is_idle(engine))
    handler.close()
