"""The budget of thinking as a constraint, against what it says it does, over every way to draft and to take back."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oxillama._core.output.thinking import ThinkingMarks
from oxillama._core.output.vocab import TokenTable
from oxillama._core.structured.thinking_budget import ThinkingBudget
from oxillama._core.testing.constraint_harness import Masks, Sieve

# Bytes of two characters, pieces of the markers, and one control token.
TEXTS = [
    b"a",
    b"\xc3",
    b"\xa9",
    b"\xe2",
    b"\x82",
    b"<",
    b"/",
    b">",
    b"t",
    b"<t>",
    b"</",
    b"t>",
    b" ",
    b"[T]",
    b"xx</t>y",
]
TYPES = [1] * len(TEXTS)
TYPES[TEXTS.index(b"[T]")] = 3
N = len(TEXTS)
TABLE = TokenTable(TEXTS, TYPES, byte_level=False)
OPEN, CLOSE = b"<t>", b"</t>"
# What a tokenizer would write: the longest pieces.
CLOSERS = [TEXTS.index(piece) for piece in (b"</", b"/", b"t>", b">")]
EVERY = set(range(N))


def marks() -> ThinkingMarks:
    return ThinkingMarks(list(OPEN), list(CLOSE), CLOSERS)


def place_of(tokens: list[int], *, is_open: bool) -> tuple[bool, int, int, int]:
    """Whether an output is inside its thinking; how many tokens began there, how much of the closing marker it ends
    with, and how many bytes its last character is short of. From its text as a whole."""
    state, count = ("inside" if is_open else "ahead"), 0
    head, body = b"", b""
    for token in tokens:
        count += state == "inside"
        for byte in b"" if TYPES[token] == 3 else TEXTS[token]:
            if state == "ahead":
                head += bytes([byte])
                said = head.lstrip(b" ")
                state = "inside" if said == OPEN else "ahead" if OPEN.startswith(said) else "over"
            elif state == "inside":
                body += bytes([byte])
                state = "over" if body.endswith(CLOSE) else state
    matched = max((size for size in range(len(CLOSE)) if size == 0 or body.endswith(CLOSE[:size])), default=0)
    missing = 0
    for lead, length in ((0xC3, 2), (0xE2, 3)):
        at = body.rfind(bytes([lead]))
        rest = body[at + 1 :]
        if at >= 0 and len(rest) < length - 1 and all(0x80 <= byte < 0xC0 for byte in rest):
            missing = length - 1 - len(rest)
    return state == "inside", count, matched, missing


def allowed_after(tokens: list[int], budget: int, *, is_open: bool, inner: set[int]) -> set[int]:
    inside, count, matched, missing = place_of(tokens, is_open=is_open)
    if inside and count >= budget and (missing == 0 or count >= budget + 3) and CLOSERS[matched] in inner:
        return {CLOSERS[matched]}
    return inner


@settings(max_examples=300, deadline=None)
@given(seed=st.integers(0, 2**32), budget=st.integers(0, 6), is_open=st.booleans(), constrained=st.booleans())
def test_masks_are_those_of_the_output_alone(seed: int, budget: int, is_open: bool, constrained: bool) -> None:
    random = Random(seed)
    sieve = Sieve(N, modulus=3, remainders=[0, 1]) if constrained else None
    inner = {token for token in EVERY if token % 3 < 2} if constrained else EVERY
    masks = Masks(ThinkingBudget(marks(), TABLE, N, budget, is_open=is_open, inner=sieve), N)
    output: list[int] = []
    while len(output) < 24:
        drafts = [random.choice(sorted(inner)) for _ in range(random.randint(0, 3))]
        if random.random() < 0.3:
            drafts = masks.forced(8)
            matched = place_of(output, is_open=is_open)[2]
            if drafts and not constrained:
                assert b"".join(TEXTS[token] for token in drafts) == CLOSE[matched:]
        masks.prepare(len(output), drafts)
        for token in [*drafts, random.choice(sorted(inner))]:
            status, mask = masks.mask(len(output))
            expected = allowed_after(output, budget, is_open=is_open, inner=inner)
            if mask is None:
                break  # behind a draft that was not allowed
            assert status == 0
            assert {token for token in mask if token < N} == expected
            drawn = token if token in expected and random.random() < 0.8 else random.choice(sorted(expected))
            masks.take(drawn)
            output.append(drawn)
            if drawn != token:
                break
        masks.settle()
    if sieve is not None:
        assert sieve.misuse is None


def test_what_the_inner_constraint_says_of_its_end_stands() -> None:
    sieve = Sieve(N, modulus=1, remainders=[0], length=2, ends=[3])
    masks = Masks(ThinkingBudget(marks(), TABLE, N, 9, is_open=True, inner=sieve), N)
    assert masks.accept(0) == 0
    assert masks.accept(1) == 1
    assert masks.rollback(2) == 0
    failing = Masks(ThinkingBudget(marks(), TABLE, N, 0, is_open=True, inner=Sieve(N, fails_at=0)), N)
    failing.prepare(0)
    assert failing.mask(0) == (3, None)
    with pytest.raises(ValueError, match="another request"):
        ThinkingBudget(marks(), TABLE, N, 9, is_open=True, inner=sieve)
    with pytest.raises(ValueError, match="closers"):
        ThinkingBudget(marks(), TABLE, 4, 9, is_open=True)
