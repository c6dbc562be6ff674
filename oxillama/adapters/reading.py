"""Opens an adapter, whatever kind of file or folder it is in."""

from __future__ import annotations

import os

from oxillama.adapters.gguf_adapter import read_gguf
from oxillama.adapters.pairs import LowRankAdapter
from oxillama.adapters.peft import read_peft
from oxillama.errors import AdapterError
from oxillama.gguf.file import checked_path
from oxillama.network.sites import Sites


def read_adapter(path: str | os.PathLike[str], sites: Sites) -> LowRankAdapter:
    """A GGUF adapter, or a folder of PEFT's, which is converted for the base model. Raises AdapterError."""
    name = checked_path(path)
    try:
        return read_peft(name, sites) if os.path.isdir(name) else read_gguf(name)
    except OSError as error:
        raise AdapterError(f"{name}: {error.strerror or error}", param="path") from None
