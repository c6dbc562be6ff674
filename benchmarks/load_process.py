"""One load of a model by oxillama, for load_speed.py: MODEL THREADS; one line of JSON out."""

from __future__ import annotations

import time

BEGIN = time.perf_counter()

import json  # noqa: E402
import sys  # noqa: E402
from pathlib import Path  # noqa: E402

from oxillama import Engine, Tokenizer  # noqa: E402
from oxillama.gguf import GGUFFile  # noqa: E402


def peak_bytes() -> int:
    """Most memory that this process ever had resident."""
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return 1024 * int(fields["VmHWM"].split()[0])


def main() -> None:
    model, threads = sys.argv[1], int(sys.argv[2])
    seconds = {"import": time.perf_counter() - BEGIN}
    begin, used = time.perf_counter(), time.process_time()
    with Engine(model, n_threads=threads, n_ctx=4096, kv_cache_tokens=4096, progress=False) as engine:
        seconds["load"] = time.perf_counter() - begin
        engine.generate([1, 2, 3], max_tokens=1, temperature=0)
        seconds["first token"] = time.perf_counter() - begin - seconds["load"]
        seconds["total"] = time.perf_counter() - BEGIN
        seconds["processor"] = time.process_time() - used
        peak = peak_bytes()
    # Parts of the load, done once more by themselves.
    begin = time.perf_counter()
    GGUFFile(model).close()
    seconds["header"] = time.perf_counter() - begin
    begin = time.perf_counter()
    Tokenizer.from_gguf(model)
    seconds["tokenizer"] = time.perf_counter() - begin - seconds["header"]
    print(json.dumps({**seconds, "peak bytes": peak}))


if __name__ == "__main__":
    main()
