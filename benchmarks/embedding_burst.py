"""What a burst of texts to embed does to chats that are being written, by another engine of the same process.

    python -m benchmarks.embedding_burst ENCODER.gguf [--chat CHAT.gguf] [--chats 4] [--texts 500] [--threads N]
                                         [--turns] [--step-tokens N] [--rounds 5]

Gaps between tokens as the chats' owner sees them: first undisturbed, then from the moment the burst begins until its
last vector. --turns: the engines take turns, so a chat may wait for one step of the encoder, which --step-tokens
bounds. The goal: p99 rises by at most max_step_ms. Printed are medians of rounds."""

from __future__ import annotations

import argparse
import statistics
import threading
import time
from pathlib import Path

from benchmarks.embedding_speed import texts_of
from benchmarks.latency import Gaps, quantile
from oxillama import Engine, EngineOptions, Turns
from oxillama.demo import demo_path
from oxillama.limits import default_threads

UNDISTURBED_SECONDS = 1.0
MAX_STEP_MS = 100.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("encoder", type=Path)
    parser.add_argument("--chat", type=Path, help="the demo model if none is named")
    parser.add_argument("--chats", type=int, default=4)
    parser.add_argument("--texts", type=int, default=500, help="of 6 to 14 words")
    parser.add_argument("--threads", type=int, default=default_threads())
    parser.add_argument("--turns", action="store_true")
    parser.add_argument("--step-tokens", type=int, help="max_batch_tokens of the encoder")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    options: EngineOptions = {"n_threads": args.threads, "turns": Turns() if args.turns else None, "progress": False,
                              "max_step_ms": MAX_STEP_MS}  # fmt: skip
    reading: EngineOptions = {**options, "max_batch_tokens": args.step_tokens}
    texts = texts_of(args.texts, 6, 14, 1)
    rounds: list[tuple[float, float, float]] = []
    with (
        Engine(args.chat or demo_path(), **options) as chat,
        Engine(args.encoder, **reading) as encoder,
    ):
        encoder.embed(texts[:8])
        for _ in range(args.rounds):
            rounds.append(one_round(chat, encoder, texts, args.chats))
    before, during, seconds = (statistics.median(column) for column in zip(*rounds, strict=True))
    rises = [1000 * (p99 - undisturbed) for undisturbed, p99, _ in rounds]
    print(f"p99 between tokens of {args.chats} chats: {1000 * before:.1f} ms, {1000 * during:.1f} ms in a burst of "
          f"{args.texts} texts, which took {seconds:.2f} s")  # fmt: skip
    print(f"   it rises by {statistics.median(rises):.1f} ms ({min(rises):.1f} to {max(rises):.1f}), "
          f"of {MAX_STEP_MS:g} ms that are allowed")  # fmt: skip


def one_round(chat: Engine, encoder: Engine, texts: list[str], n_chats: int) -> tuple[float, float, float]:
    """p99 of the gaps before and during the burst, and how long that took; seconds."""
    room = chat.n_ctx - 64
    handles = [chat.submit("Once upon a time", max_tokens=room, ignore_eos=True, seed=seed) for seed in range(n_chats)]
    while not all(handle.usage.completion_tokens for handle in handles):
        time.sleep(0.001)
    gaps = Gaps(handles)
    end = time.monotonic() + UNDISTURBED_SECONDS
    before = gaps.until(lambda: time.monotonic() >= end)
    began = time.perf_counter()
    burst = threading.Thread(target=encoder.embed, args=(texts,))
    burst.start()
    during = gaps.until(lambda: not burst.is_alive())
    seconds = time.perf_counter() - began
    if any(handle.done for handle in handles):
        raise SystemExit("a chat ended before the burst did: choose a model with a longer context, or fewer texts")
    for handle in handles:
        handle.cancel()
    return quantile(before, 0.99), quantile(during, 0.99), seconds


if __name__ == "__main__":
    main()
