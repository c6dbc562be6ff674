"""Makes each mistake of `mistakes.toml` in a copy of the tree and runs its test there, which must fail.

    python -m tools.mutations [WORD ...]

WORD: only the mistakes whose name or file contains it. First all their tests are run without any mistake, and must be
green: a test that is red anyway sees nothing. Exit status 0: every mistake was seen.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tools.mutations.mistakes import REPOSITORY, Mistake, read_mistakes

LEFT_OUT = (".git", ".venv", "build", "dist", "*.egg-info", ".*_cache", "__pycache__", ".hypothesis")
SECONDS = 900
# pytest's exit statuses: tests failed; an error while collecting is no test that failed.
GREEN, RED = 0, 1


class Copy:
    """A copy of the tree, with its compiled modules, in which one mistake at a time is made."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "oxillama"
        shutil.copytree(REPOSITORY, self.root, ignore=shutil.ignore_patterns(*LEFT_OUT))
        fixtures = os.environ.get("OXILLAMA_FIXTURES") or str(REPOSITORY.parent / "shared" / "fixtures")
        self.environment = os.environ | {"PYTHONPATH": str(self.root), "OXILLAMA_FIXTURES": fixtures}

    def run(self, tests: list[str]) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-m", "", *tests]
        return self._run(command)

    def judge(self, mistake: Mistake) -> int:
        """pytest's exit status with the mistake in place; everything is as before afterwards."""
        file = self.root / mistake.file
        right = file.read_text()
        compiled = {path: path.read_bytes() for path in self._compiled(mistake.modules)}
        try:
            file.write_text(mistake.applied_to(right))
            if mistake.modules:
                self._build(mistake.modules)
            return self.run([mistake.test]).returncode
        finally:
            file.write_text(right)
            for path, content in compiled.items():
                path.write_bytes(content)

    def _compiled(self, modules: list[str]) -> list[Path]:
        core = self.root / "oxillama" / "_core"
        return [path for name in modules for path in core.glob(name.replace(".", "/") + ".*.so")]

    def _build(self, modules: list[str]) -> None:
        command = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]
        built = self._run(command, {"OXILLAMA_MODULES": " ".join(modules)})
        if built.returncode:
            raise SystemExit(f"a mistake does not compile:\n{built.stdout}")

    def _run(self, command: list[str], more: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=self.root,
            env=self.environment | (more or {}),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SECONDS,
            check=False,
        )


def main(words: list[str]) -> int:
    mistakes = [one for one in read_mistakes() if not words or any(word in one.name + one.file for word in words)]
    with tempfile.TemporaryDirectory() as folder:
        copy = Copy(Path(folder))
        sound = copy.run(sorted({one.test for one in mistakes}))
        if sound.returncode != GREEN:
            print(sound.stdout)
            print("the tests are not green without any mistake")
            return 2
        unseen = 0
        for mistake in mistakes:
            status = copy.judge(mistake)
            unseen += status != RED
            said = {GREEN: "NOT SEEN", RED: "seen"}.get(status, f"pytest ended with {status}")
            print(f"{said:9} {mistake.file}: {mistake.name}", flush=True)
    print(f"{len(mistakes) - unseen} of {len(mistakes)} mistakes were seen")
    return 1 if unseen else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
