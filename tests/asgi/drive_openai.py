"""OpenAI's own client, sync and async, through every route that it has a method for: BASE_URL KEY MODEL.

A script, so that several majors of the client can run it, each in an interpreter of its own. Prints what it did."""

from __future__ import annotations

import asyncio
import base64
import json
import struct
import sys
from collections.abc import Callable
from typing import Any

import openai
from openai import AsyncOpenAI, OpenAI

MESSAGES: list[Any] = [
    {"role": "system", "content": "You tell stories."},
    {"role": "user", "content": [{"type": "text", "text": "Tell me one."}]},
]
OPTIONS: dict[str, Any] = {"max_tokens": 12, "temperature": 0, "seed": 1}


def drive(client: OpenAI, model: str) -> dict[str, Any]:
    """What each route gave. The same as `drive_async` gives."""
    assert [each.id for each in client.models.list()] == [model]
    assert client.models.retrieve(model).id == model

    completion = client.completions.create(model=model, prompt="Once upon a time", logprobs=2, **OPTIONS)
    pieces = list(client.completions.create(model=model, prompt="Once upon a time", stream=True, **OPTIONS))
    assert "".join(piece.choices[0].text for piece in pieces) == completion.choices[0].text
    assert completion.usage is not None
    assert completion.usage.completion_tokens == 12
    assert completion.choices[0].logprobs is not None
    several = client.completions.create(model=model, prompt=["One day", "The fox"], n=2, best_of=2, max_tokens=4)
    assert [choice.index for choice in several.choices] == [0, 1, 2, 3]

    chat = client.chat.completions.create(
        model=model, messages=MESSAGES, logprobs=True, top_logprobs=2, **{**OPTIONS, "n": 2}
    )
    assert chat.choices[0].message.content == chat.choices[1].message.content
    assert chat.choices[0].logprobs is not None
    assert chat.choices[0].logprobs.content
    chunks = list(
        client.chat.completions.create(
            model=model, messages=MESSAGES, stream=True, stream_options={"include_usage": True}, **OPTIONS
        )
    )
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].usage is not None
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == chat.choices[0].message.content
    # It takes no reply that was cut off.
    with client.chat.completions.stream(
        model=model, messages=MESSAGES, **{**OPTIONS, "max_tokens": 200, "stop": "."}
    ) as stream:
        deltas = [event.delta for event in stream if event.type == "content.delta"]
        final = stream.get_final_completion()
    assert final.choices[0].message.content == "".join(deltas)
    assert final.choices[0].finish_reason == "stop"
    parsed = client.chat.completions.parse(
        model=model, messages=MESSAGES, **{**OPTIONS, "max_tokens": 200, "stop": "."}
    )
    told = [reply.choices[0].message for reply in (chat, final, parsed)]
    for said in (*told, *[message.model_dump() for message in told], *[message.to_dict() for message in told]):
        history: list[Any] = [*MESSAGES, said, {"role": "user", "content": "Another."}]
        assert client.chat.completions.create(model=model, messages=history, **OPTIONS).choices

    vectors = client.embeddings.create(model=model, input=["one", "two"])
    raw = client.embeddings.create(model=model, input=["one", "two"], encoding_format="base64", dimensions=8)
    row = vectors.data[0].embedding
    first: Any = raw.data[0].embedding
    decoded = struct.unpack("<8f", base64.b64decode(first))
    scale = row[0] / decoded[0]
    assert all(abs(a - b * scale) < 1e-6 for a, b in zip(row, decoded, strict=False))

    response = client.responses.create(
        model=model, input=MESSAGES[1]["content"][0]["text"], instructions="You tell stories.", **RESPONSE_OPTIONS
    )
    assert response.output_text == text
    assert response.usage is not None
    assert response.usage.output_tokens == 12
    assert response.status == "incomplete"
    events = list(client.responses.create(model=model, input=RESPONSE_INPUT, stream=True, **RESPONSE_OPTIONS))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert events[0].type == "response.created"
    assert events[-1].type == "response.incomplete"
    with client.responses.stream(model=model, input=RESPONSE_INPUT, **RESPONSE_OPTIONS) as responses:
        deltas = [event.delta for event in responses if event.type == "response.output_text.delta"]
    assert "".join(deltas) == text
    parsed_response = client.responses.parse(model=model, input=RESPONSE_INPUT, **RESPONSE_OPTIONS)
    for items in (response.output, parsed_response.output):
        for item in (*items, *[item.model_dump() for item in items]):
            asked: list[Any] = [*RESPONSE_INPUT, item, {"role": "user", "content": "Another."}]
            assert client.responses.create(model=model, input=asked, **RESPONSE_OPTIONS).output_text
    check_errors(client, model)
    return {
        "completion": completion.choices[0].text,
        "chat": text,
        "embedding": row[:4],
        "events": [event.type for event in events],
    }


