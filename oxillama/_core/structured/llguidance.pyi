class Library:
    """The C functions that llguidance's module file `path` exports. The module must have been imported.

    Raises LookupError naming what is missing."""

    def __init__(self, path: str) -> None: ...
    @property
    def version(self) -> str:
        """Of the library, by its own word: "1.9.1"."""

NAMES: tuple[str, ...]
