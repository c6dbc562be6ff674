"""How fast an engine prefills and decodes, and what that is of the machine's limits. The figures of `oxillama bench`.

A limit is measured beside what it is a limit of: neighbours on a shared host change both within seconds."""

from __future__ import annotations

import os
import random
import statistics
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from typing import Literal

from oxillama._core.gguf.ggml_types import GGML_TYPES
from oxillama._core.network.machine_probe import ReadProbe, float_rate, int8_rate
from oxillama._core.network.program import reads_quants
from oxillama._core.scheduling.kv_cache import BLOCK_TOKENS
from oxillama.engine import Engine
from oxillama.errors import RequestCancelled
from oxillama.gguf import GGUFFile
from oxillama.sampling.params import Lora, SamplingParams

# Probes that differ by more than this say that the machine changed in between.
NOISE = 0.3
TYPE_IDS = {entry.name: number for number, entry in GGML_TYPES.items()}
Timed = Callable[[], AbstractContextManager[object]]


@dataclass(frozen=True, slots=True)
class Task:
    """Prefill of ``tokens`` after ``depth`` others, or decode of ``tokens`` by each of ``batch`` sequences that are
    ``depth`` tokens long."""

    kind: Literal["prefill", "decode"]
    tokens: int
    depth: int = 0
    batch: int = 1

    @property
    def label(self) -> str:
        times = f" x {self.batch}" if self.batch > 1 else ""
        return f"{self.kind} {self.tokens}{times}" + (f" at {self.depth}" if self.depth else "")


@dataclass(frozen=True, slots=True)
class Work:
    """What a model costs. A multiply-add is two operations; attention and the cache are not in here.

    weight_bytes: read per decoding step. prefill_operations: per prompt token, without the output matrix, which only
    the last one needs. decode_operations: per decoded token. is_int8: most of them are with int8 activations."""

    weight_bytes: int
    prefill_operations: int
    decode_operations: int
    is_int8: bool

    @classmethod
    def of(cls, path: str | os.PathLike[str]) -> Work:
        with GGUFFile(path) as file:
            is_tied = "output.weight" not in file.tensors
            n_bytes = prefill = decode = int8 = 0
            for name, tensor in file.tensors.items():
                if name == "token_embd.weight" and not is_tied:
                    continue  # of these only single rows are read
                n_bytes += tensor.n_bytes
                if tensor.n_dims != 2:
                    continue
                operations = 2 * tensor.n_elements
                decode += operations
                prefill += operations if name.startswith("blk.") else 0
                int8 += operations if reads_quants(TYPE_IDS[tensor.type_name]) else 0
        return cls(n_bytes, prefill, decode, 2 * int8 > decode)


