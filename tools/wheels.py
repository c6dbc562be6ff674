"""Builds a wheel with every interpreter at hand, from the source distribution, and tries each as a stranger would.

Usage: python -m tools.wheels [PYTHON ...]

Without names: what cibuildwheel builds for (see pyproject.toml) and this machine has, on the path or in pyenv. One
after the other: the source distribution is built with a compiler only, `auditwheel` makes the wheel fit for other
systems, check_wheel.py looks into it, try_wheel.py installs it into a clean environment. Wheels are left in dist/."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
DIST = REPOSITORY / "dist"
RAW = REPOSITORY / "build" / "wheels"
# Printed by an interpreter that has headers to build with.
TAG = """
import os, sys, sysconfig
os.stat(os.path.join(sysconfig.get_path("include"), "Python.h"))
print("cp%d%d" % sys.version_info[:2] + "t" * bool(sysconfig.get_config_var("Py_GIL_DISABLED")))
"""


def wanted_tags() -> list[str]:
    """As cibuildwheel names them: cp311, cp314t, ..."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))
    return [name.removesuffix("-*") for name in project["tool"]["cibuildwheel"]["build"]]


def candidates() -> Iterator[str]:
    for tag in wanted_tags():
        yield f"python3.{tag.removeprefix('cp3')}"
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    yield from (str(path) for path in sorted(root.glob("*/bin/python3")))


def tag_of(interpreter: str) -> str | None:
    """None for what is not there, or has no headers to build with."""
    path = shutil.which(interpreter)
    if path is None:
        return None
    done = subprocess.run([path, "-c", TAG], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None


def interpreters() -> dict[str, str]:
    """The first interpreter of every wanted tag."""
    wanted, found = wanted_tags(), dict[str, str]()
    for name in candidates():
        tag = tag_of(name)
        if tag in wanted:
            found.setdefault(tag, name)
    return {tag: found[tag] for tag in wanted if tag in found}


def run(*command: str | Path) -> None:
    subprocess.run(list(map(str, command)), cwd=REPOSITORY, check=True)


def built(source: Path, interpreter: str) -> Path:
    """The repaired wheel. In an environment of its own, so that nothing of the interpreter's is used or changed."""
    folder = RAW / (tag_of(interpreter) or "unknown")
    shutil.rmtree(folder, ignore_errors=True)
    run(interpreter, "-m", "venv", folder / "venv")
    python = folder / "venv" / "bin" / "python"
    pip = (python, "-m", "pip", "--quiet", "--disable-pip-version-check")
    run(*pip, "wheel", "--no-deps", "--wheel-dir", folder / "raw", source)
    (raw,) = (folder / "raw").glob("*.whl")
    run(sys.executable, "-m", "auditwheel", "repair", "--wheel-dir", folder / "repaired", raw)
    (wheel,) = (folder / "repaired").glob("*.whl")
    return Path(shutil.copy(wheel, DIST))


def main() -> int:
    chosen = {tag_of(name) or name: name for name in sys.argv[1:]} or interpreters()
    for tag in wanted_tags():
        if tag not in chosen and not sys.argv[1:]:
            print(f"{tag}: not at hand")
    DIST.mkdir(exist_ok=True)
    for old in DIST.glob("oxillama_engine-*"):
        old.unlink()
    run(sys.executable, "-m", "build", "--quiet", "--sdist")
    (source,) = DIST.glob("oxillama_engine-*.tar.gz")
    failures = 0
    for tag, interpreter in chosen.items():
        began = time.monotonic()
        try:
            wheel = built(source, interpreter)
            print(f"{tag}: built in {time.monotonic() - began:.0f} s", flush=True)
            run(sys.executable, REPOSITORY / "tools" / "check_wheel.py", wheel)
            run(sys.executable, REPOSITORY / "tools" / "try_wheel.py", wheel, interpreter)
        except subprocess.CalledProcessError as error:
            failures += 1
            print(f"{tag}: {error}", flush=True)
    return 1 if failures or not chosen else 0


if __name__ == "__main__":
    sys.exit(main())
