"""A drafter for tests."""

from collections.abc import Sequence

from oxillama._core.handle import Handle

def attach_drafter(handle: Handle, answer: Sequence[int], *, lie: float, n_tokens: int, seed: int = 0) -> None: ...
def draft_counts(handle: Handle) -> tuple[int, int]: ...
