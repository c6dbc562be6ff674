"""oxillama behind uvicorn as a child of http_load.py: MODEL THREADS BATCH. Tells its port, then answers one JSON task
per line: the same work asked of the engine directly, in the process that serves it."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from typing import Any

import uvicorn

from oxillama import Engine, SamplingParams
from oxillama.asgi import create_app


async def stream(engine: Engine, prompt: list[int], tokens: int) -> int:
    params = SamplingParams(max_tokens=tokens, temperature=0, ignore_eos=True, cache_prompt=False)
    written = 0
    async for chunk in engine.astream(prompt, params):
        written += len(chunk.token_ids)
    return written


async def ask(engine: Engine, prompts: list[list[int]], tokens: int) -> float:
    """Tokens per second of all prompts together, streamed by tasks of one event loop as a server would."""
    begin = time.perf_counter()
    written = await asyncio.gather(*(stream(engine, prompt, tokens) for prompt in prompts))
    return sum(written) / (time.perf_counter() - begin)


def main() -> None:
    model, threads, batch = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    with Engine(model, n_threads=threads, n_ctx=4096, max_batch_size=batch, progress=False) as engine:
        config = uvicorn.Config(create_app(engine, model_aliases="*"), port=0, log_level="error")
        server = uvicorn.Server(config)
        threading.Thread(target=server.run, daemon=True).start()
        while not server.started:
            time.sleep(0.01)
        print(json.dumps({"port": server.servers[0].sockets[0].getsockname()[1]}), flush=True)
        for line in sys.stdin:
            task: dict[str, Any] = json.loads(line)
            rate = asyncio.run(ask(engine, task["prompts"], task["tokens"]))
            print(json.dumps({"tokens_per_second": rate}), flush=True)
        server.should_exit = True


if __name__ == "__main__":
    main()
