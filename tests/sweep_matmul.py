"""Runs every product kernel once on ragged shapes; run under sanitizers by ``tests/core/test_matmul_sanitized.py``."""

from __future__ import annotations

import numpy as np

from oxillama._core.network import kernels
from oxillama._core.network.team import Team
from oxillama._core.testing.kernel_harness import Activations, Matrix, dequantize, oracle
from tests.core.weights import FORMATS

N_TOKENS = (1, 2, 3, 4, 5, 6, 7, 13)


def sweep() -> int:
    rng = np.random.default_rng(7)
    teams = (None, Team(2))
    n_products = 0
    for fmt in FORMATS.values():
        k = 172 if fmt.block == 1 else 512 if fmt.block == 256 else 352 // fmt.block * fmt.block
        for n_rows in (1, 17, 45):
            # exactly as long as the rows are, so that one byte too many is noticed
            raw = rng.integers(0, 256, (n_rows, k // fmt.block * fmt.block_bytes), np.uint8)
            bias = np.zeros(n_rows, np.float32)
            dequantize(fmt.type, k, raw)
            for level in kernels.usable_levels():
                matrix = Matrix(level, fmt.type, k, raw, bias)
                matrix.unpack_row(n_rows - 1)
                for n in N_TOKENS:
                    x = Activations(level, rng.standard_normal((n, k)).astype(np.float32))
                    matrix.multiply(x, np.zeros((n, n_rows), np.float32), accumulate=n % 2 == 0, team=teams[n % 2])
                    n_products += 1
                if level != "reference":
                    oracle(level, fmt.type, raw, x)
    return n_products


if __name__ == "__main__":
    print(sweep(), "products")
