"""Builds some of the compiled modules with sanitizers, beside the normal build, and runs scripts against them.

The errors that a test provokes end that script's process only, and the report is in its output. Nothing here
knows what is tested: ``sanitized(["gguf.file", ...]).run("tests/fuzz_gguf.py")``. Builds are kept under ``build/`` and
renewed when a source changes.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

import oxillama
from oxillama._core.network.kernels import usable_levels

REPOSITORY = Path(__file__).resolve().parent.parent
MEMORY = "address,undefined"
THREADS = "thread"
RUNTIMES = {MEMORY: ("libasan.so", "libubsan.so"), THREADS: ("libtsan.so",)}
# Sanitized kernels take most of a minute to compile for each level, so all their tests share one build, and the default
# suite has the narrowest vectors and the widest: what differs between levels is how vectors are loaded.
KERNEL_MODULES = ("network.kernels", "testing.kernel_harness", "testing.attention_harness")
CHECKED_LEVELS = [
    pytest.param(tuple(dict.fromkeys(("reference", *usable_levels()[1:2], usable_levels()[-1]))), id="some"),
    pytest.param(usable_levels(), id="all", marks=pytest.mark.slow),
]
# What ThreadSanitizer reports of correct code, each with its reason.
SUPPRESSIONS = REPOSITORY / "tests" / "thread_suppressions.txt"


@dataclass(frozen=True)
class SanitizedBuild:
    """A copy of the package, by symbolic links, in which some compiled modules are sanitized ones."""

    root: Path
    preload: str
    levels: Sequence[str] = ()

    def run(
        self, script: str | Path, *args: str, timeout: float = 300, allocation_limit_mb: int = 256
    ) -> subprocess.CompletedProcess[str]:
        """Run a Python script of the repository; stdout and stderr come back together in ``stdout``.

        A memory error, undefined behaviour, a race, or one allocation above ``allocation_limit_mb`` ends the process
        with a status other than 0.
        """
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join([str(self.root), str(REPOSITORY)]),
            "LD_PRELOAD": self.preload,
            # Python's own arena allocator would hide overruns; the interpreter's leaks at exit are not ours.
            "PYTHONMALLOC": "malloc",
            "ASAN_OPTIONS": f"detect_leaks=0:abort_on_error=0:max_allocation_size_mb={allocation_limit_mb}",
            "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
            "TSAN_OPTIONS": f"suppressions={SUPPRESSIONS}:exitcode=66",
            "OPENBLAS_NUM_THREADS": "1",
        }
        if self.levels:
            environment.pop("OXILLAMA_ISA", None)
        return subprocess.run(
            [sys.executable, "-P", str(REPOSITORY / script), *args],
            env=environment,
            cwd=self.root,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
            check=False,
        )


def sanitized(modules: Sequence[str], sanitizers: str = MEMORY, *, levels: Sequence[str] = ()) -> SanitizedBuild:
    """Build ``oxillama._core`` modules with address and undefined-behaviour sanitizers, or with ``THREADS``.

    Name all modules whose code the script is to check; the others are taken from the normal build in place. ``levels``:
    the only instruction sets whose kernels are compiled. Skips the test where the compiler or its sanitizer runtimes
    are missing.
    """
    pytest.importorskip("Cython")
    pytest.importorskip("setuptools")
    preload = " ".join(runtime_path(name) for name in RUNTIMES[sanitizers])
    names = " ".join([sanitizers, *sorted(modules), *levels])
    # Many modules would be a name too long for a folder.
    folder = REPOSITORY / "build" / "sanitized" / f"{sanitizers}-{hashlib.sha256(names.encode()).hexdigest()[:12]}"
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        build(modules, folder, sanitizers, levels)
        link_package(folder / "root", folder / "lib")
    return SanitizedBuild(folder / "root", preload, levels)


def runtime_path(name: str) -> str:
    compiler = os.environ.get("CC", "gcc").split()  # "ccache gcc" is one, too
    if shutil.which(compiler[0]) is None:
        pytest.skip(f"no compiler {compiler[0]!r}")
    found = subprocess.run([*compiler, f"-print-file-name={name}"], capture_output=True, text=True, check=True)
    path = Path(found.stdout.strip())
    if not path.is_file():
        pytest.skip(f"{compiler[0]} has no {name}")
    return str(path.resolve())


def build(modules: Sequence[str], folder: Path, sanitizers: str, levels: Sequence[str]) -> None:
    command = [sys.executable, "setup.py", "-q", "build_ext", "--parallel", str(os.cpu_count())]
    command += ["--build-lib", str(folder / "lib"), "--build-temp", str(folder / "objects")]
    environment = os.environ | {
        "OXILLAMA_SANITIZE": sanitizers,
        "OXILLAMA_MODULES": " ".join(modules),
        "OXILLAMA_LEVELS": " ".join(levels),
    }
    result = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
    if result.returncode:
        pytest.fail(f"the sanitized build failed:\n{result.stdout}\n{result.stderr}")


def link_package(root: Path, built: Path) -> None:
    """Make ``root/oxillama`` anew: links to the imported package's files, with the sanitized modules in their place."""
    shutil.rmtree(root, ignore_errors=True)
    sanitized_files = {path.relative_to(built) for path in built.rglob("*.so")}
    package = Path(oxillama.__file__).parent
    for source in package.rglob("*"):
        name = source.relative_to(package.parent)
        if source.suffix in (".py", ".so", ".gguf") and name not in sanitized_files:
            target = root / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(source)
    for source in built.rglob("*.so"):
        (root / source.relative_to(built)).symlink_to(source)
