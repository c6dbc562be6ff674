"""What fits into memory: refused with both figures before anything is allocated, or cut down to fit."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from oxillama import Engine, ModelLoadError, ledger
from oxillama.ledger import LEDGER
from oxillama.network.memory_plan import RESERVE_BYTES, default_cache_tokens
from oxillama.testing.tiny_models import TinyModel

MIB = 1 << 20


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No other test's engine is promised anything."""
    monkeypatch.setattr(LEDGER, "_reservations", [])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.gguf"


def refusal(path: Path, **options: Any) -> str:
    with pytest.raises(ModelLoadError) as caught:
        Engine(path, **{"progress": False, **options})
    return str(caught.value)


def figures(message: str) -> list[int]:
    return [int(number.replace(",", "")) for number in re.findall(r"\d[\d,]*\d|\d", message)]


# Bounds


@pytest.mark.parametrize(
    ("n_ctx", "max_batch_size", "expected"),
    [
        (8192, 32, 4 * 8192),  # four of full length, or 32 of 1024
        (131072, 32, 4 * 131072),
        (2048, 32, 32 * 1024),
        (512, 32, 32 * 512),  # never more than all can use
        (8192, 2, 2 * 8192),
        (8192, 1, 8192),
        (4096, 256, 256 * 1024),
    ],
)
def test_the_default_bound_fits_the_work(n_ctx: int, max_batch_size: int, expected: int) -> None:
    assert default_cache_tokens(n_ctx, max_batch_size) == expected


@pytest.mark.parametrize(
    ("options", "n_blocks", "n_kept"),
    [
        ({}, 320, 80),
        ({"max_batch_size": 2}, 160, 80),
        ({"kv_cache_tokens": 20000}, 625, 157),
        ({"kv_cache_tokens": 640}, 20, 20),
        ({"prefix_cache_tokens": 0}, 320, 0),
        ({"prefix_cache_tokens": 33}, 320, 2),
        ({"prefix_cache_tokens": 10**6}, 320, 320),
    ],
)
def test_the_cache_and_what_is_kept_of_it(path: Path, options: dict[str, int], n_blocks: int, n_kept: int) -> None:
    TinyModel(n_layers=1, n_ctx=2560).write(path)
    with Engine(path, progress=False, **{"max_batch_size": 8, **options}) as engine:  # type: ignore[arg-type]
        plan = engine._model.plan
        assert (plan.n_blocks, plan.n_kept_blocks) == (n_blocks, n_kept)
        assert engine.stats().kv_blocks_free == n_blocks
        assert engine.memory.kv_cache == engine.stats().kv_bytes_promised == n_blocks * 32 * 2 * 32 * 2


# Too little memory


