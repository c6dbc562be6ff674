from oxillama._core.network.adapter import AdapterSet
from oxillama._core.network.program import Program

class Worker:
    program: Program | None
    draft: Program | None
    overlaps_masks: bool
    def __init__(
        self,
        program: Program,
        vocabulary: object = None,
        *,
        n_ctx: int,
        max_batch_size: int,
        max_step_ns: int,
        priority_aging_ns: int,
        queue_size: int,
        prefix_cache: bool,
        n_kept_blocks: int,
        snapshot_tokens: int,
        draft: Program | None = None,
        draft_n_ctx: int = 0,
    ) -> None: ...
    def close(self) -> None: ...
    @property
    def is_running(self) -> bool: ...
    @property
    def pid(self) -> int: ...
    def wake(self) -> None: ...
    def hold_adapters(self, adapters: AdapterSet) -> None: ...
    def drop_adapters(self, adapters: AdapterSet) -> None: ...
    def wake_waiting(self) -> None: ...
    def stats(self) -> dict[str, int]: ...
