"""Records what llama.cpp computes for the networks of tests/network/models/hybrids.py: tests/data/hybrids.json.

Usage: python -m tools.hybrid_reference (needs llama-cpp-python)
"""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import llama_cpp
import numpy as np

from tests.network.models.hybrids import HYBRIDS, PROMPT, RECORDED, write

PAGE = Path(__file__).resolve().parent.parent / "tests" / "data" / "hybrids.json"
F32 = 0  # ggml's number


def logits(path: Path) -> list[list[float]]:
    """The recorded rows, with a float32 cache and one thread."""
    settings = llama_cpp.llama_model_default_params()
    settings.n_gpu_layers = 0
    model = llama_cpp.llama_model_load_from_file(str(path).encode(), settings)
    if not model:
        raise RuntimeError(f"llama.cpp does not load {path.name}")
    options = llama_cpp.llama_context_default_params()
    options.n_ctx = options.n_batch = options.n_ubatch = 256
    options.n_threads = options.n_threads_batch = 1
    options.type_k = options.type_v = F32
    options.flash_attn_type = 0
    context = llama_cpp.llama_init_from_model(model, options)
    batch: Any = llama_cpp.llama_batch_init(len(PROMPT), 0, 1)
    batch.n_tokens = len(PROMPT)
    for i, token in enumerate(PROMPT):
        batch.token[i], batch.pos[i], batch.logits[i] = token, i, 1
        batch.n_seq_id[i], batch.seq_id[i][0] = 1, 0
    if llama_cpp.llama_decode(context, batch):
        raise RuntimeError(f"llama.cpp does not run {path.name}")
    n_vocab = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(model))
    rows = []
    for row in RECORDED:
        found: Any = llama_cpp.llama_get_logits_ith(context, row)
        rows.append([round(float(value), 6) for value in np.ctypeslib.as_array(found, (n_vocab,))])
    llama_cpp.llama_batch_free(batch)
    llama_cpp.llama_free(context)
    llama_cpp.llama_model_free(model)
    return rows


def main() -> None:
    recorded: dict[str, Any] = {
        "note": "logits of llama.cpp, float32, written by `python -m tools.hybrid_reference`; rows: RECORDED of PROMPT",
        "llama_cpp": llama_cpp.__version__,
        "logits": {},
    }
    with TemporaryDirectory() as folder:
        for name, hybrid in HYBRIDS.items():
            path = Path(folder) / f"{name}.gguf"
            write(hybrid, path)
            recorded["logits"][name] = logits(path)
    PAGE.write_text(json.dumps(recorded) + "\n")


if __name__ == "__main__":
    main()
