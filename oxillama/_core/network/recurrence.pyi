MAX_TAPS: int
RULES: dict[str, int]
