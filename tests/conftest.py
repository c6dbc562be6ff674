"""Fixtures that every test module may use; nothing that belongs to one module only."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def fixtures_dir() -> Path:
    """The folder of conformance data: ``OXILLAMA_FIXTURES``, or ``../shared/fixtures`` beside the repository.

    Without the folder the test is skipped; with ``OXILLAMA_REQUIRE_FIXTURES=1`` it fails.
    """
    folder = Path(os.environ.get("OXILLAMA_FIXTURES") or REPOSITORY.parent / "shared" / "fixtures")
    if folder.is_dir():
        return folder
    message = f"no conformance fixtures at {folder} (OXILLAMA_FIXTURES names the folder)"
    if os.environ.get("OXILLAMA_REQUIRE_FIXTURES") == "1":
        pytest.fail(message)
    pytest.skip(message)
