"""A stranger's first minutes with a wheel: a clean environment, `pip install`, and what the README says next.

Usage: try_wheel.py WHEEL [PYTHON ...]

For each interpreter (default: this one) an environment of its own outside the checkout gets the wheel with its extras
`server` and `testing`; then the programs of the README's first five minutes run there: embedded in an app, mounted into
Starlette, a property test of sampler settings. And the command writes a story."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
SECTION = re.compile(r"^## Five minutes\n(?P<text>.*?)^## ", re.MULTILINE | re.DOTALL)
BLOCK = re.compile(r"^```python\n(?P<code>.*?)^```", re.MULTILINE | re.DOTALL)
EXTRAS = "server,testing"


def programs() -> list[str]:
    """What the README shows first, each of about ten lines."""
    section = SECTION.search((REPOSITORY / "README.md").read_text("utf-8"))
    if section is None:
        raise SystemExit("README.md has no section of five minutes")
    return [match["code"] for match in BLOCK.finditer(section["text"])]


def commands(python: Path) -> Iterator[list[str]]:
    for code in programs():
        # Without a GIL, a module that needs it would warn here, and so fail.
        yield [str(python), "-W", "error::RuntimeWarning", "-c", code]
    yield [str(python.with_name("oxillama")), "run", "--demo", "-p", "Once upon a time", "-n", "10"]


def clean_environment() -> dict[str, str]:
    """Without what leads Python back into the checkout."""
    return {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "OXILLAMA_", "VIRTUAL"))
    }


def tried(wheel: Path, interpreter: str) -> str:
    """What went wrong, or nothing."""
    with tempfile.TemporaryDirectory(prefix="stranger-") as folder:
        environment, home = clean_environment(), Path(folder)

        def run(*command: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                command, cwd=home, env=environment, capture_output=True, text=True, timeout=1200, check=False
            )

        python = home / "venv" / "bin" / "python"
        made = run(interpreter, "-m", "venv", str(home / "venv"))
        if made.returncode:
            return f"no environment: {made.stderr or made.stdout}"
        # Only wheels: a stranger has no compiler.
        installed = run(
            str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:",
            f"{wheel}[{EXTRAS}]",
        )  # fmt: skip
        if installed.returncode:
            return f"not installed: {installed.stderr[-1500:]}"
        for command in commands(python):
            done = run(*command)
            if done.returncode or not done.stdout.strip():
                return f"{command[-1][:200]}\nexit code {done.returncode}: {done.stderr[-1500:]}"
    return ""


def main() -> int:
    if len(sys.argv) < 2:
        print(__doc__, file=sys.stderr)
        return 2
    wheel = Path(sys.argv[1]).resolve()
    failures = 0
    for interpreter in sys.argv[2:] or [sys.executable]:
        trouble = tried(wheel, interpreter)
        failures += bool(trouble)
        print(f"{wheel.name} under {interpreter}: {trouble or f'{len(programs())} programs and the command ran'}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
