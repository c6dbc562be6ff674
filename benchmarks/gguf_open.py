"""Times opening a large vocabulary file and looking tokens up, beside the ``gguf`` package's reader.

Each measurement is a process of its own, the two readers in turn, so that imports and first page faults are included;
the interpreter's own start is not. ``python benchmarks/gguf_open.py [FILE] [--runs N] [--json FILE]``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
FIXTURES = Path(os.environ.get("OXILLAMA_FIXTURES") or REPOSITORY.parent / "shared" / "fixtures")
RESULT = REPOSITORY / "benchmarks" / "results" / "gguf_open.json"
N_LOOKUPS = 1000

# Each prints the milliseconds of its steps as JSON. `ids` are spread over the vocabulary.
PREAMBLE = f"""
import json, sys, time
path, steps, last = sys.argv[1], {{}}, time.perf_counter()
def step(name):
    global last
    now = time.perf_counter()
    steps[name], last = 1000 * (now - last), now
def spread(n):
    return [i * 7919 % n for i in range({N_LOOKUPS})]
"""
READERS = {
    "oxillama": """
from oxillama.gguf import GGUFFile
from oxillama.tokenizer import Tokenizer
step("import")
file = GGUFFile(path)
step("open")
tokens = file.metadata["tokenizer.ggml.tokens"]
ids = spread(len(tokens))
texts = [tokens[i] for i in ids]
step("text of 1000 ids")
tokenizer = Tokenizer.from_gguf(file)
step("tokenizer")
pieces = [tokenizer.token_bytes(i) for i in ids]
step("bytes of 1000 ids")
found = [tokenizer.find(piece) for piece in pieces]
step("ids of 1000 byte strings")
""",
    # No reverse look-up: the package has none, a dictionary is what its users write.
    "gguf": """
from gguf import GGUFReader
step("import")
reader = GGUFReader(path)
step("open")
field = reader.fields["tokenizer.ggml.tokens"]
ids = spread(len(field.data))
texts = [bytes(field.parts[field.data[i]]) for i in ids]
step("text of 1000 ids")
index = {bytes(field.parts[part]): i for i, part in enumerate(field.data)}
found = [index[text] for text in texts]
step("ids of 1000 byte strings")
""",
}
EPILOGUE = """
if "pieces" in globals():
    assert [tokenizer.token_bytes(i) for i in found] == pieces
print(json.dumps(steps))
"""


def measure(reader: str, path: Path) -> dict[str, float]:
    command = [sys.executable, "-c", PREAMBLE + READERS[reader] + EPILOGUE, str(path)]
    result = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, check=False)
    if result.returncode:
        raise SystemExit(f"{reader} failed:\n{result.stderr}")
    steps: dict[str, float] = json.loads(result.stdout)
    steps["open and look up"] = sum(time for name, time in steps.items() if name != "import")
    return steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", nargs="?", type=Path, default=FIXTURES / "vocab" / "ggml-vocab-llama-bpe.gguf")
    parser.add_argument("--runs", type=int, default=7, help="processes per reader (default: 7)")
    parser.add_argument("--json", type=Path, default=RESULT, help=f"where to write (default: {RESULT})")
    options = parser.parse_args()
    if not options.file.is_file():
        raise SystemExit(f"no file {options.file}; name a GGUF file with a vocabulary")

    runs: dict[str, list[dict[str, float]]] = {name: [] for name in READERS}
    for _ in range(options.runs):
        for name, results in runs.items():
            results.append(measure(name, options.file))
    medians = {
        name: {step: statistics.median(run[step] for run in results) for step in results[0]}
        for name, results in runs.items()
    }

    print(f"{options.file.name}: median of {options.runs} fresh processes, milliseconds")
    print(f"{'':26}" + "".join(f"{name:>12}" for name in READERS))
    for step in medians["oxillama"]:
        row = "".join(f"{medians[name][step]:12.2f}" if step in medians[name] else f"{'-':>12}" for name in READERS)
        print(f"{step:26}" + row)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    report = {
        "file": options.file.name,
        "bytes": options.file.stat().st_size,
        "machine": {
            "cpu": platform.processor() or platform.machine(),
            "cores": os.cpu_count(),
            "load": os.getloadavg(),
        },
        "python": platform.python_version(),
        "median_ms": medians,
        "runs_ms": runs,
    }
    options.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
