"""llama.cpp as a child of compare.py, through the C functions that llama-cpp-python binds: MODEL THREADS REPACK [LORA].

Flash attention on, F16 cache; REPACK 1: weights are repacked at load, as it does by default. One JSON task per line in,
one answer per line out."""

from __future__ import annotations

import ctypes
import json
import random
import sys
import time
from typing import Any

import llama_cpp as c


class LlamaCpp:
    def __init__(self, path: str, threads: int, repack: bool, lora: str | None = None) -> None:
        c.llama_backend_init()
        params = c.llama_model_default_params()
        params.use_extra_bufts = repack
        self.model = c.llama_model_load_from_file(path.encode(), params)
        if not self.model:
            raise SystemExit(f"llama.cpp cannot load {path}")
        self.adapter = c.llama_adapter_lora_init(self.model, lora.encode()) if lora else None
        if lora and not self.adapter:
            raise SystemExit(f"llama.cpp cannot load {lora}")
        self.threads = threads
        self.context: Any = None
        self.n_vocab = c.llama_vocab_n_tokens(c.llama_model_get_vocab(self.model))

    def prepare(self, task: dict[str, Any]) -> None:
        """A context of its own for each task, with what the task begins after."""
        if self.context:
            c.llama_free(self.context)
        self.length = max(task["depth"], 32 if task["kind"] == "decode" else 0)
        params = c.llama_context_default_params()
        params.n_ctx = (self.length + task["tokens"] + 256) // 256 * 256 * task["batch"]
        params.n_batch = params.n_ubatch = 512
        params.n_seq_max = task["batch"]
        params.n_threads = params.n_threads_batch = self.threads
        params.flash_attn_type = c.LLAMA_FLASH_ATTN_TYPE_ENABLED
        self.context = c.llama_init_from_model(self.model, params)
        if not self.context:
            raise SystemExit("llama.cpp cannot make a context")
        if self.adapter:
            adapters = (ctypes.c_void_p * 1)(ctypes.cast(self.adapter, ctypes.c_void_p))
            scales = (ctypes.c_float * 1)(1.0)
            pointer = ctypes.cast(adapters, c.llama_set_adapters_lora.argtypes[1])
            if c.llama_set_adapters_lora(self.context, pointer, 1, scales) != 0:
                raise SystemExit("llama.cpp does not take the adapter")
        for sequence in range(task["batch"]):
            self._prompt(0, self.length, sequence)
        self.rate(task)  # warms up

    def rate(self, task: dict[str, Any]) -> float:
        n, batch = task["tokens"], task["batch"]
        for sequence in range(batch):
            c.llama_memory_seq_rm(c.llama_get_memory(self.context), sequence, self.length, -1)
        begin = time.perf_counter()
        if task["kind"] == "prefill":
            self._prompt(self.length, n, 0)
            return n / (time.perf_counter() - begin)
        # Which token is fed does not change the time: no sampling on this side.
        for step in range(n):
            self._evaluate([(step % self.n_vocab, self.length + step, sequence, True) for sequence in range(batch)])
        return batch * n / (time.perf_counter() - begin)

    def _prompt(self, first: int, n: int, sequence: int) -> None:
        chosen = random.Random(sequence)
        rows = [(chosen.randrange(self.n_vocab), first + i, sequence, i == n - 1) for i in range(n)]
        for start in range(0, n, 512):
            self._evaluate(rows[start : start + 512])

    def _evaluate(self, rows: list[tuple[int, int, int, bool]]) -> None:
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


def main() -> None:
    engine = LlamaCpp(sys.argv[1], int(sys.argv[2]), sys.argv[3] == "1", *sys.argv[4:5])
    print(json.dumps({"build": c.llama_print_system_info().decode()}), flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        if asked["prepare"]:
            engine.prepare(asked["task"])
            answer: dict[str, float] = {}
        else:
            answer = {"tokens_per_second": engine.rate(asked["task"])}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
