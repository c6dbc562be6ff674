"""What grammars cost: tokens per second with and without, the first token, the trie, and a busy interpreter.

    python benchmarks/grammar_speed.py --vocab VOCAB.gguf [--rounds 8] [--threads 2] [--json FILE] [--plot FILE.svg]

The model is one of a real shape with random weights (tools/random_model.py) and the vocabulary of the file given, 128k
tokens at best. Cases are interleaved, so that a disturbance of the machine hits all of them, and each ratio is the
median over rounds of two runs side by side. A random model follows no schema, so nearly every token that it would draw
is refused: the worst case. "strings" forces hardly any text; "objects" forces keys, which are computed ahead.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from machine_state import busy_seconds, process_seconds

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from oxillama import Engine, Grammar
from oxillama.cli.bench_plot import load_matplotlib
from oxillama.structured.compiler import GrammarCompiler
from tools.random_model import write_model

# Shares of the tokens per second without a grammar, and milliseconds.
TARGETS = {1: 0.97, 16: 0.95, "gil": 0.95, "first token": 2.0, "trie": 400.0}
PROPERTIES = {"name": {"type": "string"}, "count": {"type": "integer"}, "tag": {"enum": ["red", "green", "blue"]}}
OBJECT = {"type": "object", "properties": PROPERTIES, "required": list(PROPERTIES), "additionalProperties": False}
# Long enough that no reply ends.
ITEMS = {"strings": {"type": "string", "minLength": 30}, "objects": OBJECT}
PROMPT = "A list of what there is, in JSON:"


def grammar(kind: str) -> Grammar:
    schema = {"type": "array", "items": ITEMS[kind], "minItems": 10_000, "x-guidance": {"whitespace_flexible": False}}
    return Grammar("json_schema", json.dumps(schema))


class Meter:
    def __init__(self, engine: Engine, n_tokens: int) -> None:
        self.engine = engine
        self.n_tokens = n_tokens
        self.n_runs = 0

    def rate(self, n_sequences: int, held_to: Grammar | None) -> float:
        """Tokens per second of so many sequences, from the first token of the last of them on."""
        return self.rates(n_sequences, held_to)[0]

    def rates(self, n_sequences: int, held_to: Grammar | None) -> tuple[float, float]:
        """The same, and tokens per second of this process's processor time, which others do not take away."""
        self.n_runs += 1
        used = time.process_time()
        handles = [
            self.engine.submit(
                PROMPT, max_tokens=self.n_tokens, ignore_eos=True, seed=1000 * self.n_runs + i, grammar=held_to
            )
            for i in range(n_sequences)
        ]
        for handle in handles:
            assert handle.result().finish_reason == "length"
        times = [core.times for handle in handles for core in handle.handles]
        begin, end = max(time[3] for time in times), max(time[4] for time in times)
        # The tokens before that moment are some steps' worth, the same in each case.
        n_tokens = n_sequences * (self.n_tokens - 1)
        return n_tokens / (end - begin), n_tokens / (time.process_time() - used)

    def first_token(self, held_to: Grammar | None) -> float:
        """Milliseconds from the call to the first token."""
        self.n_runs += 1
        begin = time.monotonic()
        handle = self.engine.submit(PROMPT, max_tokens=1, seed=self.n_runs, grammar=held_to)
        handle.result()
        return 1e3 * (handle.handles[0].times[3] - begin)


@contextmanager
def busy_interpreter() -> Iterator[None]:
    """A Python thread that gives the GIL away only when it is asked to, each switch interval."""
    stop = False

    def spin() -> None:
        n = 0
        while not stop:
            n += 1

    thread = threading.Thread(target=spin)
    thread.start()
    try:
        yield
    finally:
        stop = True
        thread.join()


def trie_ms(engine: Engine) -> float:
    assert engine.tokenizer is not None
    compiler = GrammarCompiler(engine.tokenizer, engine.n_vocab)
    begin = time.monotonic()
    compiler.vocabulary()
    return 1e3 * (time.monotonic() - begin)


