"""Rows, KV and attention under AddressSanitizer and UBSan, at the levels of the suite."""

from __future__ import annotations

import pytest

from tests.sanitizer import CHECKED_LEVELS, KERNEL_MODULES, sanitized

pytestmark = pytest.mark.sanitizer


@pytest.mark.timeout(900)
@pytest.mark.parametrize("levels", CHECKED_LEVELS)
def test_kernels_stay_inside_their_buffers(levels: tuple[str, ...]) -> None:
    build = sanitized(KERNEL_MODULES, levels=levels)
    result = build.run("tests/core/sanitize_attention.py", timeout=300)
    assert result.returncode == 0, result.stdout
    assert result.stdout.split("\n")[:-1] == [f"{level} done" for level in levels]
