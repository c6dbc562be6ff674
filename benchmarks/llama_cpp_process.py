"""llama.cpp as a child of speed.py, through the C functions that llama-cpp-python binds: MODEL THREADS BATCH.

Flash attention on, F16 cache, weights repacked at load as it does by default. One JSON task per line."""

from __future__ import annotations

import json
import random
import sys
import time
from typing import Any

import llama_cpp as c


class LlamaCpp:
    def __init__(self, path: str, threads: int, batch: int) -> None:
        c.llama_backend_init()
        self.model = c.llama_model_load_from_file(path.encode(), c.llama_model_default_params())
        if not self.model:
            raise SystemExit(f"llama.cpp cannot load {path}")
        params = c.llama_context_default_params()
        params.n_ctx = 4096 if batch == 1 else 512 * batch
        params.n_batch = params.n_ubatch = 512
        params.n_seq_max = batch
        params.n_threads = params.n_threads_batch = threads
        params.flash_attn_type = c.LLAMA_FLASH_ATTN_TYPE_ENABLED
        self.context = c.llama_init_from_model(self.model, params)
        self.n_vocab = c.llama_vocab_n_tokens(c.llama_model_get_vocab(self.model))

    def evaluate(self, rows: list[tuple[int, int, int, bool]]) -> None:
        """rows: token, position, sequence, wants logits."""
        batch = c.llama_batch_init(len(rows), 0, 1)
        batch.n_tokens = len(rows)
        for i, (token, position, sequence, wanted) in enumerate(rows):
            batch.token[i], batch.pos[i], batch.n_seq_id[i] = token, position, 1
            batch.seq_id[i][0] = sequence
            batch.logits[i] = wanted
        if c.llama_decode(self.context, batch) != 0:
            raise SystemExit("llama_decode failed")
        c.llama_synchronize(self.context)
        c.llama_batch_free(batch)

    def prompt(self, n: int, seed: int, sequence: int = 0) -> None:
        chosen = random.Random(seed)
        tokens = [chosen.randrange(self.n_vocab) for _ in range(n)]
        self.evaluate([(token, i, sequence, i == n - 1) for i, token in enumerate(tokens)])

    def clear(self) -> None:
        c.llama_memory_clear(c.llama_get_memory(self.context), True)

    def prefill(self, n: int, seed: int) -> float:
        self.clear()
        begin = time.perf_counter()
        self.prompt(n, seed)
        return n / (time.perf_counter() - begin)

    def decode(self, n: int, batch: int) -> float:
        self.clear()
        length = 8 if batch == 1 else 128
        for sequence in range(batch):
            self.prompt(length, sequence, sequence)
        # Which token is fed does not change the time: no sampling on this side.
        begin = time.perf_counter()
        for step in range(n):
            self.evaluate([(step % self.n_vocab, length + step, sequence, True) for sequence in range(batch)])
        return batch * n / (time.perf_counter() - begin)


def main() -> None:
    begin = time.perf_counter()
    engine = LlamaCpp(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
    print(json.dumps({"load_seconds": time.perf_counter() - begin}), flush=True)
    for seed, line in enumerate(sys.stdin):
        task: dict[str, Any] = json.loads(line)
        if task["task"] == "prefill":
            rate = engine.prefill(task["tokens"], seed)
        else:
            rate = engine.decode(task["tokens"], task["batch"])
        print(json.dumps({"tokens_per_second": rate}), flush=True)


if __name__ == "__main__":
    main()
