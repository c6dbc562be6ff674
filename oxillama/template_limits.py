"""How long a chat template may be. Its size is looked at before anything is done with it."""

from __future__ import annotations

# Real ones have some thousand characters, the largest known ones 20,000.
MAX_SOURCE_CHARACTERS = 128 << 10
