"""What to type where an optional part is missing: the packages of an extra, by their own names.

A line that named this distribution would send people to whoever holds its name on the index that they use."""

from __future__ import annotations

import importlib.metadata
import re
import shlex

DISTRIBUTION = "oxillama-engine"


def install_line(extra: str) -> str:
    """`pip install ...` with what the installed distribution declares for the extra."""
    try:
        declared = importlib.metadata.requires(DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:  # a source tree that nobody has installed
        declared = []
    wanted = re.compile(rf"""(?P<requirement>[^;]+); extra == ["']{re.escape(extra)}["']""")
    found = [match["requirement"].strip() for match in map(wanted.fullmatch, declared) if match]
    return f"pip install {shlex.join(found)}" if found else f"see the extra {extra!r} in pyproject.toml"
