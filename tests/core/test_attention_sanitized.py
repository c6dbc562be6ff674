"""Rows, KV and attention under AddressSanitizer and UBSan, at every usable level."""

from __future__ import annotations

import pytest

from oxillama._core.network.kernels import usable_levels
from tests.sanitizer import KERNEL_MODULES, sanitized

pytestmark = pytest.mark.sanitizer


@pytest.mark.timeout(900)
def test_kernels_stay_inside_their_buffers() -> None:
    build = sanitized(KERNEL_MODULES)
    result = build.run("tests/core/sanitize_attention.py", timeout=300)
    assert result.returncode == 0, result.stdout
    assert result.stdout.split("\n")[:-1] == [f"{level} done" for level in usable_levels()]
