"""Block pool and scheduler as Python objects, for tests."""

from collections.abc import Sequence
from typing import NamedTuple, TypedDict, final, type_check_only

from oxillama._core.constraint import Constraint

KV_BLOCK: int
MAX_DRAFTS: int

Domain = tuple[int, int, int]

class PlanItem(NamedTuple):
    request: int
    first_position: int
    n_tokens: int
    n_logits: int
    n_draws: int
    first_hidden: int
    n_hidden: int
    restored: int
    marks: tuple[tuple[int, int], ...]

@type_check_only
class BlockState(TypedDict):
    references: int
    indexed: bool
    parent: int
    parent_live: bool
    domain: Domain
    tokens: list[int]

@type_check_only
class RequestState(TypedDict):
    state: int
    finish_reason: int
    output: list[int]
    n_drafts: int
    num_computed_tokens: int
    num_cached_tokens: int
    num_preemptions: int
    blocks: list[int]
    window_blocks: list[int]
    n_left: int
    slot: int
    restored: int
    level: int
    start_ns: int
    prefill_end_ns: int
    first_token_ns: int
    end_ns: int
    finished: bool

@final
class BlockPool:
    grown: list[int]
    def __init__(
        self,
        n_blocks: int,
        *,
        hash_mask: int = ...,
        n_kept: int = -1,
        n_snapshots: int = 0,
        snapshot_tokens: int = 512,
        n_windows: int = 0,
        window: int = 1,
    ) -> None: ...
    def take(self) -> int: ...
    def retain(self, block: int) -> None: ...
    def release(self, block: int) -> None: ...
    def find(self, parent: int, tokens: Sequence[int], domain: Domain = (0, 0, 0)) -> int: ...
    def register(self, block: int, parent: int, tokens: Sequence[int], domain: Domain = (0, 0, 0)) -> int: ...
    def forget(self) -> None: ...
    @property
    def stats(self) -> dict[str, int]: ...
    @property
    def blocks(self) -> list[BlockState]: ...
    @property
    def snapshots(self) -> list[tuple[int, int, bool]]: ...
    @property
    def free_snapshots(self) -> list[int]: ...
    @property
    def windows(self) -> list[tuple[int, int]]: ...
    @property
    def window_lists(self) -> tuple[list[int], list[int], list[int]]: ...
    @property
    def window_counts(self) -> tuple[int, int, int]: ...
    @property
    def free(self) -> list[int]: ...
    @property
    def cached(self) -> list[int]: ...

@final
class Scheduler:
    started: list[int]
    finished: list[tuple[int, int, int]]
    def __init__(
        self,
        pool: BlockPool,
        *,
        max_batch_size: int = 8,
        max_batch_tokens: int = 128,
        max_step_ns: int = 100_000_000,
        priority_aging_ns: int = 10_000_000_000,
        n_ctx: int = 1024,
        prefix_cache: bool = True,
        max_outputs: int = -1,
        max_drafts: int = ...,
    ) -> None: ...
    def add(
        self,
        prompt: Sequence[int],
        *,
        max_output: int = 16,
        kind: int = 0,
        priority: int = 0,
        deadline_ns: int = 0,
        domain: Domain = (0, 0, 0),
        cache_prompt: bool = True,
        scores_prompt: bool = False,
        first_scored: int = 0,
        hidden: tuple[int, int] | None = None,
        now_ns: int = 0,
        arrival_ns: int = 0,
        constraint: Constraint | None = None,
    ) -> int: ...
    def cancel(self, request_id: int) -> None: ...
    def draft(self, request_id: int, tokens: Sequence[int]) -> None: ...
    def prepare_masks(self, request_id: int, n_vocab: int, n_drafts: int) -> None: ...
    def mask(self, request_id: int, n_vocab: int) -> tuple[int, list[int] | None]: ...
    def take(self, request_id: int, token: int) -> int: ...
    def settle(self, request_id: int) -> int: ...
    def append(self, request_id: int, token: int) -> bool: ...
    def rollback(self) -> None: ...
    def schedule(self, now_ns: int = 0) -> list[PlanItem]: ...
    @property
    def totals(self) -> tuple[int, int, int, int]: ...
    def apply(self, results: Sequence[tuple[int, int]], now_ns: int = 0) -> None: ...
    def plan_is_alive(self, now_ns: int = 0) -> bool: ...
    def observe(self, step_ns: int, n_tokens: int, n_decode: int) -> None: ...
    def finish_all(self, reason: int, now_ns: int = 0) -> None: ...
    @property
    def num_alive(self) -> int: ...
    @property
    def running(self) -> list[int]: ...
    @property
    def waiting(self) -> list[int]: ...
    @property
    def stats(self) -> dict[str, int]: ...
    def request(self, request_id: int) -> RequestState: ...
