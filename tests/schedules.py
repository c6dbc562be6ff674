"""Interleaved plans: sequences whose tokens are computed in chunks, several sequences to a step."""

from __future__ import annotations

from hypothesis import strategies as st


@st.composite
def interleaved(
    draw: st.DrawFn, n_vocab: int, *, longest: int, most: int, max_rows: int
) -> tuple[list[list[int]], list[dict[int, int]]]:
    """Up to `most` sequences of up to `longest` tokens, and steps of up to max_rows rows: tokens by sequence."""
    lengths = draw(st.lists(st.integers(1, longest), min_size=1, max_size=most))
    token = st.integers(0, n_vocab - 1)
    sequences = [draw(st.lists(token, min_size=length, max_size=length)) for length in lengths]
    left = list(lengths)
    steps: list[dict[int, int]] = []
    while any(left):
        step: dict[int, int] = {}
        room = max_rows
        for i in draw(st.permutations(range(len(left)))):
            n = draw(st.integers(0, min(left[i], room)))
            if n:
                step[i] = n
                room -= n
                left[i] -= n
        if not step:
            i = next(i for i, n in enumerate(left) if n)
            step[i] = 1
            left[i] -= 1
        steps.append(step)
    return sequences, steps
