"""Lets requests have drafts that a test chose, and says what of a completion must not depend on them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from oxillama import Completion
from oxillama._core.output.handle import Handle
from oxillama._core.scheduling.waiter import Waiter
from oxillama._core.testing.drafter_harness import attach_drafter, attach_lookup, make_eager
from oxillama.lifecycle import Lifecycle


@contextmanager
def drafting(answers: list[list[int]] | None, *, lie: float = 0.0, seed: int = 0) -> Iterator[list[Handle]]:
    """Requests that are submitted meanwhile get drafts: the nth handle those of the nth answer, or of its own text."""
    handles: list[Handle] = []
    submit = Lifecycle.try_submit

    def try_submit(self: Lifecycle, found: list[Handle], waiter: Waiter | None = None) -> bool:
        for handle in found:
            if handle in handles:
                continue
            if answers is None:
                attach_lookup(handle)
            else:
                answer = answers[len(handles)] if len(handles) < len(answers) else []
                # A few ids are beyond the vocabulary.
                n_tokens = self.worker.program.n_vocab + 3 if self.worker.program else 1
                attach_drafter(handle, answer, lie=lie, n_tokens=n_tokens, seed=seed + len(handles))
            handles.append(handle)
        return submit(self, found, waiter)

    patch = pytest.MonkeyPatch()
    patch.setattr(Lifecycle, "try_submit", try_submit)
    try:
        yield handles
    finally:
        patch.undo()


@contextmanager
def cheap_rows() -> Iterator[None]:
    """The drafters of requests that are submitted meanwhile believe that rows cost nothing."""
    seen: list[Handle] = []
    submit = Lifecycle.try_submit

    def try_submit(self: Lifecycle, found: list[Handle], waiter: Waiter | None = None) -> bool:
        for handle in found:
            if handle not in seen:
                make_eager(handle)
                seen.append(handle)
        return submit(self, found, waiter)

    patch = pytest.MonkeyPatch()
    patch.setattr(Lifecycle, "try_submit", try_submit)
    try:
        yield
    finally:
        patch.undo()


def facts(completion: Completion) -> list[tuple[Any, ...]]:
    """Everything of a completion that a caller may compare."""
    return [
        (choice.text, choice.token_ids, choice.finish_reason, choice.stop_reason, repr(choice.logprobs))
        for choice in completion.choices
    ]
