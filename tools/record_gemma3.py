"""Records what llama.cpp computes of the real Gemma 3 270M, for tests/real/test_gemma3.py:

    /path/to/python-with-llama_cpp -m tools.record_gemma3 > tests/data/gemma3_270m.json
    OXILLAMA_ISA=reference python -m tools.record_gemma3 exact

Of twenty prompts the logits behind the last token: the twenty best, and sixteen spread over the vocabulary; and the
perplexity of a text. Keys and values are kept as float32, everything else is llama.cpp's default. The second adds what
the same weights give with float32 activations, from which both engines differ. Run from the root."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from tests.real.texts import LONG_TEXT, TWENTY
from tools.real_models import GEMMA3, folder

SPREAD = 16
RECORDED = Path(__file__).parents[1] / "tests" / "data" / "gemma3_270m.json"


def add_exact() -> None:
    from oxillama import Engine

    report = json.loads(RECORDED.read_text())
    with Engine(folder() / GEMMA3.name, n_ctx=256, kv_dtype="f32", progress=False) as engine:
        for prompt in report["prompts"]:
            logits = engine.logits(prompt["ids"])[-1]
            prompt["exact"] = [round(float(logits[i]), 5) for i in prompt["tokens"]]
    RECORDED.write_text(json.dumps(report) + "\n")


def main() -> None:
    import llama_cpp

    # A constant of the package, by the number it has in ggml.h.
    float32 = 0
    model = llama_cpp.Llama(
        str(folder() / GEMMA3.name), n_ctx=1024, logits_all=True, verbose=False, type_k=float32, type_v=float32
    )
    found: list[dict[str, Any]] = []
    for prompt in TWENTY:
        ids = model.tokenize(prompt.encode())
        logits = rows(model, ids)[-1]
        best = np.argsort(-logits)[:20]
        chosen = [*map(int, best), *range(7, model.n_vocab(), model.n_vocab() // SPREAD)]
        found.append({"ids": ids, "tokens": chosen, "logits": [round(float(logits[i]), 5) for i in chosen]})
    ids = model.tokenize(LONG_TEXT.encode())
    logits = rows(model, ids)[:-1]
    top = logits.max(axis=1)
    total = top + np.log(np.exp(logits - top[:, None]).sum(axis=1))
    losses = total - logits[np.arange(len(ids) - 1), ids[1:]]
    report = {
        "llama_cpp_python": llama_cpp.__version__,
        "sha256": GEMMA3.sha256,
        "prompts": found,
        "text": {"ids": ids, "perplexity": float(np.exp(losses.mean()))},
    }
    json.dump(report, sys.stdout)
    print()


def rows(model: Any, ids: list[int]) -> Any:
    """Logits of all tokens, float64 [n, n_vocab]."""
    model.reset()
    model.eval(ids)
    return np.array(model.scores[: len(ids)], np.float64)


if __name__ == "__main__":
    add_exact() if sys.argv[1:] == ["exact"] else main()
