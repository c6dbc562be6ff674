"""Philox4x32-10, the random numbers of the sampler; keeps no state."""

def philox4x32(counter: tuple[int, int, int, int], key: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return the four words that Philox4x32-10 makes of four counter words and two key words, all 32-bit."""

def random_bits(seed: int, choice: int, position: int, stage: int) -> int:
    """Return the 64 bits that ``stage`` (0 the draw of mirostat, 1 XTC) uses at ``position`` of ``choice``."""
