"""Libraries that take OpenAI's client object, with one of `oxillama.clients`: in this process, without a socket."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field

from oxillama import Engine, clients
from tests.integrations.conftest import CALL, MESSAGES, MIA
from tests.integrations.shown import shows

pytestmark = pytest.mark.clients

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # else it looks for a list of prices
SYSTEM, QUESTION = (message["content"] for message in MESSAGES)
SHORT: dict[str, Any] = {"max_tokens": 12, "temperature": 0}


class Person(BaseModel):
    name: str
    age: int


class Pet(BaseModel):
    # Else a model may add members without end, which the schema would allow.
    model_config = ConfigDict(extra="forbid")
    legs: int = Field(ge=0, le=4)


def needs(library: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(find_spec(library) is None, reason=f"`make test-clients` installs {library}")


@pytest.fixture(scope="module")
def caller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    from tests.asgi.chain_model import write_chain_model

    path = tmp_path_factory.mktemp("models") / "caller.gguf"
    write_chain_model(path, CALL)
    with Engine(path, n_threads=1, progress=False) as engine:
        yield engine


@pytest.fixture(scope="module")
def told(demo: Engine) -> str:
    return demo.chat(MESSAGES, **SHORT).text


@asynccontextmanager
async def asynchronous(engine: Engine) -> AsyncIterator[Any]:
    async with clients.async_openai(engine, max_retries=0) as client:
        yield client


@needs("instructor")
@shows("instructor", "sync", "async", "stream", "tools", "schema")
def test_instructor(caller: Engine, demo: Engine) -> None:
    import instructor

    asked: dict[str, Any] = {"model": "any", "messages": MESSAGES, "response_model": Person, "max_retries": 0}
    with clients.openai(caller, max_retries=0) as client:
        tools = instructor.from_openai(client, mode=instructor.Mode.TOOLS)
        assert tools.chat.completions.create(**asked).model_dump() == MIA
    with clients.openai(demo, max_retries=0) as client:
        schema = instructor.from_openai(client, mode=instructor.Mode.JSON_SCHEMA)
        held = schema.chat.completions.create(**{**asked, "response_model": Pet, "temperature": 0})
        assert isinstance(held.legs, int)
        *_, last = schema.chat.completions.create_partial(**{**asked, "response_model": Pet, "temperature": 0})
        assert last.legs == held.legs

    async def main() -> None:
        async with asynchronous(caller) as client:
            later = instructor.from_openai(client, mode=instructor.Mode.TOOLS)
            assert (await later.chat.completions.create(**asked)).model_dump() == MIA

    asyncio.run(main())


@needs("langchain_openai")
@shows("langchain-openai", "sync", "async", "stream", "tools", "schema", "embeddings")
def test_langchain_openai(demo: Engine, caller: Engine, told: str) -> None:
    from langchain_openai import ChatOpenAI, OpenAIEmbeddings

    asked = [("system", SYSTEM), ("human", QUESTION)]
    with clients.openai(demo) as client:
        chat = ChatOpenAI(client=client.chat.completions, root_client=client, model="any", api_key="-", **SHORT)
        assert chat.invoke(asked).content == told
        assert "".join(chunk.content for chunk in chat.stream(asked)) == told
        held = chat.with_structured_output(Pet, method="json_schema").invoke("How many legs?", max_tokens=64)
        assert isinstance(held, Pet)
        vectors = OpenAIEmbeddings(client=client.embeddings, model="any", api_key="-", check_embedding_ctx_length=False)
        assert vectors.embed_documents(["one", "two"]) == demo.embed(["one", "two"]).tolist()
    with clients.openai(caller) as client:
        chat = ChatOpenAI(client=client.chat.completions, root_client=client, model="any", api_key="-")
        assert chat.bind_tools([Person]).invoke("Who is it?").tool_calls[0]["args"] == MIA

    async def main() -> None:
        async with asynchronous(demo) as client:
            later = ChatOpenAI(
                async_client=client.chat.completions, root_async_client=client, model="any", api_key="-", **SHORT
            )
            assert (await later.ainvoke(asked)).content == told
            assert "".join([chunk.content async for chunk in later.astream(asked)]) == told

    asyncio.run(main())


@needs("pydantic_ai")
@shows("pydantic-ai", "async", "stream", "tools", "schema")
def test_pydantic_ai(demo: Engine, caller: Engine, told: str) -> None:
    from pydantic_ai import Agent, NativeOutput
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    settings: Any = SHORT

    async def main() -> None:
        async with asynchronous(demo) as client:
            model = OpenAIChatModel("any", provider=OpenAIProvider(openai_client=client))
            agent = Agent(model, instructions=SYSTEM, model_settings=settings)
            assert (await agent.run(QUESTION)).output == told
            async with agent.run_stream(QUESTION) as stream:
                assert await stream.get_output() == told
            held = await Agent(model, output_type=NativeOutput(Pet)).run(QUESTION)
            assert isinstance(held.output, Pet)
        async with asynchronous(caller) as client:
            model = OpenAIChatModel("any", provider=OpenAIProvider(openai_client=client))
            from pydantic_ai import ToolOutput

            called = await Agent(model, output_type=ToolOutput(Person, name="Person")).run("Who is it?")
            assert called.output.model_dump() == MIA

    asyncio.run(main())


@needs("agents")
@shows("openai-agents", "async", "stream", "tools")
def test_openai_agents(demo: Engine, caller: Engine, told: str) -> None:
    from agents import Agent, ModelSettings, OpenAIChatCompletionsModel, RunConfig, Runner, function_tool

    quiet = RunConfig(tracing_disabled=True)
    seen = []

    @function_tool(name_override="Person")
    def person(name: str, age: int) -> str:
        """Somebody."""
        seen.append({"name": name, "age": age})
        return "known"

    async def main() -> None:
        async with asynchronous(demo) as client:
            model = OpenAIChatCompletionsModel("any", openai_client=client)
            agent = Agent(name="Teller", instructions=SYSTEM, model=model, model_settings=ModelSettings(**SHORT))
            assert (await Runner.run(agent, QUESTION, run_config=quiet)).final_output == told
            streamed = Runner.run_streamed(agent, QUESTION, run_config=quiet)
            async for _ in streamed.stream_events():
                pass
            assert streamed.final_output == told
        async with asynchronous(caller) as client:
            model = OpenAIChatCompletionsModel("any", openai_client=client)
            agent = Agent(name="Caller", model=model, tools=[person], tool_use_behavior="stop_on_first_tool")
            assert (await Runner.run(agent, "Who is it?", run_config=quiet)).final_output == "known"

    asyncio.run(main())
    assert seen == [MIA]


@needs("llama_index")
@shows("llama-index OpenAILike", "sync", "async", "stream", "tools")
def test_llama_index_openai_like(demo: Engine, caller: Engine, told: str) -> None:
    from llama_index.core.llms import ChatMessage
    from llama_index.core.tools import FunctionTool
    from llama_index.llms.openai_like import OpenAILike

    asked = [ChatMessage(role=message["role"], content=message["content"]) for message in MESSAGES]
    own: dict[str, Any] = {"model": "any", "is_chat_model": True, "is_function_calling_model": True, "api_key": "-"}
    with clients.openai(demo) as client:
        llm = OpenAILike(openai_client=client, **own, **SHORT)
        assert llm.chat(asked).message.content == told
        *_, last = llm.stream_chat(asked)
        assert last.message.content == told
    with clients.openai(caller) as client:
        llm = OpenAILike(openai_client=client, **own)
        tool = FunctionTool.from_defaults(lambda name, age: f"{name} {age}", name="Person", fn_schema=Person)
        reply = llm.chat_with_tools([tool], user_msg="Who is it?")
        (call,) = llm.get_tool_calls_from_response(reply)
        assert call.tool_kwargs == MIA

    async def main() -> None:
        async with asynchronous(demo) as client:
            later = OpenAILike(async_openai_client=client, **own, **SHORT)
            assert (await later.achat(asked)).message.content == told

    asyncio.run(main())


@needs("dspy")
@shows("dspy", "sync", "async")
def test_dspy(demo: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    import dspy
    import litellm

    from oxillama.integrations.litellm import OxillamaLLM

    handler = OxillamaLLM(demo)
    monkeypatch.setattr(litellm, "custom_provider_map", [{"provider": "oxillama", "custom_handler": handler}])
    lm = dspy.LM("oxillama/any", engine="litellm", cache=False, **{**SHORT, "max_tokens": 100})
    said = lm(messages=MESSAGES)
    assert said == [demo.chat(MESSAGES, max_tokens=100, temperature=0).text]
    assert asyncio.run(lm.acall(messages=MESSAGES)) == said

    handler.close()


def test_the_call_is_one() -> None:
    """What the model of these tests writes is a call with these arguments."""
    assert json.loads("".join(CALL[1:-1]))["arguments"] == MIA
