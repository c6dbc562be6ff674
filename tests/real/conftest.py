"""Real models, where `make test-real` has put them; skipped with the reason where they are not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from oxillama import Engine, UnsupportedModelError
from tools.real_models import GEMMA3, SMOLLM2, VARIABLE, RealModel, folder


def file_of(model: RealModel) -> Path:
    path = folder() / model.name
    if not path.is_file():
        pytest.skip(
            f"no {model.name} in {folder()}: `python -m tools.real_models` fetches it ({VARIABLE} names the folder)"
        )
    return path


@pytest.fixture(scope="package")
def smollm2() -> Iterator[Engine]:
    """SmolLM2-135M-Instruct, Q4_1."""
    with Engine(file_of(SMOLLM2), progress=False) as engine:
        yield engine


@pytest.fixture(scope="package")
def gemma3() -> Iterator[Engine]:
    """Gemma 3 270M, Q4_K_M: not tuned for chats."""
    path = file_of(GEMMA3)
    try:
        engine = Engine(path, progress=False)
    except UnsupportedModelError as error:
        if not str(error).startswith("architecture 'gemma3' is not supported"):
            raise
        pytest.skip(f"not yet: {error}")
    with engine:
        yield engine
