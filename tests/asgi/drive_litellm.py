"""litellm through the routes that it has a function for: BASE_URL KEY MODEL. Prints what it got."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import litellm

MESSAGES = [{"role": "system", "content": "You tell stories."}, {"role": "user", "content": "Tell me one."}]


async def main(base_url: str, key: str, model: str) -> None:
    own: dict[str, Any] = {"api_base": base_url, "api_key": key, "max_retries": 0}
    options: dict[str, Any] = {**own, "max_tokens": 12, "temperature": 0}
    chat = litellm.completion(model=f"openai/{model}", messages=MESSAGES, **options)
    text = chat.choices[0].message.content
    assert chat.usage.completion_tokens == 12
    again = {"role": "user", "content": "Another."}
    for said in (chat.choices[0].message, chat.choices[0].message.model_dump(), chat.choices[0].message.to_dict()):
        history = [*MESSAGES, said, again]
        assert litellm.completion(model=f"openai/{model}", messages=history, **options).choices[0].message.content
    chunks = litellm.completion(model=f"openai/{model}", messages=MESSAGES, stream=True, **options)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == text
    reply = await litellm.acompletion(model=f"openai/{model}", messages=MESSAGES, **options)
    assert reply.choices[0].message.content == text
    stream = await litellm.acompletion(model=f"openai/{model}", messages=MESSAGES, stream=True, **options)
    assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream]) == text

    completion = litellm.text_completion(model=f"text-completion-openai/{model}", prompt="Once upon a time", **options)
    rows = litellm.embedding(model=f"openai/{model}", input=["one", "two"], encoding_format="float", **own).data
    response = litellm.responses(
        model=f"openai/{model}", input=MESSAGES[1]["content"], instructions=MESSAGES[0]["content"],
        max_output_tokens=12, temperature=0, **own,
    )  # fmt: skip
    # It asks for 16 tokens at least, which is OpenAI's minimum.
    assert response.output[0].content[0].text.startswith(text)
    try:
        litellm.completion(model=f"openai/{model}", messages=[{"role": "user", "content": "word " * 5000}], **options)
    except litellm.ContextWindowExceededError:
        pass  # it is told from other bad requests by the words of the message
    else:
        raise AssertionError("no ContextWindowExceededError")
    print(json.dumps({"chat": text, "completion": completion.choices[0].text, "embedding": rows[0]["embedding"][:4]}))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:4]))
