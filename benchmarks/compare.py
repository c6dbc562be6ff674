"""oxillama beside llama.cpp and ik_llama.cpp: the same file, the same threads, in turn within each round.

    python benchmarks/compare.py model.gguf [more.gguf ...] --peer-python /path/to/python
    python benchmarks/compare.py model.gguf --llama-bench PATH [--llama-batched-bench PATH]
    python benchmarks/compare.py model.gguf --ik FOLDER --tasks "prefill 512 at 4096, decode 32 x 2 at 128"

Each engine has a process of its own. A round asks one after the other for the same thing, between two probes of the
machine. Figures are medians over rounds, ratios medians of the rounds' ratios. A round is believed if the probes agree
and other programs took little of the processors' time; with fewer than three such rounds no ratio is printed.
Under contention other processes keep every processor busy while an engine works. Writes JSON."""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import engines
import machine_state

from oxillama import cpu_info
from oxillama._core.network.machine_probe import ReadProbe
from oxillama.speed import Limits, Task, Work, context_tokens, is_quiet, limits

TASKS = "prefill 512, decode 128, decode 128 at 4096, " + ", ".join(f"decode 128 x {n} at 128" for n in (2, 4, 8, 16))
TASK = re.compile(r"(?P<kind>prefill|decode) (?P<tokens>\d+)(?: x (?P<batch>\d+))?(?: at (?P<depth>\d+))?")
CONTENTION = Task("decode", 32)
BELIEVABLE_ROUNDS = 3
# The threads of an engine may spin for a while when they are done, which would count against whoever is next.
SETTLE_SECONDS = 0.3


@dataclass
class Round:
    rates: dict[str, float]
    before: Limits
    after: Limits
    foreign: float  # share of all processors' time that neither engine nor probe took

    def is_believable(self, most_foreign: float) -> bool:
        return self.foreign <= most_foreign and is_quiet(self.before, self.after)


@dataclass
class Comparison:
    model: str
    threads: int
    task: str
    rounds: list[Round] = field(default_factory=list)

    def median(self, name: str) -> float:
        return statistics.median(entry.rates[name] for entry in self.rounds)

    def spread(self, name: str) -> float:
        rates = [entry.rates[name] for entry in self.rounds]
        return (max(rates) - min(rates)) / statistics.median(rates)

    def ratio(self, peer: str, most_foreign: float) -> float | None:
        """Median of ours / theirs over the believable rounds; None if there are too few."""
        ratios = [e.rates["oxillama"] / e.rates[peer] for e in self.rounds if e.is_believable(most_foreign)]
        return statistics.median(ratios) if len(ratios) >= BELIEVABLE_ROUNDS else None


def tasks_of(text: str) -> list[Task]:
    found = []
    for part in text.split(","):
        match = TASK.fullmatch(part.strip())
        if match is None:
            raise ValueError(part)
        numbers = {name: int(match[name]) for name in ("tokens", "batch", "depth") if match[name]}
        found.append(Task("prefill" if match["kind"] == "prefill" else "decode", **numbers))
    return found


class Machine:
    """Probes with as many threads as the engines have."""

    def __init__(self, threads: int, *, is_int8: bool) -> None:
        self._reads = ReadProbe(n_threads=threads)
        self._is_int8 = is_int8

    def limits(self) -> Limits:
        return limits(self._reads, is_int8=self._is_int8)


@contextmanager
def contestants(model: str, args: argparse.Namespace, tasks: list[Task]) -> Iterator[list[engines.Contestant]]:
    batch = max((task.batch for task in tasks), default=1)
    context = max(context_tokens(task) for task in [*tasks, CONTENTION])
    with ExitStack() as stack:
        found: list[engines.Contestant] = [engines.oxillama(model, args.threads, batch, context)]
        stack.callback(found[0].close)
        if args.llama_bench:
            found.append(engines.LlamaBench(model, args.threads, args.llama_bench, args.llama_batched_bench))
        elif args.peer_python:
            for repack in [True, False] if args.unpacked else [True]:
                found.append(engines.llama_cpp(args.peer_python, model, args.threads, repack=repack))
                stack.callback(found[-1].close)
        if args.ik:
            for repack in [True, False] if args.unpacked else [True]:
                found.append(engines.IkLlamaCpp(model, args.threads, args.ik, repack=repack))
        yield found


def one_round(found: list[engines.Contestant], task: Task, machine: Machine, busy_pids: list[int]) -> Round:
    pids = [entry.pid for entry in found if entry.pid is not None] + busy_pids
    before = machine.limits()
    busy, own = machine_state.busy_seconds(), machine_state.process_seconds(pids)
    begin = os.times().elapsed
    rates = {}
    for entry in found:
        rates[entry.name] = entry.rate(task)
        time.sleep(SETTLE_SECONDS)
    own = machine_state.process_seconds(pids) - own
    busy = machine_state.busy_seconds() - busy
    seconds = (os.times().elapsed - begin) * (os.cpu_count() or 1)
    return Round(rates, before, machine.limits(), max(0.0, busy - own) / seconds)


