"""Streams: text as it is written, leaving early, and several streams at once in one event loop.

python examples/streaming.py
"""

from __future__ import annotations

import asyncio

from oxillama import Engine


def until_the_first_sentence_ends(engine: Engine) -> str:
    text = ""
    for chunk in engine.stream("Once upon a time", max_tokens=200, temperature=0.8, seed=7):
        text += chunk.text
        if "." in chunk.text:
            break  # the stream's last reference is gone, so the engine stops computing it
    return text


async def write(engine: Engine, beginning: str) -> str:
    text = beginning
    async with engine.astream(beginning, max_tokens=30, temperature=0) as stream:
        async for chunk in stream:
            text += chunk.text
    return text


async def write_together(engine: Engine) -> list[str]:
    # The engine advances all of them in one batch; each text is what it would have been alone.
    return await asyncio.gather(*(write(engine, beginning) for beginning in ("One day", "The little fox", "Mia")))


def main() -> None:
    with Engine.demo(progress=False) as engine:
        print(until_the_first_sentence_ends(engine))
        for text in asyncio.run(write_together(engine)):
            print("-", text)


if __name__ == "__main__":
    main()