def spread(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    n = len(ordered)
    return {"median": statistics.median(ordered), "low": ordered[n // 4], "high": ordered[(3 * n) // 4]}


def measure(meter: Meter, options: argparse.Namespace) -> dict[str, Any]:
    sizes = [1, 16]
    kinds = list(ITEMS)
    rates: dict[str, list[float]] = {}
    processor: dict[str, list[float]] = {}
    first: list[float] = []
    tries: list[float] = []
    for kind in kinds:
        meter.rate(1, grammar(kind))  # compiles
    for _ in range(options.rounds):
        for size in sizes:
            plain = meter.rates(size, None)
            for kind in kinds:
                found = meter.rates(size, grammar(kind))
                rates.setdefault(f"{kind} {size}", []).append(found[0] / plain[0])
                processor.setdefault(f"{kind} {size}", []).append(found[1] / plain[1])
        first += [meter.first_token(grammar("objects")) - meter.first_token(None) for _ in range(5)]
        tries.append(trie_ms(meter.engine))
    return {
        "ratios": {name: spread(values) for name, values in rates.items()},
        "processor_ratios": {name: spread(values) for name, values in processor.items()},
        "first_token_ms": spread(first),
        "trie_ms": spread(tries),
    }


def measure_gil(meter: Meter, options: argparse.Namespace) -> dict[str, Any]:
    """One thread computes, so that the busy one has a processor of its own."""
    kept: dict[str, list[float]] = {"strings": [], "no grammar": []}
    for _ in range(options.rounds):
        for name, held_to in (("strings", grammar("strings")), ("no grammar", None)):
            alone = meter.rate(16, held_to)
            with busy_interpreter():
                kept[name].append(meter.rate(16, held_to) / alone)
    return {name: spread(values) for name, values in kept.items()}


def draw(report: dict[str, Any], path: Path) -> None:
    pyplot = load_matplotlib()
    figure, axis = pyplot.subplots(figsize=(8, 4), layout="constrained")
    rows = dict(report["ratios"])
    rows |= {f"busy interpreter, {name} 16": row for name, row in report["busy_interpreter"].items()}
    names = list(rows)
    medians = [rows[name]["median"] for name in names]
    errors = [
        [row["median"] - row["low"] for row in rows.values()],
        [row["high"] - row["median"] for row in rows.values()],
    ]
    axis.barh(names, medians, xerr=errors, color="tab:blue")
    axis.axvline(1, color="black", linewidth=0.8)
    axis.set_xlabel("tokens per second, as a share of those without a grammar (or without a busy interpreter)")
    axis.set_title(f"{report['model']}, {report['n_vocab']} tokens, {report['threads']} threads")
    figure.savefig(path, dpi=150, metadata={"Date": None} if path.suffix == ".svg" else None)
    pyplot.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vocab", type=Path, help="GGUF file whose vocabulary the model gets; None: a made-up one")
    parser.add_argument("--shape", default="llama-1b")
    parser.add_argument("--type", default="Q4_0")
    parser.add_argument("--model", type=Path, help="a model that is there already, instead of a random one")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=48)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = options.model
        if path is None:
            path = Path(folder) / "random.gguf"
            write_model(path, options.shape, options.type, vocab=options.vocab)
        report: dict[str, Any] = {
            "model": f"{options.shape} {options.type}" if options.model is None else path.name,
            "threads": options.threads,
            "machine": platform.processor() or platform.machine(),
            "processors": os.cpu_count(),
            "targets": {str(name): value for name, value in TARGETS.items()},
        }
        busy, own, begin = busy_seconds(), process_seconds([]), time.monotonic()
        with Engine(path, n_threads=options.threads, n_ctx=1024, progress=False, speculation="off") as engine:
            report["n_vocab"] = engine.n_vocab
            report |= measure(Meter(engine, options.tokens), options)
            report["grammar_engine"] = engine.stats().grammar_engine
        with Engine(path, n_threads=1, n_ctx=1024, progress=False, speculation="off") as engine:
            report["busy_interpreter"] = measure_gil(Meter(engine, options.tokens // 2), options)
        seconds = time.monotonic() - begin
        report["others_busy"] = (busy_seconds() - busy - (process_seconds([]) - own)) / seconds
    text = json.dumps(report, indent=1)
    print(text)
    if options.json is not None:
        options.json.write_text(text + "\n")
    if options.plot is not None:
        draw(report, options.plot)


if __name__ == "__main__":
    main()
