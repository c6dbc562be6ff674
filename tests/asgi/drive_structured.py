"""Client libraries that ask for a shape: BASE_URL KEY MODEL, of any model. Prints what they read."""

from __future__ import annotations

import json
import sys
from typing import Any, Literal

import instructor
import litellm
from langchain_openai import ChatOpenAI
from openai import OpenAI
from pydantic import BaseModel, ConfigDict, Field


class Pet(BaseModel):
    # Else a model may add members without end, which the schema would allow.
    model_config = ConfigDict(extra="forbid")

    kind: Literal["cat", "dog"]
    legs: int = Field(ge=0, le=4)


MESSAGES: list[Any] = [{"role": "user", "content": "Which pet is it?"}]


def main(base_url: str, key: str, model: str) -> None:
    client = OpenAI(base_url=base_url, api_key=key, max_retries=0)
    found: dict[str, Any] = {}
    patched = instructor.from_openai(client, mode=instructor.Mode.JSON_SCHEMA)
    pet = patched.chat.completions.create(
        model=model, messages=MESSAGES, response_model=Pet, max_retries=0, max_tokens=100
    )
    found["instructor"] = pet.model_dump()
    parsed: Any = client.chat.completions.parse(model=model, messages=MESSAGES, response_format=Pet, max_tokens=100)
    found["openai"] = parsed.choices[0].message.parsed.model_dump()
    response: Any = client.responses.parse(model=model, input="Which pet?", text_format=Pet, max_output_tokens=100)
    found["openai responses"] = response.output_parsed.model_dump()
    chat = ChatOpenAI(base_url=base_url, api_key=key, model=model, max_retries=0, max_completion_tokens=100)
    found["langchain"] = chat.with_structured_output(Pet, method="json_schema").invoke("Which pet?").model_dump()
    own: dict[str, Any] = {"api_base": base_url, "api_key": key, "max_retries": 0, "max_tokens": 100}
    reply = litellm.completion(model=f"openai/{model}", messages=MESSAGES, response_format=Pet, **own)
    found["litellm"] = Pet.model_validate_json(reply.choices[0].message.content).model_dump()
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:4])
