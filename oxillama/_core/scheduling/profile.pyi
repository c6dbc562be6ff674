class Profile:
    """Grows while a program's profiling is on; never reset, so take differences."""

    def __init__(self, n_ops: int) -> None: ...
    @property
    def n_steps(self) -> int: ...
    @property
    def walk_ns(self) -> int:
        """Nanoseconds in steps: the operations, the waiting, and assembling the team."""

    @property
    def sample_ns(self) -> int:
        """Nanoseconds in choosing tokens; 0 where no worker ran the steps."""
    @property
    def step_ns(self) -> int:
        """Nanoseconds in whole steps of a worker: walking, choosing tokens, and telling the requests."""

    def operations(self) -> list[tuple[int, int]]:
        """Of each operation: nanoseconds in it, nanoseconds at the barrier before it."""
