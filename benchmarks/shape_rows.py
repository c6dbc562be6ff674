"""oxillama beside llama.cpp on random-weight files of real shapes, a row each: which families and types are fast.

    python benchmarks/shape_rows.py --list
    python benchmarks/shape_rows.py gemma3-1b lfm2-700m --peer-python /path/to/python

Writes the file of a row into --folder unless it is there, then runs compare.py on it with short tasks."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

BENCHMARKS = Path(__file__).resolve().parent
TASKS = "prefill 128, decode 32, decode 32 x 8 at 64"


@dataclass(frozen=True)
class Row:
    """layers: where the whole model does not fit into memory or minutes. What is left out scales the same for both."""

    shape: str
    file_type: str
    layers: int | None = None

    @property
    def file_name(self) -> str:
        cut = f"-{self.layers}-layers" if self.layers else ""
        return f"random-{self.shape}{cut}-{self.file_type}.gguf"


ROWS = {
    "qwen2.5-1.5b": Row("qwen2.5-1.5b", "Q4_K_M"),
    "gemma3-1b": Row("gemma3-1b", "Q4_K_M"),
    "olmoe-1b-7b": Row("olmoe-1b-7b", "Q4_K_M", 8),
    "gpt-oss-20b": Row("gpt-oss-20b", "MXFP4", 4),
    "mamba2-780m": Row("mamba2-780m", "Q4_K_M"),
    "lfm2-700m": Row("lfm2-700m", "Q4_K_M"),
    "iq2_xxs": Row("llama-1b", "IQ2_XXS"),
    "iq3_s": Row("llama-1b", "IQ3_S"),
    "mxfp4": Row("llama-1b", "MXFP4"),
}


def provide(row: Row, folder: Path) -> Path:
    """The row's file, written unless it is there."""
    path = folder / row.file_name
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        command = [sys.executable, "-m", "tools.random_model", str(part), "--shape", row.shape, "--type", row.file_type]
        command += ["--layers", str(row.layers)] if row.layers else []
        subprocess.run(command, cwd=BENCHMARKS.parent, check=True)
        part.rename(path)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", metavar="ROW", help="which of them (default: all)")
    parser.add_argument("--list", action="store_true", help="name the rows")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "oxillama-shapes")
    parser.add_argument("--keep", action="store_true", help="leave the files in the folder; some have a gigabyte")
    parser.add_argument("--tasks", default=TASKS, help=f"as compare.py takes them (default: {TASKS})")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peer-python", default=sys.executable, help="the Python with llama_cpp (default: this one)")
    args, more = parser.parse_known_args()
    if args.list:
        print("\n".join(f"{name:<14} {row.file_name}" for name, row in ROWS.items()))
        return
    unknown = set(args.rows).difference(ROWS)
    if unknown:
        parser.error(f"no row {min(unknown)!r}; --list names them")
    for name in args.rows or ROWS:
        path = provide(ROWS[name], args.folder)
        command = [sys.executable, str(BENCHMARKS / "compare.py"), str(path), "--no-contention", "--tasks", args.tasks]
        command += ["--rounds", str(args.rounds), "--peer-python", args.peer_python]
        command += ["--output", str(BENCHMARKS / "results" / f"shape-{name}.json"), *more]
        subprocess.run(command, check=True)
        if not args.keep:
            path.unlink()


if __name__ == "__main__":
    main()
