"""Embeddings beside onnxruntime and llama.cpp, interleaved: texts per second, tokenisation included.

    python -m benchmarks.embedding_speed FOLDER TOKENIZER.json --onnx PYTHON --llama PYTHON

FOLDER: what embedding_models.py has written. Each program runs in a process of its own that keeps its model; in each
round all of them embed the same texts, one program after the other, so that a busy machine is busy for each. Printed is
the median of the ratios of a round, oxillama's time being 1. --threads, --rounds, --short, --long: see below."""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

VOCABULARY = (
    "the a cat dog reset password how do I install network learn deep house blue sky run quick brown fox "
    "jumps over lazy moon river paper water city road answer question model number small large open close read write"
)
WORDS = VOCABULARY.split()

OXILLAMA = """
from oxillama import Engine
engine = Engine(sys.argv[1], n_threads=int(sys.argv[2]), progress=False)
embed = engine.embed
"""
ONNX = """
import numpy as np, onnxruntime as ort
from tokenizers import Tokenizer
options = ort.SessionOptions()
options.intra_op_num_threads = int(sys.argv[2])
session = ort.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
tokenizer = Tokenizer.from_file(sys.argv[3])
tokenizer.enable_truncation(512)
tokenizer.enable_padding()
def embed(texts):
    rows = []
    # Batches as fastembed's, of texts of like length, which spares it padding.
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    for first in range(0, len(order), 64):
        found = tokenizer.encode_batch([texts[i] for i in order[first : first + 64]])
        ids = np.array([each.ids for each in found], np.int64)
        mask = np.array([each.attention_mask for each in found], np.int64)
        rows.append(session.run(None, {"input_ids": ids, "attention_mask": mask})[0])
    return np.concatenate(rows)[np.argsort(order)]
"""
LLAMA = """
import llama_cpp
n = int(sys.argv[2])
model = llama_cpp.Llama(sys.argv[1], embedding=True, n_ctx=2048, n_batch=2048, n_ubatch=2048, n_threads=n,
                        n_threads_batch=n, verbose=False)
embed = model.embed
"""
LOOP = """
for line in sys.stdin:
    texts = json.loads(line)
    began, spent = time.perf_counter(), time.process_time()
    embed(texts)
    peak = int(next(l for l in open("/proc/self/status") if l.startswith("VmHWM")).split()[1]) // 1024
    print(json.dumps([time.perf_counter() - began, time.process_time() - spent, peak]), flush=True)
"""


class Peer:
    def __init__(self, python: str, code: str, *args: str) -> None:
        command = [python, "-c", "import json, sys, time\n" + code + LOOP, *args]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def embed(self, texts: list[str]) -> list[float]:
        """Seconds, seconds of processor time, and the greatest memory so far in MiB."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(json.dumps(texts), file=self.process.stdin, flush=True)
        answer: list[float] = json.loads(self.process.stdout.readline())
        return answer


def texts_of(n: int, least: int, most: int, seed: int) -> list[str]:
    rng = random.Random(seed)
    return [" ".join(rng.choices(WORDS, k=rng.randint(least, most))) for _ in range(n)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("tokenizer")
    parser.add_argument("--onnx", required=True, metavar="PYTHON", help="has onnxruntime and tokenizers")
    parser.add_argument("--llama", metavar="PYTHON", help="has llama-cpp-python")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--short", type=int, default=1000, help="so many texts of 6 to 14 words")
    parser.add_argument("--long", type=int, default=200, help="so many of 390 words")
    args = parser.parse_args()
    threads = str(args.threads)
    ours = {kind: Peer(sys.executable, OXILLAMA, str(args.folder / f"model-{kind}.gguf"), threads)
            for kind in ("Q8_0", "F16")}  # fmt: skip
    theirs: dict[str, Peer] = {
        name: Peer(args.onnx, ONNX, str(args.folder / file), threads, args.tokenizer)
        for name, file in (("onnx int8", "model-int8.onnx"), ("onnx float", "model.onnx"))
    }
    if args.llama:
        for kind in ("Q8_0", "F16"):
            theirs[f"llama.cpp {kind}"] = Peer(args.llama, LLAMA, str(args.folder / f"model-{kind}.gguf"), threads)
    sets: dict[str, list[str]] = {
        "short": texts_of(args.short, 6, 14, 1) if args.short else [],
        "long": texts_of(args.long, 390, 390, 2) if args.long else [],
    }
    for name, texts in sets.items():
        if not texts:
            continue
        seconds: dict[str, list[list[float]]] = {}
        peers: dict[str, Peer] = {**ours, **theirs}
        for each in peers.values():
            each.embed(texts[:16])
        for _ in range(args.rounds):
            for peer, each in peers.items():
                seconds.setdefault(peer, []).append(each.embed(texts))
                time.sleep(0.05)
        for kind in ours:
            mine = [spent for _, spent, _ in seconds[kind]]
            print(
                f"{name} {kind}: {len(texts) / statistics.median(mine):.0f} texts/s of processor time, "
                f"{seconds[kind][-1][2]:.0f} MiB"
            )
            for peer in theirs:
                rows = list(zip(seconds[peer], seconds[kind], strict=True))
                ratios: list[Any] = sorted(row[1] / own[1] for row, own in rows)
                walls = statistics.median(row[0] / own[0] for row, own in rows)
                print(
                    f"   {peer:16} {statistics.median(ratios):5.2f} of our processor time "
                    f"({ratios[0]:.2f} to {ratios[-1]:.2f}), {walls:.2f} of our time, {seconds[peer][-1][2]:.0f} MiB"
                )


if __name__ == "__main__":
    main()
