"""The product kernels under AddressSanitizer and UndefinedBehaviorSanitizer."""

from __future__ import annotations

import pytest

from tests.core.weights import FORMATS
from tests.sanitizer import CHECKED_LEVELS, KERNEL_MODULES, sanitized


@pytest.mark.sanitizer
@pytest.mark.timeout(900)
@pytest.mark.parametrize("levels", CHECKED_LEVELS)
def test_products_on_ragged_shapes(levels: tuple[str, ...]) -> None:
    result = sanitized(KERNEL_MODULES, levels=levels).run("tests/sweep_matmul.py", timeout=600)
    assert result.returncode == 0, result.stdout[-6000:]
    n_products = len(FORMATS) * 3 * len(levels) * 8
    assert result.stdout.splitlines()[-1] == f"{n_products} products"
