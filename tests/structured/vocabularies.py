"""Small vocabularies, and grammar engines on them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache

import numpy as np
import numpy.typing as npt

from oxillama._core.output.vocab import TokenTable
from oxillama._core.structured.session import ConstraintSession
from oxillama.structured.backend import Backend, library_backend, python_backend

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
WORDS = ["true", "false", "null", '{"', '":', '", "', "}", "ab", "abc", "bcd", "name", " ", "  ", "12", "the", "é"]
MARKS = ["<|end|>", "<|stop|>", "<|tool|>"]
THINK = "<think>"


class SmallVocabulary:
    """All bytes (without some), some words, a few control tokens and a user-defined one."""

    def __init__(self, *, without: bytes = b"", padding: int = 5) -> None:
        bytes_here = [byte for byte in range(256) if byte not in without]
        texts = [b"<0x%02X>" % byte for byte in bytes_here] + [word.encode() for word in [*WORDS, *MARKS, THINK]]
        types = [BYTE] * len(bytes_here) + [NORMAL] * len(WORDS) + [CONTROL] * len(MARKS) + [USER_DEFINED]
        self.table = TokenTable(texts, types, byte_level=False)
        self.n_vocab = len(texts) + padding
        self.ends = [self.id("<|end|>"), self.id("<|stop|>")]

    def id(self, text: str | bytes) -> int:
        found = self.table.find(text.encode() if isinstance(text, str) else text)
        assert found is not None
        return found

    def ids(self, *texts: str | bytes) -> list[int]:
        return sorted(self.id(text) for text in texts)

    def texts(self, ids: Sequence[int]) -> set[bytes]:
        return {self.table[token] for token in ids}

    def session(self, kind: str, text: object, backend: Backend | None = None) -> ConstraintSession:
        vocabulary = (backend or library()).vocabulary(self.table, self.n_vocab, self.ends)
        text = text if isinstance(text, str) else json.dumps(text)
        return ConstraintSession(vocabulary.compile(kind, text, {}).guide(), self.n_vocab)


@cache
def library() -> Backend:
    return library_backend()


@cache
def python() -> Backend:
    return python_backend("a test")


def ids_of(mask: npt.NDArray[np.uint32]) -> list[int]:
    return [int(token) for token in np.flatnonzero(np.unpackbits(mask.view(np.uint8), bitorder="little"))]


def allowed(session: ConstraintSession) -> list[int]:
    status, mask = session.mask()
    assert status == "open", status
    return ids_of(mask)
