"""pydantic-ai through both of OpenAI's APIs, earlier replies as history: BASE_URL KEY MODEL. Prints what it got."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider

SYSTEM, QUESTION = "You tell stories.", "Tell me one."


async def main(base_url: str, key: str, model: str) -> None:
    provider = OpenAIProvider(base_url=base_url, api_key=key)
    settings: Any = {"max_tokens": 12, "temperature": 0}
    texts = []
    for kind in (OpenAIChatModel, OpenAIResponsesModel):
        agent = Agent(kind(model, provider=provider), instructions=SYSTEM, model_settings=settings)
        run = await agent.run(QUESTION)
        texts.append(run.output)
        async with agent.run_stream(QUESTION) as stream:
            assert await stream.get_output() == run.output
        assert (await agent.run("Another.", message_history=run.all_messages())).output
    assert texts[0] == texts[1]
    print(json.dumps({"chat": texts[0]}))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:4]))
