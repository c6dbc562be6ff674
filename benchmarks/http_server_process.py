"""oxillama behind uvicorn as a child of http_load.py: MODEL THREADS BATCH. Tells its port, then answers one JSON task
per line: the same work asked of the engine directly, in the process that serves it; or how busy the server has been."""

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


async def stream(engine: Engine, prompt: str, tokens: int) -> int:
    params = SamplingParams(max_tokens=tokens, temperature=0, ignore_eos=True, cache_prompt=False)
    written = 0
    async for chunk in engine.astream(prompt, params):
        written += len(chunk.token_ids)
    return written


async def ask(engine: Engine, prompts: list[str], tokens: int) -> dict[str, float]:
    """Tokens per second of all prompts together, streamed by tasks of one event loop as a server would; and the CPU
    seconds of that loop's thread."""
    begin, before = time.perf_counter(), time.thread_time()
    written = await asyncio.gather(*(stream(engine, prompt, tokens) for prompt in prompts))
    return {
        "tokens_per_second": sum(written) / (time.perf_counter() - begin),
        "loop_seconds": time.thread_time() - before,
    }


class Server(threading.Thread):
    """uvicorn in a thread of its own, whose CPU time can be asked for."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(daemon=True)
        self.uvicorn = uvicorn.Server(uvicorn.Config(create_app(engine, model_aliases="*"), port=0, log_level="error"))
        self._loop = asyncio.new_event_loop()
        self.start()
        while not self.uvicorn.started:
            time.sleep(0.01)
        self.port = self.uvicorn.servers[0].sockets[0].getsockname()[1]

    def run(self) -> None:
        self._loop.run_until_complete(self.uvicorn.serve())

    def loop_seconds(self) -> float:
        async def thread_time() -> float:
            return time.thread_time()

        return asyncio.run_coroutine_threadsafe(thread_time(), self._loop).result()


def main() -> None:
    model, threads, batch = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    with Engine(model, n_threads=threads, n_ctx=4096, max_batch_size=batch, progress=False) as engine:
        server = Server(engine)
        print(json.dumps({"port": server.port}), flush=True)
        for line in sys.stdin:
            task: dict[str, Any] = json.loads(line)
            if "prompts" in task:
                answer = asyncio.run(ask(engine, task["prompts"], task["tokens"]))
            else:
                answer = {"loop_seconds": server.loop_seconds()}
            print(json.dumps(answer), flush=True)
        server.uvicorn.should_exit = True
        server.join()


if __name__ == "__main__":
    main()
