"""Does a grammar engine do what is expected of it? Tried once per process, on a vocabulary of some 300 tokens."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np

from oxillama._core.output.vocab import TokenTable
from oxillama._core.structured.session import ConstraintSession

if TYPE_CHECKING:
    from oxillama.structured.backend import Backend, Vocabulary

NORMAL, CONTROL, BYTE = 1, 3, 6
WORDS = (b"true", b"tr", b"fal", b"se", b'{"', b'":', b"12", b"ab", b"abc", b"bcd")
SPECIALS = (b"<|end|>", b"<|stop|>", b"<|tool|>")
TEXTS = [b"<0x%02X>" % byte for byte in range(256)] + [*WORDS, *SPECIALS]
TYPES = [BYTE] * 256 + [NORMAL] * len(WORDS) + [CONTROL] * len(SPECIALS)
IDS = {bytes([byte]): byte for byte in range(256)} | {text: 256 + i for i, text in enumerate((*WORDS, *SPECIALS))}
ENDS = [IDS[b"<|end|>"], IDS[b"<|stop|>"]]
# More tokens than the vocabulary has texts, as models have; a multiple of 32, where llguidance's masks are longer.
N_VOCAB = 288


def fault_of(backend: Backend) -> str | None:
    """What is wrong, in a few words; None: nothing."""
    try:
        vocabulary = backend.vocabulary(TokenTable(TEXTS, TYPES, byte_level=False), N_VOCAB, ENDS)
        return _fault(vocabulary)
    except (ValueError, TypeError, AttributeError) as error:
        return f"the self-test met {type(error).__name__}: {str(error)[:200]}"


def _allowed(session: ConstraintSession) -> list[int] | str:
    status, mask = session.mask()
    if status != "open":
        return status
    return [int(token) for token in np.flatnonzero(np.unpackbits(mask.view(np.uint8), bitorder="little"))]


def _ids(*texts: bytes) -> list[int]:
    return sorted(IDS[text] for text in texts)


def _fault(vocabulary: Vocabulary) -> str | None:
    if vocabulary.tokenize(b"abcd<|end|>") != [IDS[b"abc"], *b"d<|end|>"]:
        return "forced text is cut otherwise than by the longest match"
    session = ConstraintSession(vocabulary.compile("regex", "(tr|f)[a-z]{2}", {}).guide(), N_VOCAB)
    if _allowed(session) != _ids(b"t", b"tr", b"f", b"true", b"fal"):
        return "the first mask of a regular expression is wrong"
    if session.accept(IDS[b"tr"]) != "open" or IDS[b"u"] not in _allowed(session) or IDS[b"U"] in _allowed(session):
        return "a mask behind a token is wrong"
    session.rollback(1)
    if _allowed(session) != _ids(b"t", b"tr", b"f", b"true", b"fal"):
        return "a mask behind a rollback is wrong"
    if session.accept(IDS[b"true"]) != "complete":
        return "a complete text is not told"
    session = ConstraintSession(vocabulary.compile("regex", "a+", {}).guide(), N_VOCAB)
    session.accept(IDS[b"a"])
    if _allowed(session) != sorted([IDS[b"a"], *ENDS]):
        return "not every end token may end a complete text"
    session = ConstraintSession(vocabulary.compile("lark", 'start: "ab" <|tool|> "x"', {}).guide(), N_VOCAB)
    if session.forced(4) != _ids(b"ab") + _ids(b"<|tool|>") + _ids(b"x"):
        return "forced tokens are wrong"
    schema = json.dumps({"type": "object", "properties": {"a": {"type": "boolean"}}, "required": ["a"]})
    grammar = vocabulary.compile("json_schema", schema, {})
    first, second = (ConstraintSession(grammar.guide(), N_VOCAB) for _ in range(2))
    first.accept(IDS[b"{"])
    if _allowed(second) != _ids(b"{", b'{"'):
        return "two sequences of one grammar are not independent"
    limited = "[a-z]{1,50}[0-9]{1,50}x"
    vocabulary.compile("regex", limited, {})
    try:
        vocabulary.compile("regex", limited, {"initial_lexer_fuel": 1})
    except ValueError:
        return None
    return "limits are not kept"
