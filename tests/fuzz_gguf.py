"""Feeds the GGUF reader thousands of damaged files; run under sanitizers by ``tests/gguf/test_fuzz.py``.

A script, not a test: ``python tests/fuzz_gguf.py SEED COUNT [FILE ...]`` mutates small files made here, and the given
ones. The only exception the reader may raise is ModelLoadError; anything else ends the script with a traceback.
"""

from __future__ import annotations

import ctypes
import pickle
import random
import sys
from collections import Counter
from functools import partial
from pathlib import Path
from struct import pack
from typing import Any

import numpy as np

from oxillama._core.gguf.file import GGUFShard
from oxillama._core.gguf.filemap import FileMap
from oxillama._core.gguf.values import StringArray
from oxillama.errors import ModelLoadError
from tests.gguf_bytes import array, entry, gguf, tensor, text

INTERESTING = [0, 1, 2, 3, 4, 5, 7, 8, 9, 12, 13, 31, 32, 255, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**32]
INTERESTING += [2**58, 2**60, 2**61, 2**62, 2**63 - 1, 2**63, 2**64 - 32, 2**64 - 8, 2**64 - 1]


def seeds() -> list[bytes]:
    words = b"".join(map(text, ["", "a", "bc", "def" * 9]))
    scalars = tuple(
        entry(f"s{number}", number, pack(f"<{code}", 1))
        for number, code in enumerate(["B", "b", "H", "h", "I", "i", "f", "?", None, None, "Q", "q", "d"])
        if code
    )
    arrays = tuple(
        entry(f"a{number}", 9, array(number, 3, np.ones(3, code).tobytes()))
        for number, code in ((0, "u1"), (5, "<i4"), (6, "<f4"), (7, "u1"), (11, "<i8"), (12, "<f8"))
    )
    nested = array(9, 2, array(8, 4, words) + array(9, 2, array(7, 2, b"\0\1") + array(2, 0, b"")))
    return [
        gguf(),
        gguf(scalars, version=2),
        gguf((entry("general.alignment", 4, pack("<I", 8)), entry("words", 9, array(8, 4, words)), *arrays)),
        gguf((entry("nested", 9, nested), entry("text", 8, text("Größe"))), (tensor("t", (3,)),), bytes(12)),
        gguf(
            (entry("words", 9, array(8, 4, words)), *scalars),
            (
                tensor("a", (4, 2)),
                tensor("b", (32, 1, 2), 8, 32),
                tensor("c", (256,), 12, 128),
                tensor("d", (5,), 31, 288),
            ),
            bytes(range(256)) + bytes(64),
        ),
    ]


def mutate(rng: random.Random, data: bytes, others: list[bytes]) -> bytes:
    """One to three random changes."""
    mutant = bytearray(data)
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        at = rng.randrange(len(mutant) + 1)
        match rng.randrange(9):
            case 0 | 1 if at < len(mutant):
                mutant[at] = rng.choice([mutant[at] ^ 1 << rng.randrange(8), rng.randrange(256)])
            case 2 | 3:  # blow up a count, a length, a size or an offset
                mutant[at : at + 8] = pack("<Q", rng.choice(INTERESTING))
            case 4:
                mutant[at : at + 4] = pack("<I", rng.choice(INTERESTING) & 0xFFFFFFFF)
            case 5:
                del mutant[at:]
            case 6:
                del mutant[at : at + rng.randrange(1, 20)]
            case 7:  # splice: this file's beginning, another's end
                other = rng.choice(others)
                mutant[at:] = other[rng.randrange(len(other) + 1) :]
            case _:
                start = rng.randrange(len(mutant) + 1)
                mutant[at:at] = mutant[start : start + rng.randrange(1, 40)]
        if not mutant:
            break
    return bytes(mutant)


def touch(value: Any) -> None:
    """Read every byte of a metadata value."""
    if isinstance(value, StringArray):
        for i in range(len(value)):
            assert isinstance(value[i], bytes)
            allow_load_error(value.text, i)
    elif isinstance(value, list):
        for element in value:
            touch(element)
    elif isinstance(value, np.ndarray):
        value.tobytes()


def allow_load_error(function: Any, *args: Any) -> Any:
    try:
        return function(*args)
    except ModelLoadError as error:
        message = str(error)
    assert ": expected " in message, message
    return None


def read_all(file: GGUFShard) -> None:
    for key in file.keys:
        touch(allow_load_error(file.value, key))
        touch(allow_load_error(partial(file.value, key, strict=False)))
        file.type_of(key)
        file.raw_value(key)[1].tobytes()
    allow_load_error(pickle.loads, pickle.dumps(file))
    for info in file.tensors:
        repr(info)
        if info.is_known:
            assert info.data.tobytes() is not None


def overwrite(file: FileMap, data: bytes) -> None:
    """Change the bytes of a file that is open already, as another process can."""
    view = np.frombuffer(memoryview(file), np.uint8)
    ctypes.memmove(view.ctypes.data, data, min(len(data), len(view)))


def main(seed: int, count: int, paths: list[str]) -> None:
    rng = random.Random(seed)
    originals = seeds() + [Path(path).read_bytes() for path in paths]
    outcomes: Counter[str] = Counter()
    for number in range(count):
        original = rng.choice(originals)
        mutant = mutate(rng, original, originals)
        if number % 4 == 0:
            # A sound file, which changes after it was opened and its string arrays were made.
            file = FileMap.of_bytes(original)
            shard = GGUFShard(file, "mutant.gguf")
            kept = [shard.value(key) for key in shard.keys]
            overwrite(file, mutant)
            touch(kept)
            read_all(shard)
            outcomes["changed while open"] += 1
            continue
        opened = allow_load_error(GGUFShard, FileMap.of_bytes(mutant), "mutant.gguf")
        outcomes["refused" if opened is None else "read"] += 1
        if opened is not None:
            read_all(opened)
    print(f"{count} files: " + ", ".join(f"{n} {outcome}" for outcome, n in sorted(outcomes.items())))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
