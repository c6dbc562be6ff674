"""What huge pages cost and what they are worth on this machine.

    python benchmarks/page_speed.py [--megabytes 800] [--threads 2] [--rounds 3]

Touches fresh memory in huge and in small pages, after a rest in which a host may take free memory back; makes the small
pages huge; and reads both with all threads. The kinds take turns; figures are medians over rounds."""

from __future__ import annotations

import argparse
import statistics
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from oxillama import cpu_info
from oxillama._core.memory import Pages

REST_SECONDS = 4.0  # Linux reports free pages to a host every two seconds


def read_speed(pages: Pages, pool: ThreadPoolExecutor, threads: int) -> float:
    """Bytes per second, the best of five passes."""
    parts = np.array_split(np.frombuffer(memoryview(pages), np.uint8)[: pages.size // 64 * 64].view(np.uint64), threads)
    times = []
    for _ in range(5):
        begin = time.perf_counter()
        list(pool.map(np.max, parts))
        times.append(time.perf_counter() - begin)
    return pages.size / min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--megabytes", type=int, default=800)
    parser.add_argument("--threads", type=int, default=cpu_info().threads)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    found: dict[str, list[float]] = defaultdict(list)
    with ThreadPoolExecutor(args.threads) as pool:
        for number in range(args.rounds):
            for kind in ("huge", "small")[:: 1 if number % 2 else -1]:
                time.sleep(REST_SECONDS)
                pages = Pages(args.megabytes << 20)
                begin = time.process_time()
                if kind == "huge":
                    np.frombuffer(memoryview(pages), np.uint8)[::4096] = 1
                else:
                    pages.touch(small=True)
                found[f"{kind} touch"].append(time.process_time() - begin)
                found[f"{kind} read"].append(read_speed(pages, pool, args.threads))
                if kind == "small":
                    begin = time.process_time()
                    while pages.enlarge():
                        pass
                    found["enlarge"].append(time.process_time() - begin)
                    found["enlarged read"].append(read_speed(pages, pool, args.threads))
                del pages
    n_huge = args.megabytes / 2
    for name in ("huge touch", "small touch", "enlarge"):
        seconds = statistics.median(found[name])
        print(f"{name:14s} {seconds:6.3f} s of processor time, {1e3 * seconds / n_huge:5.2f} ms for 2 MiB")
    for name in ("huge read", "small read", "enlarged read"):
        print(f"{name:14s} {statistics.median(found[name]) / 1e9:6.1f} GB/s")


if __name__ == "__main__":
    main()
