"""`oxillama bench`: how fast a model prefills and decodes here, beside what this machine could do at most."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click

from oxillama.cli.bench_plot import check_plot, plot
from oxillama.cli.bench_speculation import main as compare_speculation
from oxillama.cli.lora_options import load_adapters, lora_option, named_adapters
from oxillama.cli.mistakes import wrong_use
from oxillama.cli.options import INTEGER, Number, Option, model_options, model_path, numbers, storage_options
from oxillama.cpu import cpu_info
from oxillama.demo import demo_path
from oxillama.engine import Engine
from oxillama.limits import default_threads
from oxillama.profiling import StepProfile, profiling
from oxillama.sampling.params import Lora
from oxillama.speed import Measurement, Meter, Summary, Task, Work, context_tokens, summarise


@dataclass
class Row:
    """One task with one number of threads."""

    threads: int
    task: Task
    rounds: list[Measurement] = field(default_factory=list)
    summary: Summary | None = None
    profile: StepProfile | None = None

    def to_dict(self) -> dict[str, Any]:
        found: dict[str, Any] = {"threads": self.threads, **asdict(self.task)}
        if self.summary is not None:
            found |= asdict(self.summary)
        found["rounds"] = [asdict(entry) for entry in self.rounds]
        if self.profile is not None:
            found["profile"] = self.profile.to_dict()
        return found


def options() -> list[click.Parameter]:
    several, kind = "several by commas", Number(numbers)
    return [
        *model_options(),
        *storage_options(),
        Option("-t", "--threads", kind=kind, metavar="N", field="n_threads",
               help=f"{several} (default: what is allowed here)"),
        Option("--prefill", kind=kind, default=[512], metavar="N",
               help=f"prompt tokens, {several}; 0: none (default: 512)"),
        Option("--decode", kind=kind, default=[128], metavar="N",
               help=f"tokens written, {several}; 0: none (default: 128)"),
        Option("--depth", kind=kind, default=[0], metavar="N",
               help=f"tokens already in the cache, {several} (default: 0)"),
        Option("--batch", kind=kind, default=[1], metavar="N",
               help=f"sequences decoded together, {several} (default: 1)"),
        lora_option("an adapter that is applied to sequences, by turns"),
        Option("--rounds", kind=INTEGER, default=5, metavar="N", help="measurements of each (default: 5)"),
        Option("--speculation", is_flag=True,
               help="compare texts of several kinds, written with speculation and without"),
        Option("--draft", metavar="FILE", help="with --speculation: a small model that guesses, too"),
        Option("--json", is_flag=True, help="everything as JSON, each round too"),
        Option("--profile", is_flag=True, help="one more round, timed by operation"),
        Option("--plot", metavar="PATH", field="plot",
               help="draw roofline and bars; .svg, .png or .pdf (needs matplotlib)"),
    ]  # fmt: skip


def _check(args: SimpleNamespace) -> str | None:
    path = model_path(args)
    if args.rounds < 1:
        raise wrong_use(f"--rounds must be at least 1, found {args.rounds}")
    for name in ("threads", "batch"):
        if 0 in (getattr(args, name) or ()):
            raise wrong_use(f"--{name} must be at least 1, found 0")
    if not list(_tasks(args)):
        raise wrong_use("nothing to measure: --prefill and --decode are both 0")
    if args.plot:
        check_plot(args.plot)
    if args.draft and not args.speculation:
        raise wrong_use("--draft is compared with --speculation")
    if args.speculation and not max(args.decode):
        raise wrong_use("nothing to compare: --decode is 0")
    return path


def _tasks(args: SimpleNamespace) -> Iterator[Task]:
    for depth, tokens in product(args.depth, args.prefill):
        if tokens:
            yield Task("prefill", tokens, depth)
    for depth, batch, tokens in product(args.depth, args.batch, args.decode):
        if tokens:
            yield Task("decode", tokens, depth, batch)


def main(args: SimpleNamespace) -> int:
    chosen = _check(args)
    path = str(demo_path() if chosen is None else chosen)
    if args.speculation:
        return compare_speculation(args, path)
    tasks, adapters = list(_tasks(args)), named_adapters(args)
    work = Work.of(path)
    report: dict[str, Any] = {
        "model": Path(path).name,
        "cpu": cpu_info().to_dict(),
        "kv_dtype": args.kv_dtype,
        "f16": args.f16,
        "adapters": [adapter.name for adapter in adapters],
        "work": asdict(work),
        "results": [],
    }
    if not args.json:
        _print_head(report)
    for threads in args.threads or [default_threads()]:
        with _engine(path, tasks, threads, args) as engine:
            applied = [[each] for each in load_adapters(engine, adapters)]
            for row in _measure(engine, work, tasks, args, applied):
                report["results"].append(row.to_dict())
                if not args.json:
                    _print_row(row)
    if args.json:
        print(json.dumps(report, indent=1))
    if args.plot:
        plot(report, Path(args.plot))
    return 0


def _engine(path: str, tasks: list[Task], threads: int, args: SimpleNamespace) -> Engine:
    """With room for the longest task, and for what all sequences of the largest one have cached."""
    n_ctx, n_sequences = max(context_tokens(task) for task in tasks), max(task.batch for task in tasks)
    return Engine(
        path,
        n_ctx=n_ctx,
        n_threads=threads,
        max_batch_size=n_sequences,
        kv_cache_tokens=n_ctx * n_sequences,
        prefix_cache_tokens=n_ctx * n_sequences,
        kv_dtype=args.kv_dtype,
        f16=args.f16,
        speculation="off",  # what a token costs, not how often it can be guessed
        mmap=not args.no_mmap,
    )


def _measure(
    engine: Engine, work: Work, tasks: list[Task], args: SimpleNamespace, applied: Sequence[Lora]
) -> Iterator[Row]:
    meter = Meter(engine, work, applied)
    for task in tasks:
        row = Row(engine.n_threads, task)
        meter.prepare(task)
        row.rounds = [meter.measure(task) for _ in range(args.rounds)]
        row.summary = summarise(meter, task, row.rounds)
        if args.profile:
            found: list[StepProfile] = []
            meter.measure(task, partial(profiling, engine, found.append))
            row.profile = found[0]
        yield row


def _print_head(report: dict[str, Any]) -> None:
    cpu, work = report["cpu"], report["work"]
    print(f"{report['model']}: {work['weight_bytes'] / 1e9:.3g} GB of weights, cache {report['kv_dtype']}")
    print(f"{cpu['model_name'] or 'unknown processor'}, kernels {cpu['isa']}\n")
    print(
        f"{'threads':>7}  {'task':<26} {'tokens/s':>9} {'spread':>6} {'GB/s':>6} {'of read':>7} "
        f"{'GOP/s':>6} {'of peak':>7}  quiet rounds",
        flush=True,
    )


def _print_row(row: Row) -> None:
    found = row.summary
    assert found is not None
    gigabytes = "-" if found.gigabytes_per_second is None else f"{found.gigabytes_per_second:.1f}"
    quiet = sum(entry.is_quiet for entry in row.rounds)
    print(
        f"{row.threads:>7}  {row.task.label:<26} {found.tokens_per_second:>9.1f} {found.spread:>6.0%} {gigabytes:>6} "
        f"{_percent(found.of_bandwidth):>7} {found.gigaoperations_per_second:>6.0f} {_percent(found.of_peak):>7}  "
        f"{quiet} of {len(row.rounds)}",
        flush=True,
    )
    if row.profile is not None and row.profile.steps:
        _print_profile(row.profile)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.0%}"


def _print_profile(profile: StepProfile) -> None:
    def line(name: str, seconds: float) -> None:
        print(f"{'':9}{name:<58} {seconds * 1e6:>10.1f} us {seconds / profile.step:>7.2%}")

    line(f"a step, mean of {profile.steps}", profile.step)
    for entry in profile.operations:
        line(f"  {entry.calls:>3} {entry.name} {entry.matrices}".rstrip(), entry.seconds)
    line("      waiting for other threads", profile.waiting)
    line("      assembling the team", profile.team)
    line("      sampling", profile.sampling)
    line("      the rest", profile.rest)
    line("  all but products, attention and waiting", profile.other)
    sys.stdout.flush()
