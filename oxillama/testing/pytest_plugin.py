"""Fixtures for pytest, found by themselves where the package is installed (entry point `pytest11`).

oxillama_engine: the embedded demo model, one for the session. oxillama_chat_model: the path of a model of a few
kilobytes with a chat template, whose replies have no sense. oxillama_script: a function that opens a ScriptedEngine,
closed after the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from oxillama import Engine
    from oxillama.testing.scripted import ScriptedEngine


@pytest.fixture(scope="session")
def oxillama_engine() -> Iterator[Engine]:
    from oxillama import Engine

    with Engine.demo(n_threads=1, progress=False) as engine:
        yield engine


@pytest.fixture(scope="session")
def oxillama_chat_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from oxillama.testing.scripted import TEMPLATE
    from oxillama.testing.tiny_models import TinyModel

    path = tmp_path_factory.mktemp("oxillama") / "tiny-chat.gguf"
    TinyModel(tokenizer=True, n_ctx=4096, metadata={"tokenizer.chat_template": TEMPLATE}).write(path)
    return path


@pytest.fixture
def oxillama_script() -> Iterator[Callable[..., ScriptedEngine]]:
    from oxillama.testing.scripted import ScriptedEngine

    opened: list[ScriptedEngine] = []

    def open_engine(*lines: Any, **options: Any) -> ScriptedEngine:
        engine = ScriptedEngine(lines, **options)
        opened.append(engine)
        return engine

    yield open_engine
    for engine in opened:
        engine.close()
