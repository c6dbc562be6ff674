"""Absurd hyper-parameters of every family: errors that name the key, or networks that run; never a crash."""

from __future__ import annotations

import os
import re

import pytest

from oxillama._core.network.kernels import usable_levels
from oxillama.errors import ModelLoadError
from oxillama.network.models.attention import alibi_slopes
from tests.hyperparameter_fuzz import try_changes
from tests.sanitizer import sanitized

# Whatever a program is made of and runs through.
MODULES = [
    "memory",
    *(f"network.{name}" for name in ("attention_items", "executor", "experts", "heads", "kernels", "operations")),
    *(f"network.{name}" for name in ("pooling", "products", "program", "ranking", "recurrence", "row_operations")),
    *("network.streams", "network.weights", "scheduling.kv_cache"),
]


@pytest.mark.skipif("OXILLAMA_ISA" in os.environ, reason="the same at every level")
@pytest.mark.filterwarnings("ignore")
def test_each_is_a_named_error_or_runs() -> None:
    refused, ran, nameless = try_changes(50, 7)
    assert nameless == []
    assert refused > ran > 0


@pytest.mark.parametrize("greatest", [-1.0, -1e30, 1e30])
def test_slopes_without_end_are_refused(greatest: float) -> None:
    assert alibi_slopes(4, 8.0).tolist() == [0.25, 0.0625, 0.015625, 0.00390625]
    with pytest.raises(ModelLoadError, match="max_alibi_bias"):
        alibi_slopes(4, greatest)


@pytest.mark.slow
@pytest.mark.sanitizer
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("offset", range(4))
def test_none_leaves_its_memory(offset: int) -> None:
    build = sanitized(MODULES, levels=("reference", usable_levels()[-1]))
    result = build.run("tests/hyperparameter_fuzz.py", "4", str(offset), timeout=3000, allocation_limit_mb=4096)
    assert result.returncode == 0, result.stdout[-6000:]
    assert re.fullmatch(r"\d+ refused, \d+ ran, 0 nameless", result.stdout.splitlines()[-1]), result.stdout[-6000:]
