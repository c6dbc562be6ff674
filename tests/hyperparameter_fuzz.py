"""Model files of every family with absurd hyper-parameters: each is an error that names what is wrong, or it runs.

    python tests/hyperparameter_fuzz.py [every [offset]]

tries every so many-th of the changes, in one process, so that a sanitized build reports what any of them does.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from oxillama._core.scheduling.kv_cache import BLOCK_TOKENS
from oxillama.config import CacheConfig, SchedulerConfig
from oxillama.errors import OxillamaError
from oxillama.gguf import GGUFFile
from oxillama.network.loader import load_model
from tests.conftest import fixtures_folder
from tests.network.models import hybrids
from tests.network.models.described import MODELS
from tests.network.models.described_dense import DENSE

N_TOKENS = 5
ABSURD: list[Any] = [
    *(0, -1, 1, 3, 7, 2**31 - 1, 2**40),
    *(float("nan"), float("inf"), -1e30, 1e-42),
    *(True, "text", np.array([], np.int32), np.array([2**31 - 1] * 4), np.array([0, 1] * 8), np.array([np.nan] * 4)),
]
CACHE = CacheConfig(kv_dtype="f32", n_ctx=64, kv_cache_tokens=64)
SCHEDULER = SchedulerConfig(max_batch_size=1, max_batch_tokens=64)


def write_families(folder: Path) -> list[Path]:
    """A tiny file of each family that the tests describe, and the recorded ones where there are any."""
    for name, model in (MODELS | DENSE).items():
        model.write(folder / f"{name}.gguf")
    for name, hybrid in hybrids.HYBRIDS.items():
        hybrids.write(hybrid, folder / f"{name}.gguf")
    return sorted([*folder.glob("*.gguf"), *(fixtures_folder() / "arch").rglob("*.gguf")])


def keys_of(path: Path) -> list[str]:
    """The keys of the family that the file has."""
    with GGUFFile(path) as file:
        prefix = file.metadata["general.architecture"] + "."
        return [key for key in file.metadata if key.startswith(prefix)]


def attempt(path: Path, key: str, value: Any) -> str | None:
    """What is said about the file with another value under the key; None: it was loaded, and has run."""
    with GGUFFile(path) as file:
        file.metadata._values[key] = value
        try:
            loaded = load_model(path, cache=CACHE, scheduler=SCHEDULER, n_threads=1, progress=False, file=file)
        except OxillamaError as error:
            return str(error)
    program = loaded.program
    n = min(N_TOKENS, program.max_tokens)
    blocks = np.arange(-(-n // BLOCK_TOKENS), dtype=np.int32)
    with loaded.reservation:
        if program.has_logits:
            program.forward(np.ones(n, np.int32), [(n, 0, blocks)], np.arange(n, dtype=np.int32))
    return None


def is_named(key: str, message: str) -> bool:
    """Does it tell where to look: at a key of the family, a tensor that does not fit it, or the layer or experts that
    nobody could build?"""
    return any(
        word in message
        for word in (key.partition(".")[0] + ".", "attention.", "rope.scaling.", "xielu.", "tensor", "blk.", "experts")
    )


def try_changes(every: int, offset: int) -> tuple[int, int, list[str]]:
    """Numbers of what was refused and what ran, and messages that tell of nothing in the file."""
    refused = ran = 0
    nameless = []
    with TemporaryDirectory() as folder, np.errstate(all="ignore"):
        for path, key, value in changes(write_families(Path(folder)), every, offset):
            message = attempt(path, key, value)
            refused += message is not None
            ran += message is None
            if message is not None and not is_named(key, message):
                nameless.append(f"{path.stem}: {key} = {value!r}: {message}")
    return refused, ran, nameless


def changes(paths: list[Path], every: int, offset: int) -> Iterator[tuple[Path, str, Any]]:
    listed = [(path, key, value) for path in paths for key in keys_of(path) for value in ABSURD]
    yield from listed[offset::every]


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[1:]]
    refused, ran, nameless = try_changes(*numbers, *(1, 0)[len(numbers) :])
    print(*nameless, sep="\n")
    print(f"{refused} refused, {ran} ran, {len(nameless)} nameless")
