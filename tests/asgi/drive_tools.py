"""Tools through langchain-openai, instructor, litellm and a loop of one's own: BASE_URL KEY MODEL, of a model that
calls one. Prints what it was called with."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import instructor
import litellm
from langchain_core.messages import AIMessageChunk
from langchain_openai import ChatOpenAI
from openai import OpenAI
from pydantic import BaseModel


class Person(BaseModel):
    name: str
    age: int


MIA: dict[str, Any] = {"name": "Mia", "age": 7}
ASK = [{"role": "user", "content": "Who is it?"}]
TOOL: Any = {"type": "function", "function": {"name": "Person", "parameters": Person.model_json_schema()}}


async def main(base_url: str, key: str, model: str) -> None:
    chat = ChatOpenAI(base_url=base_url, api_key=key, model=model, max_retries=0)
    bound = chat.bind_tools([Person], tool_choice="Person")
    whole = bound.invoke("Who is it?")
    assert [(call["name"], call["args"]) for call in whole.tool_calls] == [("Person", MIA)], whole
    pieces = list(bound.stream("Who is it?"))
    joined: AIMessageChunk = sum(pieces[1:], pieces[0])
    assert [call["args"] for call in joined.tool_calls] == [MIA]
    assert (await chat.bind_tools([Person]).ainvoke("Who is it?")).tool_calls[0]["args"] == MIA
    structured = chat.with_structured_output(Person, method="function_calling")
    assert structured.invoke("Who is it?") == Person(**MIA)
    responses = ChatOpenAI(
        base_url=base_url, api_key=key, model=model, max_retries=0, use_responses_api=True, store=False
    )
    assert responses.bind_tools([Person], tool_choice="Person").invoke("Who is it?").tool_calls[0]["args"] == MIA

    client = OpenAI(base_url=base_url, api_key=key, max_retries=0)
    tools = instructor.from_openai(client, mode=instructor.Mode.TOOLS)
    options: dict[str, Any] = {"model": model, "messages": ASK, "response_model": Person}
    assert tools.chat.completions.create(max_retries=0, **options).model_dump() == MIA
    # The tool is called PartialPerson here, which this model would not say: the grammar makes it, with arguments that
    # nobody has thought of.
    *_, last = tools.chat.completions.create_partial(**options)
    assert isinstance(last.name, str), last
    assert isinstance(last.age, int), last

    own: dict[str, Any] = {"api_base": base_url, "api_key": key, "max_retries": 0, "tools": [TOOL]}
    said = litellm.completion(model=f"openai/{model}", messages=ASK, **own).choices[0]
    assert said.finish_reason == "tool_calls"
    assert json.loads(said.message.tool_calls[0].function.arguments) == MIA
    chunks = list(litellm.completion(model=f"openai/{model}", messages=ASK, stream=True, **own))
    built = litellm.stream_chunk_builder(chunks)
    assert json.loads(built.choices[0].message.tool_calls[0].function.arguments) == MIA

    messages: list[Any] = list(ASK)
    for _ in range(2):
        reply = client.chat.completions.create(model=model, messages=messages, tools=[TOOL])
        message: Any = reply.choices[0].message
        messages.append(message)
        for call in message.tool_calls or []:
            messages.append({"role": "tool", "tool_call_id": call.id, "content": call.function.arguments})
    assert len({call.id for message in messages[1::2] for call in message.tool_calls}) == 2
    print(json.dumps(json.loads(messages[2]["content"])))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:4]))