def prompt_tokens(task: Task) -> int:
    """Whole blocks, which the prefix cache keeps from one round to the next, and one token to go on from."""
    return max(1, task.depth // BLOCK_TOKENS) * BLOCK_TOKENS + 1


def context_tokens(task: Task) -> int:
    """The context that the task needs. In a batch the others run ahead of the last sequence by some steps."""
    return prompt_tokens(task) + task.tokens + 1 + (BLOCK_TOKENS if task.batch > 1 else 0)


def cache_bytes_per_token(engine: Engine) -> float:
    """Bytes of K and V, of all layers, that decoding reads for each token before it."""
    stats = engine.stats()
    blocks = stats.kv_blocks_free + stats.kv_blocks_cached + stats.kv_blocks_used
    return engine.memory.kv_cache / (BLOCK_TOKENS * blocks)


class Meter:
    """Measures an engine beside the machine that it runs on, with as many threads. applied: the adapters of sequences,
    by turns."""

    def __init__(self, engine: Engine, work: Work, applied: Sequence[Lora] = ()) -> None:
        self.engine = engine
        self.work = work
        self._applied = applied or [None]
        self._probe: ReadProbe | None = None
        self._cache_bytes = cache_bytes_per_token(engine)
        self._seed = 0

    def prepare(self, task: Task) -> None:
        """Fills the cache with what the task begins after; also warms up."""
        for sequence in range(task.batch):
            self.engine.generate(
                self._beginning(task, sequence), max_tokens=1, temperature=0, lora=self._lora(sequence)
            )

    def measure(self, task: Task, timed: Timed = nullcontext) -> Measurement:
        before = self.probe()
        return Measurement(self.rate(task, timed), before, self.probe())

    def rate(self, task: Task, timed: Timed = nullcontext) -> float:
        """Tokens per second, once, without probes."""
        return (self._prefill if task.kind == "prefill" else self._decode)(task, timed)

    def probe(self) -> Limits:
        if self._probe is None:
            self._probe = ReadProbe(n_threads=self.engine.n_threads)
        return limits(self._probe, is_int8=self.work.is_int8)

    def gigabytes(self, task: Task) -> float:
        """Read per decoded token: the weights, shared by the batch, and a cache that grows by one token per step."""
        context = prompt_tokens(task) + task.tokens / 2
        return (self.work.weight_bytes / task.batch + context * self._cache_bytes) / 1e9

    def gigaoperations(self, task: Task) -> float:
        operations = self.work.prefill_operations if task.kind == "prefill" else self.work.decode_operations
        return operations / 1e9

    def _beginning(self, task: Task, sequence: int) -> list[int]:
        return random_tokens(self.engine.n_vocab, prompt_tokens(task), sequence)

    def _lora(self, sequence: int) -> Lora:
        return self._applied[sequence % len(self._applied)]

    def _prefill(self, task: Task, timed: Timed) -> float:
        self._seed += 1
        after = self._beginning(task, 0) if task.depth else []
        prompt = after + random_tokens(self.engine.n_vocab, task.tokens, f"prefill {self._seed}")
        params = SamplingParams(max_tokens=1, temperature=0, cache_prompt=task.depth > 0, lora=self._lora(0))
        with timed():
            done = self.engine.generate(prompt, params)
        return (done.usage.prompt_tokens - done.usage.cached_tokens) / done.timings.prefill

    def _decode(self, task: Task, timed: Timed) -> float:
        """The last sequence counts, by the worker's own clock; the others write as long as it does."""
        lengths = [None] * (task.batch - 1) + [task.tokens + 1]
        with timed():
            requests = [
                self.engine.submit(
                    self._beginning(task, i), max_tokens=length, temperature=0, ignore_eos=True, lora=self._lora(i)
                )
                for i, length in enumerate(lengths)
            ]
            done = requests[-1].result()
            for request in requests[:-1]:
                request.cancel()
                with suppress(RequestCancelled):
                    request.result()
        return task.batch * task.tokens / done.timings.decode


@dataclass(frozen=True, slots=True)
class Limits:
    """Sequential reads in GB/s, and multiply-adds in registers in GOP/s (0: unknown at this level), of all threads."""

    bandwidth: float
    peak: float


@dataclass(frozen=True, slots=True)
class Measurement:
    """Tokens per second of all sequences together, between two probes of the machine."""

    tokens_per_second: float
    before: Limits
    after: Limits

    @property
    def limits(self) -> Limits:
        return Limits((self.before.bandwidth + self.after.bandwidth) / 2, max(self.before.peak, self.after.peak))

    @property
    def is_quiet(self) -> bool:
        return is_quiet(self.before, self.after)


def limits(reads: ReadProbe, *, is_int8: bool) -> Limits:
    """The best of three of each: what the machine allows, even where another program takes a turn in between."""
    rate = int8_rate if is_int8 else float_rate
    bandwidth = max(reads.run() for _ in range(3))
    return Limits(bandwidth, max(rate(n_threads=reads.n_threads, repeats=1) for _ in range(3)))


def is_quiet(before: Limits, after: Limits) -> bool:
    """Did the machine stay the same, as far as its probes tell?"""
    bandwidths, peaks = (before.bandwidth, after.bandwidth), (before.peak, after.peak)
    return max(bandwidths) <= (1 + NOISE) * min(bandwidths) and max(peaks) <= (1 + NOISE) * min(peaks)


@dataclass(frozen=True, slots=True)
class Summary:
    """Medians of a task's rounds. spread: (highest - lowest) / median. Rates in GB/s and GOP/s; shares of the machine's
    own, None where the limit is unknown. A prefill has none of bandwidth: it reads the weights once for many tokens."""

    tokens_per_second: float
    spread: float
    bandwidth: float
    peak: float
    gigaoperations_per_second: float
    of_peak: float | None
    gigabytes_per_second: float | None
    of_bandwidth: float | None


def summarise(meter: Meter, task: Task, rounds: list[Measurement]) -> Summary:
    rates = [entry.tokens_per_second for entry in rounds]
    middle = statistics.median(rates)
    peak = statistics.median(entry.limits.peak for entry in rounds)
    operations = meter.gigaoperations(task)
    gigabytes = 0.0 if task.kind == "prefill" else meter.gigabytes(task)
    reads = [entry.tokens_per_second * gigabytes / entry.limits.bandwidth for entry in rounds]
    works = [entry.tokens_per_second * operations / entry.limits.peak for entry in rounds if entry.limits.peak]
    return Summary(
        tokens_per_second=middle,
        spread=(max(rates) - min(rates)) / middle,
        bandwidth=statistics.median(entry.limits.bandwidth for entry in rounds),
        peak=peak,
        gigaoperations_per_second=middle * operations,
        of_peak=statistics.median(works) if works else None,
        gigabytes_per_second=middle * gigabytes or None,
        of_bandwidth=statistics.median(reads) or None,
    )


def random_tokens(n_vocab: int, n: int, seed: int | str) -> list[int]:
    chosen = random.Random(seed)
    return [chosen.randrange(n_vocab) for _ in range(n)]
