"""Which test shows what of which library: the table in docs/integrations.md is compared with these."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeVar

Column = Literal["sync", "async", "stream", "tools", "schema", "embeddings", "reranking"]
Test = TypeVar("Test", bound=Callable[..., object])


def shows(library: str, *columns: Column) -> Callable[[Test], Test]:
    """Says of a test that these ways of using a library work where it passes. Read from the source: only literals."""
    return lambda test: test
