"""Two replicas on a local Ray: spread, equal to an engine alone, one killed. MODEL. Prints what it saw as JSON."""

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.request import Request, urlopen

import ray
from ray import serve

from oxillama.ray.serving import Arguments, bound

PROMPT = "Once upon a time"


def ask(seed: int, max_tokens: int = 24) -> str:
    body = {"prompt": PROMPT, "max_tokens": max_tokens, "seed": seed}
    last: Exception | None = None
    for _ in range(60):  # a replica that dies takes its requests along; equal seeds make a retry the same request
        try:
            request = Request(
                "http://127.0.0.1:8123/v1/completions", json.dumps(body).encode(), {"content-type": "application/json"}
            )
            with urlopen(request, timeout=60) as reply:
                text: str = json.load(reply)["choices"][0]["text"]
                return text
        except OSError as error:
            last = error
            time.sleep(0.5)
    raise AssertionError(last)


def replicas() -> list[Any]:
    return [actor for actor in ray.util.list_named_actors(all_namespaces=True) if "Server#" in actor["name"]]


def main(model: str) -> None:
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    serve.start(http_options={"port": 8123})
    serve.run(bound(Arguments(model=model, cpus=0.5, min_replicas=2, max_replicas=2)))
    assert len(replicas()) == 2, replicas()
    with ThreadPoolExecutor(8) as pool:
        first = list(pool.map(ask, range(32)))
        started = time.perf_counter()
        pending = [pool.submit(ask, seed) for seed in range(32)]
        victim = replicas()[0]
        ray.kill(ray.get_actor(victim["name"], namespace=victim["namespace"]), no_restart=True)
        second = [one.result() for one in pending]
        seconds = time.perf_counter() - started
    print(json.dumps({"texts": first, "again": second, "seconds": seconds, "killed": victim["name"]}))
    serve.shutdown()
    ray.shutdown()


if __name__ == "__main__":
    main(sys.argv[1])
