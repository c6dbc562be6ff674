"""The public decoding of blocks: recorded values, every type, and what is refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from oxillama import InvalidRequestError
from oxillama._core.gguf.ggml_types import GGML_TYPES
from oxillama._core.network import kernels
from oxillama.quantize import TYPES, dequantize
from tests.core.weights import FORMATS, random_rows

# Numbers in one process, so that a level which changed them would be seen.
SHOW_BITS = """
import json, sys, zlib
import numpy as np
from oxillama.quantize import TYPES, dequantize
from tests.core.weights import FORMATS, random_rows
rows = {name: random_rows(np.random.default_rng(3), FORMATS[name], 3, 512) for name in TYPES}
print(json.dumps({name: zlib.crc32(dequantize(name, raw, 1536).tobytes()) for name, raw in rows.items()}))
"""


def test_types_are_those_that_products_have() -> None:
    assert set(TYPES) == set(FORMATS)
    assert len(TYPES) == 28


@pytest.mark.parametrize("name", [name for name in TYPES if name != "F32"])
def test_values_are_the_recorded_ones(name: str, fixtures_dir: Path) -> None:
    with np.load(fixtures_dir / "quant" / "blocks" / f"{name}.npz") as data:
        recorded = [(data["raw"], data["deq"]), (data["rand_raw"], data["rand_deq"])]
    for raw, expected in recorded:
        found = dequantize(name, raw, expected.size)
        np.testing.assert_array_max_ulp(found, expected.reshape(-1), maxulp=1)


def test_bits_are_the_same_at_every_level() -> None:
    found = [
        json.loads(
            subprocess.run(
                [sys.executable, "-c", SHOW_BITS],
                env={**os.environ, "OXILLAMA_ISA": level},
                capture_output=True,
                check=True,
            ).stdout
        )
        for level in kernels.usable_levels()
    ]
    assert len(found[0]) == len(TYPES)
    assert all(bits == found[0] for bits in found)


def test_any_contiguous_bytes_will_do() -> None:
    raw = random_rows(np.random.default_rng(1), FORMATS["IQ3_S"], 1, 512)
    expected = dequantize("IQ3_S", raw, 512)
    assert expected.dtype == np.float32
    assert expected.shape == (512,)
    for other in (raw.tobytes(), bytearray(raw.tobytes()), memoryview(raw.tobytes()), raw.view(np.uint16)[:, ::1]):
        assert np.array_equal(dequantize("IQ3_S", other, 512), expected)
    assert np.array_equal(dequantize("IQ3_S", np.repeat(raw, 2, axis=1)[:, ::2], 512), expected)
    assert dequantize("F16", b"", 0).shape == (0,)


@pytest.mark.parametrize(
    ("type_name", "n_bytes", "n", "param", "message"),
    [
        ("Q4_9", 18, 32, "type_name", "expected one of F32, .*IQ2_XXS.*, found 'Q4_9'"),
        ("Q8_K", 292, 256, "type_name", "found 'Q8_K'"),
        ("Q4_0", 18, 31, "n", "a multiple of 32, the block of Q4_0, found 31"),
        ("Q1_0", 18, -128, "n", "found -128"),
        ("NVFP4", 36, 128, "raw", "expected 72 bytes for 128 values of NVFP4, found 36"),
        ("Q4_0", 19, 32, "raw", "expected 18 bytes for 32 values of Q4_0, found 19"),
    ],
)
def test_what_does_not_fit_is_refused(type_name: str, n_bytes: int, n: int, param: str, message: str) -> None:
    with pytest.raises(InvalidRequestError, match=message) as caught:
        dequantize(type_name, bytes(n_bytes), n)
    assert caught.value.param == param


def test_what_is_not_bytes_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="contiguous bytes, found str"):
        dequantize("Q4_0", "eighteen characters", 32)  # type: ignore[arg-type]


def test_sizes_are_those_of_the_file_format() -> None:
    for number, row in GGML_TYPES.items():
        if row.name in FORMATS:
            fmt = FORMATS[row.name]
            assert (number, row.block_size, row.block_bytes) == (fmt.type, fmt.block, fmt.block_bytes)
