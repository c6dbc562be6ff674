"""instructor reads an object out of a reply: BASE_URL KEY MODEL, of a model that writes one. Prints what it read."""

from __future__ import annotations

import asyncio
import json
import sys

import instructor
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel


class Person(BaseModel):
    name: str
    age: int


async def main(base_url: str, key: str, model: str) -> None:
    messages = [{"role": "user", "content": "Who is it?"}]
    client = instructor.from_openai(OpenAI(base_url=base_url, api_key=key, max_retries=0), mode=instructor.Mode.MD_JSON)
    person = client.chat.completions.create(model=model, messages=messages, response_model=Person, max_retries=1)
    later = instructor.from_openai(
        AsyncOpenAI(base_url=base_url, api_key=key, max_retries=0), mode=instructor.Mode.MD_JSON
    )
    again = await later.chat.completions.create(model=model, messages=messages, response_model=Person, max_retries=1)
    assert again.model_dump() == person.model_dump()
    partial = list(client.chat.completions.create_partial(model=model, messages=messages, response_model=Person))
    assert partial[-1].model_dump() == person.model_dump()
    print(json.dumps(person.model_dump()))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:4]))
