"""Fixtures that every test module may use; nothing that belongs to one module only."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from oxillama import Engine
from oxillama.testing.tiny_models import TinyModel

REPOSITORY = Path(__file__).resolve().parent.parent

# How long an example takes, or finding one, is the machine's matter.
settings.register_profile("oxillama", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.load_profile("oxillama")

# A shell ignores the interrupt for what it starts in the background, and so would every program that a test starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def fixtures_folder() -> Path:
    """Where conformance data is looked for, whether it is there or not."""
    return Path(os.environ.get("OXILLAMA_FIXTURES") or REPOSITORY.parent / "shared" / "fixtures")


@pytest.fixture(scope="session")
def fixtures_dir() -> Path:
    """The folder of conformance data: ``OXILLAMA_FIXTURES``, or ``../shared/fixtures`` beside the repository.

    Without the folder the test is skipped; with ``OXILLAMA_REQUIRE_FIXTURES=1`` it fails.
    """
    folder = fixtures_folder()
    if folder.is_dir():
        return folder
    message = f"no conformance fixtures at {folder} (OXILLAMA_FIXTURES names the folder)"
    if os.environ.get("OXILLAMA_REQUIRE_FIXTURES") == "1":
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture(scope="session")
def demo() -> Iterator[Engine]:
    """The embedded model, shared by all tests: whoever needs other options, or ends it, opens one."""
    with Engine.demo(n_threads=1, progress=False) as engine:
        yield engine


@pytest.fixture(scope="session")
def long_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model without sense that can write for many seconds: one byte per token, a context of 2**17."""
    path = tmp_path_factory.mktemp("models") / "long.gguf"
    TinyModel(n_layers=1, n_embd=32, n_ff=32, n_head=2, n_head_kv=1, n_ctx=1 << 17, tokenizer=True).write(path)
    return path


@pytest.fixture
def open_long(long_model: Path) -> Iterator[Callable[..., Engine]]:
    """Opens the long model with any options; closes it after the test."""
    opened: list[Engine] = []

    def open_engine(**options: object) -> Engine:
        engine = Engine(long_model, **{"n_threads": 1, "progress": False, **options})  # type: ignore[arg-type]
        opened.append(engine)
        return engine

    yield open_engine
    for engine in opened:
        engine.close()


@pytest.fixture
def long_engine(open_long: Callable[..., Engine]) -> Engine:
    """The long model, alone: nobody else's requests are in its statistics."""
    return open_long()
