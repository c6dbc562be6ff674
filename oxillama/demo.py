"""Where the embedded demo model lies."""

from __future__ import annotations

from importlib import resources
from pathlib import Path


def demo_path() -> Path:
    """The GGUF file in the package's data. Packages are installed as plain files; a zipped one cannot be mapped."""
    path = resources.files("oxillama") / "data" / "demo.gguf"
    if not isinstance(path, Path):
        raise FileNotFoundError("the embedded model can only be opened from an unpacked installation")
    return path
