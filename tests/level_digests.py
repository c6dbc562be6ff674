"""What models of every family of operations compute at this process's instruction-set level, as digests of its bits.

    OXILLAMA_ISA=avx2 python -m tests.level_digests

prints one JSON object: name -> digest of the logits of all positions and of some tokens that are drawn after them."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from oxillama import Engine
from tests.network.models.described import MODELS
from tests.network.models.described_dense import DENSE
from tests.network.models.hybrids import HYBRIDS, write
from tests.test_encoder_exactness import SHAPES as ENCODERS
from tests.test_exactness import SHAPES

# Products of bfloat16 are rounded in another way where the processor has them, so files with such weights may differ.
BFLOAT16 = ("bf16 window", "encoder: neo-bert")
IDS = [int(token) for token in np.random.default_rng(5).integers(3, 80, 150)]
N_LONG = 3  # models whose prompt has all of IDS; others a beginning, for time


def writers() -> dict[str, Callable[[Path], None]]:
    """What writes the file of each model."""
    described: dict[str, Mapping[str, Any]] = {"": SHAPES, "experts: ": MODELS, "dense: ": DENSE}
    found: dict[str, Callable[[Path], None]] = {
        f"{room}{name}": model.write for room, models in described.items() for name, model in models.items()
    }
    found |= {f"hybrid: {name}": partial(write, hybrid) for name, hybrid in HYBRIDS.items()}
    found |= {f"encoder: {name}": model.write for name, model in ENCODERS.items()}
    return {name: writer for name, writer in found.items() if name not in BFLOAT16}


def digest(writer: Callable[[Path], None], folder: Path, n_tokens: int) -> str:
    path = folder / "model.gguf"
    writer(path)
    found = hashlib.sha256()
    with Engine(path, n_threads=1, n_ctx=256, kv_cache_tokens=512, progress=False) as engine:
        ids = IDS[:n_tokens]
        if "generate" not in engine.capabilities:
            found.update(engine.embed([[token % engine.n_vocab for token in ids]], pooling="none")[0].tobytes())
            return found.hexdigest()
        found.update(engine.logits(ids).tobytes())
        written = engine.generate(ids[:7], max_tokens=6, seed=3, temperature=1.0, ignore_eos=True, logprobs=2)
        assert written.logprobs is not None
        found.update(repr((written.token_ids, [entry.logprob for entry in written.logprobs.content])).encode())
    return found.hexdigest()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        found = {
            name: digest(writer, Path(folder), len(IDS) if i < N_LONG else 40)
            for i, (name, writer) in enumerate(writers().items())
        }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
