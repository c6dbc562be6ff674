"""`oxillama bench --speculation`: the same texts written with speculation and without, in turn."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from oxillama.engine import Engine
from oxillama.results.completion import Completion

PROMPT_TOKENS = 1000  # of the longest, in small vocabularies
RECORDS = json.dumps(
    [{"id": i, "name": f"item {i}", "price": 10 * i + 5, "in stock": i % 3 > 0, "tags": ["a", "b"]} for i in range(12)],
    indent=1,
)
SOURCE = '''\
class Account:
    """Money of one owner."""

    def __init__(self, owner, balance=0):
        self.owner = owner
        self.balance = balance

    def deposit(self, amount):
        if amount <= 0:
            raise ValueError("amount must be positive")
        self.balance = self.balance + amount
        return self.balance

    def withdraw(self, amount):
        if amount <= 0:
            raise ValueError("amount must be positive")
        if amount > self.balance:
            raise ValueError("not enough money")
        self.balance = self.balance - amount
        return self.balance
'''
# What each kind of text begins with, and what is predicted of it.
TEXTS: dict[str, tuple[str, str | None]] = {
    "prose": (
        "The history of the lighthouse on the northern cape begins with a storm. In the winter of that year",
        None,
    ),
    "records": (f"All items as JSON:\n{RECORDS[: len(RECORDS) // 2]}", None),
    "copy": (f"{SOURCE}\n# The same class, with the name Purse:\n\nclass Purse:", None),
    "predicted": ("# A class for an account at a bank.\n\n", SOURCE),
}


@dataclass
class Compared:
    """One kind of text: tokens per second with and without, round by round."""

    text: str
    without: list[float] = field(default_factory=list)
    speculating: list[float] = field(default_factory=list)
    accepted: int = 0
    rejected: int = 0
    tokens: int = 0
    is_equal: bool = True

    @property
    def ratio(self) -> float:
        return statistics.median(b / a for a, b in zip(self.without, self.speculating, strict=True))

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"ratio": self.ratio, "tokens_per_pass": self.tokens_per_pass}

    @property
    def tokens_per_pass(self) -> float:
        return self.tokens / max(1, self.tokens - self.accepted)

    def __str__(self) -> str:
        slow, fast = statistics.median(self.without), statistics.median(self.speculating)
        drafted = self.accepted + self.rejected
        share = f"{self.accepted / drafted:4.0%}" if drafted else "   -"
        return (
            f"{self.text:10s} {slow:9.1f} {fast:9.1f} tokens/s   {self.ratio:5.2f} x   accepted {share}   "
            f"{self.tokens_per_pass:4.2f} tokens per pass{'' if self.is_equal else '   NOT THE SAME TOKENS'}"
        )


def compare(without: Engine, speculating: Engine, *, n_tokens: int, n_rounds: int) -> Iterator[Compared]:
    """Kind by kind; the engines take turns, and begin in turn. What both wrote must be the same."""
    for name, (prompt, prediction) in TEXTS.items():
        found = Compared(name)
        for engine in (without, speculating):
            _write(engine, prompt, None, 2)  # the prompt is in the cache from here on
        for i in range(n_rounds):
            pair: dict[bool, Completion] = {}
            for speculates in (False, True) if i % 2 else (True, False):
                engine = speculating if speculates else without
                pair[speculates] = _write(engine, prompt, prediction if speculates else None, n_tokens)
            found.without.append(_rate(pair[False]))
            found.speculating.append(_rate(pair[True]))
            usage = pair[True].usage
            found.accepted += usage.accepted_prediction_tokens
            found.rejected += usage.rejected_prediction_tokens
            found.tokens += usage.completion_tokens
            found.is_equal &= pair[False].token_ids == pair[True].token_ids
        yield found


def main(args: SimpleNamespace, path: str) -> int:
    """1 where tokens differ, which they never must."""
    options: dict[str, Any] = {
        "n_ctx": PROMPT_TOKENS + max(args.decode),
        "n_threads": args.threads[0] if args.threads else None,
        "kv_dtype": args.kv_dtype,
        "f16": args.f16,
        "mmap": not args.no_mmap,
    }
    rows = []
    with (
        Engine(path, speculation="off", **options) as without,
        Engine(path, speculation="auto", draft=args.draft, **options) as speculating,
    ):
        for row in compare(without, speculating, n_tokens=max(args.decode), n_rounds=args.rounds):
            rows.append(row)
            if not args.json:
                print(row, flush=True)
    if args.json:
        print(json.dumps({"model": Path(path).name, "speculation": [row.to_dict() for row in rows]}, indent=1))
    return 0 if all(row.is_equal for row in rows) else 1


def _write(engine: Engine, prompt: str, prediction: str | None, n_tokens: int) -> Completion:
    return engine.generate(prompt, max_tokens=n_tokens, temperature=0, ignore_eos=True, prediction=prediction)


def _rate(completion: Completion) -> float:
    return (completion.usage.completion_tokens - 1) / completion.timings.decode
