"""One load of a model by llama-cpp-python, for load_speed.py: MODEL THREADS; one line of JSON out."""

from __future__ import annotations

import time

BEGIN = time.perf_counter()

import json  # noqa: E402
import sys  # noqa: E402
from pathlib import Path  # noqa: E402

from llama_cpp import Llama  # noqa: E402


def main() -> None:
    seconds = {"import": time.perf_counter() - BEGIN}
    begin, used = time.perf_counter(), time.process_time()
    threads = int(sys.argv[2])
    engine = Llama(sys.argv[1], n_ctx=4096, n_threads=threads, n_threads_batch=threads, verbose=False)
    seconds["load"] = time.perf_counter() - begin
    engine.eval([1, 2, 3])
    seconds["first token"] = time.perf_counter() - begin - seconds["load"]
    seconds["total"] = time.perf_counter() - BEGIN
    seconds["processor"] = time.process_time() - used
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    print(json.dumps({**seconds, "peak bytes": 1024 * int(fields["VmHWM"].split()[0])}))


if __name__ == "__main__":
    main()
