"""Every example of a docstring runs, and says what it says it says."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from collections.abc import Iterator

import pytest

import oxillama
from oxillama import Engine, Grammar, SamplingParams


def modules_with_examples() -> Iterator[str]:
    for found in pkgutil.walk_packages(oxillama.__path__, "oxillama."):
        if found.name.endswith("__main__") or "._core" in found.name:
            continue
        spec = found.module_finder.find_spec(found.name, None)
        if spec is not None and spec.loader is not None and ">>> " in (spec.loader.get_source(found.name) or ""):  # type: ignore[attr-defined]
            yield found.name


@pytest.mark.parametrize("name", sorted(modules_with_examples()))
def test_examples_run(name: str, demo: Engine) -> None:
    module = importlib.import_module(name)
    # What examples of parts take for granted.
    given = {"engine": demo, "tokenizer": demo.tokenizer, "Grammar": Grammar, "SamplingParams": SamplingParams}
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    result = doctest.testmod(module, extraglobs=given, optionflags=flags)
    assert result.attempted > 0
    assert result.failed == 0
