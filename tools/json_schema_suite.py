"""Fetches the JSON-Schema-Test-Suite: `python -m tools.json_schema_suite`.

It is a part of the source distribution of `jsonschema`, of a pinned version, downloaded by the ordinary pip client and
never built. The archive goes to ~/.cache/oxillama, or where OXILLAMA_JSON_SCHEMA_SUITE says.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

VARIABLE = "OXILLAMA_JSON_SCHEMA_SUITE"
VERSION = "4.26.0"
SHA256 = "0c26707e2efad8aa1bfc5b7ce170f3fccc2e4918ff85989ba9ffa9facb2be326"
ARCHIVE = f"jsonschema-{VERSION}.tar.gz"
SECONDS = 300


class FetchError(Exception):
    """The archive cannot be had: no network, or not the bytes that were expected."""


def path() -> Path:
    """Where the archive is kept."""
    return Path(os.environ.get(VARIABLE) or "~/.cache/oxillama").expanduser() / ARCHIVE


def cases(dialect: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each group of tests of a dialect, as "draft7", with the name of its file: a schema, and values that are right or
    wrong under it. Optional ones only of formats."""
    folder = f"jsonschema-{VERSION}/json/tests/{dialect}/"
    with tarfile.open(path()) as archive:
        for member in sorted(archive.getmembers(), key=lambda one: one.name):
            name = member.name.removeprefix(folder)
            wanted = name != member.name and name.endswith(".json")
            if not wanted or (name.startswith("optional/") and not name.startswith("optional/format/")):
                continue
            file = archive.extractfile(member)
            assert file is not None
            for group in json.load(file):
                yield name, group


def provide() -> Path:
    """The archive, fetched unless it is there. Raises FetchError or OSError."""
    target = path()
    if target.is_file():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="fetching-") as scratch:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += ["--no-binary", "jsonschema", "--dest", scratch, f"jsonschema=={VERSION}"]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=SECONDS)
        except (subprocess.TimeoutExpired, subprocess.CalledProcessError) as error:
            raise FetchError(f"pip did not download {ARCHIVE}: {type(error).__name__}") from error
        found = Path(scratch) / ARCHIVE
        digest = hashlib.sha256(found.read_bytes()).hexdigest() if found.is_file() else "nothing"
        if digest != SHA256:
            raise FetchError(f"{ARCHIVE}: expected SHA-256 {SHA256}, found {digest}")
        found.replace(target)
    return target


def main() -> int:
    """0 if the archive is there, 1 if it cannot be had: its tests are then skipped."""
    try:
        print(provide())
    except (FetchError, OSError) as error:
        print(f"not fetched: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
