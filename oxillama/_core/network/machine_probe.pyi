"""Measures what the machine can do: sequential read bandwidth and multiply-add rates, per number of threads."""

class ReadProbe:
    """Memory of ``megabytes`` MiB on huge pages, kept so that a probe can be repeated between other measurements."""

    n_threads: int

    def __init__(self, *, n_threads: int = 1, megabytes: int = 256) -> None: ...
    def run(self) -> float:
        """Reads the memory once, an ascending stretch per thread; GB/s of all threads together."""

def read_bandwidth(*, n_threads: int = 1, megabytes: int = 256, repeats: int = 7) -> float:
    """The median of ``repeats`` probes, GB/s of all threads together."""

def int8_rate(*, level: str | None = None, n_threads: int = 1, repeats: int = 7) -> float:
    """The median int8 rate of the level's dot product in registers, GOP/s of all threads; 0.0 if no loop exists for it.

    A multiply-add counts as two operations. For levels without a byte dot product it is the three-instruction form,
    which products with 4-bit weights can beat. Raises ValueError for a level that is not usable.
    """

def float_rate(*, level: str | None = None, n_threads: int = 1, repeats: int = 7) -> float:
    """The same for float32 multiply-adds, which is what products of float weights and attention are made of."""