def check_errors(client: OpenAI, model: str) -> None:
    """Each status becomes the client's own exception, with our fields in it."""
    stranger = client.with_options(api_key="wrong")
    for call, kind, code in (
        (lambda: stranger.models.list(), openai.AuthenticationError, "invalid_api_key"),
        (lambda: client.models.retrieve("nope"), openai.NotFoundError, "model_not_found"),
        (
            lambda: client.completions.create(model=model, prompt=[1] * 100000),
            openai.BadRequestError,
            "context_length_exceeded",
        ),
        (
            lambda: client.completions.create(model=model, prompt="a", extra_body={"nope": 1}),
            openai.BadRequestError,
            "unknown_field",
        ),
        (
            lambda: client.responses.create(model=model, input="a", previous_response_id="resp_1"),
            openai.BadRequestError,
            "unsupported_field",
        ),
    ):
        error = failure_of(call, kind)
        assert error.code == code, error
        assert error.request_id


def failure_of(call: Callable[[], object], kind: type[openai.APIStatusError]) -> openai.APIStatusError:
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__}")


async def drive_async(client: AsyncOpenAI, model: str) -> dict[str, Any]:
    assert [each.id async for each in client.models.list()] == [model]
    completion, chat, vectors, response = await asyncio.gather(
        client.completions.create(model=model, prompt="Once upon a time", **OPTIONS),
        client.chat.completions.create(model=model, messages=MESSAGES, **OPTIONS),
        client.embeddings.create(model=model, input=["one", "two"]),
        client.responses.create(model=model, input=RESPONSE_INPUT, **RESPONSE_OPTIONS),
    )
    stream = await client.completions.create(model=model, prompt="Once upon a time", stream=True, **OPTIONS)
    text = "".join([piece.choices[0].text async for piece in stream])
    assert text == completion.choices[0].text
    chunks = await client.chat.completions.create(model=model, messages=MESSAGES, stream=True, **OPTIONS)
    parts = [chunk.choices[0].delta.content or "" async for chunk in chunks]
    assert "".join(parts) == chat.choices[0].message.content == response.output_text
    events = await client.responses.create(model=model, input=RESPONSE_INPUT, stream=True, **RESPONSE_OPTIONS)
    kinds = [event.type async for event in events]
    return {
        "completion": completion.choices[0].text,
        "chat": chat.choices[0].message.content,
        "embedding": vectors.data[0].embedding[:4],
        "events": kinds,
    }


RESPONSE_INPUT: list[Any] = [
    {"role": "system", "content": "You tell stories."},
    {"role": "user", "content": [{"type": "input_text", "text": "Tell me one."}]},
]
RESPONSE_OPTIONS: dict[str, Any] = {"max_output_tokens": 12, "temperature": 0}


async def main(base_url: str, key: str, model: str) -> None:
    with OpenAI(base_url=base_url, api_key=key, max_retries=0) as client:
        found = drive(client, model)
    async with AsyncOpenAI(base_url=base_url, api_key=key, max_retries=0) as async_client:
        assert await drive_async(async_client, model) == found
    print(json.dumps({"client": openai.__version__, **found}))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:4]))
