"""instructor in its modes of JSON: BASE_URL KEY MODEL, of a model that writes a person. Prints what it read."""

from __future__ import annotations

import json
import sys

import instructor
from openai import OpenAI
from pydantic import BaseModel


class Person(BaseModel):
    name: str
    age: int


def main(base_url: str, key: str, model: str) -> None:
    client = OpenAI(base_url=base_url, api_key=key, max_retries=0)
    people = [
        instructor.from_openai(client, mode=mode).chat.completions.create(
            model=model, messages=[{"role": "user", "content": "Who is it?"}], response_model=Person, max_retries=0
        )
        for mode in (instructor.Mode.JSON, instructor.Mode.JSON_SCHEMA)
    ]
    print(json.dumps([person.model_dump() for person in people]))


if __name__ == "__main__":
    main(*sys.argv[1:4])
