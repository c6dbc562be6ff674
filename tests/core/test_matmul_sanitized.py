"""The product kernels under AddressSanitizer and UndefinedBehaviorSanitizer."""

from __future__ import annotations

import pytest

from oxillama._core.network import kernels
from tests.core.weights import FORMATS
from tests.sanitizer import KERNEL_MODULES, sanitized


@pytest.mark.sanitizer
@pytest.mark.timeout(900)
def test_products_on_ragged_shapes() -> None:
    result = sanitized(KERNEL_MODULES).run("tests/sweep_matmul.py", timeout=600)
    assert result.returncode == 0, result.stdout[-6000:]
    n_products = len(FORMATS) * 3 * len(kernels.usable_levels()) * 8
    assert result.stdout.splitlines()[-1] == f"{n_products} products"
