"""Dividing a long context among threads changes no bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from oxillama._core.network.program import Program
from oxillama.config import CacheConfig, SchedulerConfig
from oxillama.gguf import GGUFFile
from oxillama.network.loader import load_model
from oxillama.testing.tiny_models import TinyModel

# Positions are ends of ranges of 1024 keys, their neighbours, and one in the middle.
LENGTHS = (1023, 1024, 1025, 2047, 2048, 2500)
CHUNK = 500
N_CTX = 2560


def open_program(path: Path, n_threads: int) -> Program:
    cache = CacheConfig(n_ctx=N_CTX, kv_cache_tokens=2 * N_CTX)
    scheduler = SchedulerConfig(max_batch_size=2, max_batch_tokens=CHUNK)
    with GGUFFile(path) as file:
        return load_model(
            path, cache=cache, scheduler=scheduler, n_threads=n_threads, progress=False, file=file
        ).program


def decode(program: Program, tokens: list[npt.NDArray[np.int32]]) -> list[npt.NDArray[np.float32]]:
    """The logits of all sequences together after each of LENGTHS; their prompts are computed piece by piece."""
    n_blocks = N_CTX // 32
    tables = [np.arange(n_blocks, dtype=np.int32) + i * n_blocks for i in range(len(tokens))]
    results = []
    done = 0
    for length in LENGTHS:
        for sequence, table in zip(tokens, tables, strict=True):
            for start in range(done, length, CHUNK):
                end = min(start + CHUNK, length)
                program.forward(sequence[start:end], [(end - start, start, table)], np.empty(0, np.int32))
        runs = [(1, length, table) for table in tables]
        last = np.array([sequence[length] for sequence in tokens], np.int32)
        results.append(program.forward(last, runs, np.arange(len(tokens), dtype=np.int32)))
        done = length
    return results


@pytest.mark.parametrize("n_sequences", [1, 2])
@pytest.mark.parametrize(
    "shape",
    [
        TinyModel(n_layers=2, n_head=3, n_head_kv=1, n_ctx=N_CTX),
        TinyModel(n_layers=2, n_head_kv=2, n_ctx=N_CTX, window=1100),
        TinyModel(n_layers=1, n_head=64, n_head_kv=1, head_dim=8, n_ctx=N_CTX),  # a group too large to be divided
    ],
    ids=["one KV head", "window", "large group"],
)
def test_ranges_of_keys_divided_among_threads_give_the_same_bits(
    shape: TinyModel, n_sequences: int, tmp_path: Path
) -> None:
    path = tmp_path / "tiny.gguf"
    shape.write(path)
    chosen = np.random.default_rng(1)
    tokens = [chosen.integers(0, shape.n_vocab, N_CTX, dtype=np.int32) for _ in range(n_sequences)]
    alone = decode(open_program(path, 1), tokens)
    for n_threads in (2, 5):
        for found, expected in zip(decode(open_program(path, n_threads), tokens), alone, strict=True):
            assert found.tobytes() == expected.tobytes()
