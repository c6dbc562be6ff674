"""Chooses the kernel table of this process, once, at import."""

def active_level() -> str:
    """The name of the level in use: the fastest usable one, or the one ``OXILLAMA_ISA`` names."""

def usable_levels() -> tuple[str, ...]:
    """The compiled levels that this processor and its system can run, slowest first."""

def compiled_levels() -> tuple[str, ...]:
    """Every level in this build, slowest first."""
