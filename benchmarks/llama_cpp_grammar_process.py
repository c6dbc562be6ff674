"""llama.cpp under a grammar, as a child of grammar_peer.py: MODEL THREADS. One task per line in, one answer out.

Samples as llama.cpp's server does: a token of the whole vocabulary first, and only where the grammar refuses it does
the grammar look at all tokens. A grammar that is complete begins again, so that each task has as many tokens as it
asks for."""

from __future__ import annotations

import ctypes
import json
import sys
import time
from typing import Any

import llama_cpp as c
import numpy as np
from llama_cpp.llama_grammar import json_schema_to_gbnf


class Writer:
    def __init__(self, path: str, threads: int) -> None:
        c.llama_backend_init()
        self.model = c.llama_model_load_from_file(path.encode(), c.llama_model_default_params())
        if not self.model:
            raise SystemExit(f"llama.cpp cannot load {path}")
        self.vocab = c.llama_model_get_vocab(self.model)
        self.n_vocab = c.llama_vocab_n_tokens(self.vocab)
        params = c.llama_context_default_params()
        params.n_ctx, params.n_threads, params.n_threads_batch = 1024, threads, threads
        params.flash_attn_type = c.LLAMA_FLASH_ATTN_TYPE_ENABLED
        self.context = c.llama_init_from_model(self.model, params)
        self.candidates = (c.llama_token_data * self.n_vocab)()
        layout = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])
        self.view = np.frombuffer(self.candidates, layout)
        self.ids = np.arange(self.n_vocab, dtype=np.int32)

    def seconds(self, task: dict[str, Any]) -> float:
        """Of so many tokens: forward passes, draws and the grammar."""
        text = None if task["schema"] is None else json_schema_to_gbnf(json.dumps(task["schema"]))
        grammar = self._grammar(text)
        chain = c.llama_sampler_chain_init(c.llama_sampler_chain_default_params())
        if task["temperature"]:
            c.llama_sampler_chain_add(chain, c.llama_sampler_init_temp(task["temperature"]))
            c.llama_sampler_chain_add(chain, c.llama_sampler_init_dist(task["seed"]))
        else:
            c.llama_sampler_chain_add(chain, c.llama_sampler_init_greedy())
        c.llama_memory_clear(c.llama_get_memory(self.context), True)
        self._evaluate(1)
        begin = time.perf_counter()
        for _ in range(task["tokens"]):
            token = self._draw(chain, grammar)
            if grammar is not None:
                c.llama_sampler_accept(grammar, token)
            if c.llama_vocab_is_eog(self.vocab, token):
                if grammar is not None:
                    c.llama_sampler_free(grammar)
                grammar, token = self._grammar(text), 1
            self._evaluate(token)
        return time.perf_counter() - begin

    def _grammar(self, text: str | None) -> Any:
        if text is None:
            return None
        grammar = c.llama_sampler_init_grammar(self.vocab, text.encode(), b"root")
        if not grammar:
            raise SystemExit(f"llama.cpp refuses the grammar {text}")
        return grammar

    def _draw(self, chain: Any, grammar: Any) -> int:
        drawn = self._apply(chain, None)
        if grammar is None:
            return drawn
        one = (c.llama_token_data * 1)(c.llama_token_data(drawn, 1.0, 0.0))
        only = c.llama_token_data_array(one, 1, -1, False)
        c.llama_sampler_apply(grammar, ctypes.byref(only))
        return self._apply(chain, grammar) if one[0].logit == float("-inf") else drawn

    def _apply(self, chain: Any, grammar: Any) -> int:
        logits = c.llama_get_logits_ith(self.context, -1)
        # One structured copy: ctypes would take longer for each token than the sampler does for all.
        self.view["id"][:] = self.ids
        self.view["logit"][:] = np.ctypeslib.as_array(logits, (self.n_vocab,))
        array = c.llama_token_data_array(self.candidates, self.n_vocab, -1, False)
        if grammar is not None:
            c.llama_sampler_apply(grammar, ctypes.byref(array))
        c.llama_sampler_apply(chain, ctypes.byref(array))
        return int(array.data[array.selected].id)

    def _evaluate(self, token: int) -> None:
        tokens = (ctypes.c_int32 * 1)(token)
        if c.llama_decode(self.context, c.llama_batch_get_one(tokens, 1)) != 0:
            raise SystemExit("llama_decode failed")


def main() -> None:
    writer = Writer(sys.argv[1], int(sys.argv[2]))
    for line in sys.stdin:
        print(json.dumps({"seconds": writer.seconds(json.loads(line))}), flush=True)


if __name__ == "__main__":
    main()
