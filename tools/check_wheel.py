"""Checks what a built wheel contains against the source tree: what must be in it, and what must not.

Usage: check_wheel.py WHEEL
"""

from __future__ import annotations

import re
import sys
import zipfile
from pathlib import Path, PurePosixPath

PACKAGE = Path(__file__).resolve().parent.parent / "oxillama"
TESTING = PACKAGE / "_core" / "testing"  # built in a checkout only
SHIPPED_AS_THEY_ARE = {".py", ".pyi", ".pxd", ".gguf", ".html", ".css", ".js", ".svg"}
SOURCES = {".c", ".h", ".pyx"}
EXTERN = re.compile(r'^cdef extern from "([^<"]+)"', re.MULTILINE)  # a system's header has angle brackets
MAX_BYTES = 8_000_000  # of a wheel: what an app is willing to carry
INCLUDE = re.compile(r'^\s*#\s*include "(.+?)"', re.MULTILINE)


def declared_headers() -> set[Path]:
    """The headers that somebody who cimports one of the .pxd files compiles against."""
    folder = PACKAGE / "_core" / "csrc"
    found: set[Path] = set()
    open_ends = {folder / name for path in PACKAGE.rglob("*.pxd") for name in EXTERN.findall(path.read_text("utf-8"))}
    while open_ends:
        found |= open_ends
        names = {name for path in open_ends for name in INCLUDE.findall(path.read_text("utf-8"))}
        open_ends = {folder / name for name in names} - found
    return found


def expected_names() -> set[str]:
    files = {path for path in PACKAGE.rglob("*") if path.suffix in SHIPPED_AS_THEY_ARE or path.name == "py.typed"}
    files = {path for path in files if TESTING not in path.parents}
    return {path.relative_to(PACKAGE.parent).as_posix() for path in files | declared_headers()}


def problems(wheel: zipfile.ZipFile) -> list[str]:
    names = [name for name in wheel.namelist() if ".dist-info/" not in name]
    found = [f"missing: {name}" for name in sorted(expected_names() - set(names))]
    found += [f"outside the package: {name}" for name in names if not name.startswith("oxillama/")]
    surplus = set(names) - expected_names()
    found += [f"source in the wheel: {name}" for name in sorted(surplus) if PurePosixPath(name).suffix in SOURCES]

    binaries = [name for name in names if name.endswith(".so")]
    built = {name.partition(".")[0] for name in binaries}
    modules = {
        path.relative_to(PACKAGE.parent).with_suffix("").as_posix()
        for path in (PACKAGE / "_core").rglob("*.pyx")
        if TESTING not in path.parents
    }
    found += [f"not compiled: {name}" for name in sorted(modules - built)]
    found += [f"for the tests only: {name}" for name in names if name.startswith("oxillama/_core/testing/")]
    # The section's name is part of any ELF file that has the section.
    found += [f"debug information: {name}" for name in binaries if b".debug_info" in wheel.read(name)]

    metadata = [name.partition(".dist-info/")[2] for name in wheel.namelist() if ".dist-info/" in name]
    found += [f"missing: {name}" for name in ("licenses/LICENSE", "entry_points.txt") if name not in metadata]
    return found


def main() -> int:
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    path = Path(sys.argv[1])
    with zipfile.ZipFile(path) as wheel:
        found = problems(wheel)
        if path.stat().st_size > MAX_BYTES:
            found.append(f"larger than {MAX_BYTES / 1e6:.0f} MB")
        print("\n".join([*found, f"{path.name}: {path.stat().st_size / 1e6:.1f} MB, {len(found)} problems"]))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