def test_memory_that_does_not_fit_is_refused_with_both_figures(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    TinyModel().write(path)
    told: list[int] = []
    monkeypatch.setattr(ledger, "available_memory", lambda: RESERVE_BYTES + 1000)
    message = refusal(path, progress=lambda done, total: told.append(done))
    assert "does not fit into memory" in message
    left, *needed = figures(message)
    assert left == 1000
    assert min(needed) > 10_000
    assert told == []


def test_a_context_that_does_not_fit_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    TinyModel().write(path)
    monkeypatch.setattr(ledger, "available_memory", lambda: 64 << 30)
    started = time.thread_time()
    message = refusal(path, n_ctx=2**31 - 1)
    assert "the KV cache of 2147483647 tokens needs 549,755,813,888" in message
    assert time.thread_time() - started < 5
    assert "bytes are left beside the weights" in refusal(path, kv_cache_tokens=2**31 - 1)


def test_a_copy_that_does_not_fit_is_refused_before_it_is_made(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    TinyModel().write(path)
    monkeypatch.setattr(ledger, "available_memory", lambda: RESERVE_BYTES + 1000)
    message = refusal(path, mmap=False)
    assert f"1,000 bytes are left, a copy needs {path.stat().st_size:,}" in message


def test_the_context_is_reduced_to_fit(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    TinyModel(n_ctx=1 << 20).write(path)
    monkeypatch.setattr(ledger, "available_memory", lambda: RESERVE_BYTES + (16 << 20))
    with caplog.at_level(logging.WARNING, "oxillama"), Engine(path, progress=False) as engine:
        assert 1024 < engine.n_ctx < 1 << 20
        assert engine.n_ctx % 32 == 0
        # The cache takes at most half of what is left.
        assert engine.memory.kv_cache <= 8 << 20
        assert f"context reduced from {1 << 20} to {engine.n_ctx} tokens" in caplog.text


def test_the_trained_context_is_kept_where_it_fits(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    TinyModel(n_ctx=333).write(path)
    with caplog.at_level(logging.WARNING, "oxillama"), Engine(path, progress=False) as engine:
        assert engine.n_ctx == 333
    assert caplog.text == ""
    with Engine(path, n_ctx=40, kv_cache_tokens=100, progress=False) as engine:
        assert engine.n_ctx == 40
        assert engine.stats().kv_blocks_free == 4


def test_the_cache_holds_every_sequence_where_it_fits(path: Path) -> None:
    TinyModel(n_ctx=320).write(path)
    with Engine(path, max_batch_size=7, progress=False) as engine:
        assert engine.stats().kv_blocks_free == 70
        assert engine.memory.kv_cache >= 70 * 32 * 2 * 2 * 32 * 2


def test_a_copy_that_will_go_is_not_counted_beside_the_weights(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    TinyModel(n_vocab=4096, n_embd=256, n_ctx=64).write(path)
    options = {"max_batch_size": 1, "max_batch_tokens": 16, "kv_cache_tokens": 64}
    with Engine(path, progress=False, **options) as mapped:  # type: ignore[arg-type]
        enough = RESERVE_BYTES + mapped.memory.promised
    assert path.stat().st_size > 2 * MIB
    # Whatever is promised is taken, as by then the copy is.
    monkeypatch.setattr(ledger, "available_memory", lambda: enough - sum(held.n_bytes for held in LEDGER.holders()))
    for mmap in (True, False):
        with Engine(path, mmap=mmap, progress=False, **options) as engine:  # type: ignore[arg-type]
            assert engine.generate([1], max_tokens=2).token_ids


LIMITED_PROGRAM = """
import resource, sys
from pathlib import Path
from oxillama import Engine, ModelLoadError

Engine.demo(n_threads=1, progress=False).close()  # whatever is loaded lazily is there now
mapped = 1024 * int(Path("/proc/self/status").read_text().split("VmSize:")[1].split()[0])
resource.setrlimit(resource.RLIMIT_AS, (mapped + (600 << 20), resource.RLIM_INFINITY))
with Engine(sys.argv[1], n_threads=1, progress=False) as engine:
    print(engine.memory.kv_cache, engine.generate([1, 2], max_tokens=2).usage.completion_tokens)
try:
    Engine(sys.argv[1], n_threads=1, kv_cache_tokens=1 << 20, progress=False)
except ModelLoadError as error:
    print(error)
"""


def test_a_process_with_few_addresses_gets_a_smaller_cache(path: Path) -> None:
    TinyModel(n_layers=4, n_head=4, n_head_kv=4, head_dim=64, n_ctx=1 << 17).write(path)  # 4 KiB a token
    found = subprocess.run(
        [sys.executable, "-c", LIMITED_PROGRAM, str(path)], capture_output=True, text=True, check=True
    )
    opened, refused = found.stdout.splitlines()
    kv_bytes, n_tokens = map(int, opened.split())
    assert 50 * MIB < kv_bytes < 600 * MIB
    assert n_tokens == 2
    assert f"the KV cache of {1 << 20} tokens needs {4 << 30:,}" in refused


def test_what_the_system_refuses_in_spite_of_it_is_an_error_of_the_tree(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    TinyModel(n_layers=30, n_head=4, n_head_kv=4, head_dim=256).write(path)
    monkeypatch.setattr(ledger, "available_memory", lambda: 1 << 62)
    monkeypatch.setattr(ledger, "mappable_memory", lambda: 1 << 62)
    # More addresses than a process has.
    assert "the system refused memory" in refusal(path, kv_dtype="f32", kv_cache_tokens=2**31 - 1, n_ctx=64)