def compare(found: list[engines.Contestant], task: Task, machine: Machine, args: argparse.Namespace) -> list[Round]:
    """Rounds until enough of them can be believed, at most twice as many as asked for."""
    for entry in found:
        entry.prepare(task)
    rounds: list[Round] = []
    while len(rounds) < 2 * args.rounds:
        order = found if len(rounds) % 2 else found[::-1]
        rounds.append(one_round(order, task, machine, []))
        if sum(entry.is_believable(args.foreign) for entry in rounds) == args.rounds:
            break
    believed = [entry for entry in rounds if entry.is_believable(args.foreign)]
    return believed if len(believed) >= BELIEVABLE_ROUNDS else rounds


def contend(found: list[engines.Contestant], machine: Machine, args: argparse.Namespace) -> list[Round]:
    """The same with every processor busy. The probes are taken before and after the load, not under it."""
    for entry in found:
        entry.prepare(CONTENTION)
    rounds = []
    for _ in range(args.rounds):
        before = machine.limits()
        with machine_state.busy_processors(os.cpu_count() or 1) as pids:
            one = one_round(found, CONTENTION, machine, pids)
        rounds.append(Round(one.rates, before, machine.limits(), one.foreign))
    return rounds


def print_comparison(entry: Comparison, most_foreign: float) -> None:
    believed = sum(one.is_believable(most_foreign) for one in entry.rounds)
    bandwidth = statistics.median(one.before.bandwidth for one in entry.rounds)
    parts = [f"{entry.median('oxillama'):8.1f} tokens/s ±{entry.spread('oxillama') / 2:.0%}"]
    for peer in entry.rounds[0].rates:
        if peer != "oxillama":
            ratio = entry.ratio(peer, most_foreign)
            said = "too noisy for a ratio" if ratio is None else f"ratio {ratio:.2f}"
            parts.append(f"{peer} {entry.median(peer):.1f} ±{entry.spread(peer) / 2:.0%}, {said}")
    print(
        f"  {entry.task:<24} {'; '.join(parts)}  [{believed} of {len(entry.rounds)} rounds believed, "
        f"reads {bandwidth:.0f} GB/s]",
        flush=True,
    )


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", metavar="MODEL")
    parser.add_argument("--threads", type=int, default=cpu_info().threads)
    parser.add_argument("--tasks", type=tasks_of, default=tasks_of(TASKS), help=f"by commas (default: {TASKS})")
    parser.add_argument("--no-contention", action="store_true", help="leave out the run beside busy processes")
    parser.add_argument("--rounds", type=int, default=5, help="believable rounds of each (default: 5)")
    parser.add_argument("--foreign", type=float, default=0.06, help="most share of others in a round (default: 0.06)")
    parser.add_argument("--peer-python", default=sys.executable, help="the Python with llama_cpp (default: this one)")
    parser.add_argument("--unpacked", action="store_true", help="the others also without their repacking of weights")
    parser.add_argument("--llama-bench", metavar="PATH", help="llama.cpp's program instead of llama_cpp")
    parser.add_argument("--llama-batched-bench", metavar="PATH", help="and the one for batches")
    parser.add_argument("--ik", metavar="FOLDER", help="of ik_llama.cpp's programs: that beside it too")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "compare.json")
    args = parser.parse_args()
    if args.rounds < BELIEVABLE_ROUNDS:
        parser.error(f"--rounds must be at least {BELIEVABLE_ROUNDS}, found {args.rounds}")
    if not args.llama_bench and not engines.can_import_llama_cpp(args.peer_python):
        print("llama_cpp cannot be imported: oxillama alone", file=sys.stderr)
        args.peer_python = None
    return args


def main() -> None:
    args = parse()
    report: dict[str, Any] = {"cpu": cpu_info().to_dict(), "foreign": args.foreign, "builds": {}, "comparisons": []}
    args.output.parent.mkdir(parents=True, exist_ok=True)
    for model in args.models:
        work = Work.of(model)
        machine = Machine(args.threads, is_int8=work.is_int8)
        print(f"{Path(model).name}, {args.threads} threads", flush=True)
        with contestants(model, args, args.tasks) as found:
            for contestant in found:
                report["builds"][contestant.name] = contestant.build
                print(f"  {contestant.name}: {contestant.build}", flush=True)
            for task in args.tasks:
                entry = Comparison(Path(model).name, args.threads, task.label, compare(found, task, machine, args))
                report["comparisons"].append(asdict(entry))
                print_comparison(entry, args.foreign)
            if not args.no_contention:
                entry = Comparison(Path(model).name, args.threads, "all processors busy", contend(found, machine, args))
                report["comparisons"].append(asdict(entry))
                print_comparison(entry, args.foreign)
        args.output.write_text(json.dumps(report, indent=1))
    print(f"wrote {args.output}")


if __name__ == "__main__":
    main()
