"""The public API is the recorded one: nothing vanishes or changes, and what is new is written down."""

from __future__ import annotations

import pytest

from tests.signatures import RECORDED, lines

pytest.importorskip("starlette")


def test_the_public_api_is_the_recorded_one() -> None:
    recorded, found = set(RECORDED.read_text("utf-8").splitlines()), set(lines())
    assert sorted(recorded - found) == [], (
        "these names or signatures are gone, and with them the programs that use them"
    )
    assert sorted(found - recorded) == [], "these are new: `python -m tests.signatures` records them"


def test_names_that_must_be_kept_are_among_them() -> None:
    names = {line.partition("(")[0].partition(":")[0] for line in RECORDED.read_text("utf-8").splitlines()}
    for kept in ("generate", "stream", "chat", "embed", "rerank", "submit", "logits", "drain", "aopen", "demo"):
        assert f"oxillama.Engine.{kept}" in names
