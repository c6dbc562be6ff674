"""langchain-openai through the routes that it has a class for: BASE_URL KEY MODEL. Prints what it got."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from langchain_openai import ChatOpenAI, OpenAI, OpenAIEmbeddings

MESSAGES = [("system", "You tell stories."), ("human", "Tell me one.")]


async def main(base_url: str, key: str, model: str) -> None:
    options: dict[str, Any] = {"base_url": base_url, "api_key": key, "model": model, "max_retries": 0}
    chat = ChatOpenAI(temperature=0, max_completion_tokens=12, **options)
    whole = chat.invoke(MESSAGES)
    assert whole.usage_metadata["output_tokens"] == 12
    assert "".join(chunk.content for chunk in chat.stream(MESSAGES)) == whole.content
    assert (await chat.ainvoke(MESSAGES)).content == whole.content
    assert "".join([chunk.content async for chunk in chat.astream(MESSAGES)]) == whole.content
    assert [reply.content for reply in chat.batch([MESSAGES] * 3)] == [whole.content] * 3
    again = ("human", "Another.")
    assert chat.invoke([*MESSAGES, whole, again]).content

    by_responses = ChatOpenAI(temperature=0, max_completion_tokens=12, use_responses_api=True, store=False, **options)
    reply = by_responses.invoke(MESSAGES)
    assert reply.text == whole.content, reply
    chunks = list(by_responses.stream(MESSAGES))
    assert "".join(chunk.text for chunk in chunks) == whole.content
    # A reply of one API is history for the other.
    streamed = sum(chunks[1:], chunks[0])
    for said in (whole, reply, streamed):
        assert chat.invoke([*MESSAGES, said, again]).content
        assert by_responses.invoke([*MESSAGES, said, again]).text

    text = OpenAI(temperature=0, max_tokens=12, **options)
    completion = text.invoke("Once upon a time")
    assert "".join(text.stream("Once upon a time")) == completion
    # Without a tokenizer of OpenAI's: texts go out as they are.
    vectors = OpenAIEmbeddings(check_embedding_ctx_length=False, **options)
    rows = vectors.embed_documents(["one", "two"])
    assert (await vectors.aembed_query("two")) == rows[1]
    print(json.dumps({"chat": whole.content, "completion": completion, "embedding": rows[0][:4]}))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:4]))
