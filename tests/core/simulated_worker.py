"""A worker without a model: a cell of its KV cache holds which tokens led to it, and its sampler hashes tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from oxillama._core.scheduler_harness import KV_BLOCK, BlockPool, Scheduler

GENERATE, STREAM, EMBED, EVALUATE = range(4)
NONE, STOP, LENGTH, CANCELLED, DEADLINE, ERROR, CLOSED = range(7)
OUTPUT_NONE, OUTPUT_LAST, OUTPUT_ALL, OUTPUT_HIDDEN, OUTPUT_ALL_AND_LAST = range(5)
SECOND = 1_000_000_000

Domain = tuple[int, int, int]
Item = tuple[int, int, int, int]
Decide = Callable[[int, int], int]  # (request id, tokens of output so far) -> finish reason


def sampled_token(tokens: Sequence[int]) -> int:
    return hash(tuple(tokens)) % 5


@dataclass
class Sent:
    """What the test knows of a request that was accepted."""

    tokens: list[int]
    n_prompt: int
    max_output: int
    kind: int
    domain: Domain
    scores_prompt: bool = False
    sampled: list[int] = field(default_factory=list)
    scored: list[int] = field(default_factory=list)  # how often each token of the prompt gave a row


class Worker:
    """Executes plans and checks each against what the cache really holds."""

    def __init__(
        self,
        n_blocks: int = 64,
        *,
        hash_mask: int = 2**64 - 1,
        max_batch_size: int = 8,
        max_batch_tokens: int = 128,
        max_step_ns: int = 100_000_000,
        priority_aging_ns: int = 10 * SECOND,
        n_ctx: int = 1024,
        prefix_cache: bool = True,
        n_prompt_outputs: int | None = None,
    ) -> None:
        self.n_blocks = n_blocks
        self.max_outputs = max_batch_size + (max_batch_tokens if n_prompt_outputs is None else n_prompt_outputs)
        self.n_prompt_outputs = self.max_outputs - min(max_batch_size, max_batch_tokens)
        self.max_batch_tokens = max_batch_tokens
        self.n_ctx = n_ctx
        self.now = SECOND
        self.pool = BlockPool(n_blocks, hash_mask=hash_mask)
        self.scheduler = Scheduler(
            self.pool,
            max_batch_size=max_batch_size,
            max_batch_tokens=max_batch_tokens,
            max_step_ns=max_step_ns,
            priority_aging_ns=priority_aging_ns,
            n_ctx=n_ctx,
            prefix_cache=prefix_cache,
            max_outputs=self.max_outputs,
        )
        self.cells: dict[tuple[int, int], tuple[Domain, int]] = {}
        self.sent: dict[int, Sent] = {}
        self.plan: list[Item] = []

    def add(
        self,
        prompt: Sequence[int],
        *,
        max_output: int = 16,
        kind: int = GENERATE,
        priority: int = 0,
        deadline_ns: int = 0,
        domain: Domain = (0, 0, 0),
        cache_prompt: bool = True,
        scores_prompt: bool = False,
    ) -> int:
        request = self.scheduler.add(
            prompt,
            max_output=max_output,
            kind=kind,
            priority=priority,
            deadline_ns=deadline_ns,
            domain=domain,
            cache_prompt=cache_prompt,
            scores_prompt=scores_prompt,
            now_ns=self.now,
        )
        self.sent[request] = Sent(list(prompt), len(prompt), max_output, kind, domain, scores_prompt)
        self.sent[request].scored = [0] * len(prompt)
        return request

    def schedule(self) -> list[Item]:
        """Plans a step and fills the cells it computes, as the forward pass would."""
        self.plan = self.scheduler.schedule(self.now)
        assert bool(self.plan) == bool(self.scheduler.num_alive), "somebody always advances"
        assert len({item[0] for item in self.plan}) == len(self.plan)
        n_tokens, n_decode, n_outputs = self.scheduler.totals
        assert n_tokens == sum(item[1] for item in self.plan) <= self.max_batch_tokens
        decodes = [self.is_decode(item) for item in self.plan]
        assert sum(decodes) == n_decode
        assert all(decodes[:n_decode]), "items that decode come first"
        rows = [(0, 1, item[1], 0, item[1])[item[3]] for item in self.plan]
        assert sum(rows) == n_outputs <= self.max_outputs
        everything = [item[1] for item in self.plan if item[3] in (OUTPUT_ALL, OUTPUT_ALL_AND_LAST)]
        assert sum(everything) <= self.n_prompt_outputs
        for item in self.plan:
            self.check_and_fill(item)
        return self.plan

    def is_decode(self, item: Item) -> bool:
        sent = self.sent[item[0]]
        return item[1] == 1 and len(sent.tokens) > sent.n_prompt and item[2] == len(sent.tokens) - 1

    def check_and_fill(self, item: Item) -> None:
        request, n_tokens, first, wants_output = item
        sent = self.sent[request]
        state = self.scheduler.request(request)
        table, end = state["blocks"], first + n_tokens
        assert 0 < n_tokens <= len(sent.tokens) - first
        assert end <= len(table) * KV_BLOCK
        prefixes = [(sent.domain, hash(tuple(sent.tokens[: position + 1]))) for position in range(end)]
        for position in range(first):
            cell = (table[position // KV_BLOCK], position % KV_BLOCK)
            assert self.cells.get(cell) == prefixes[position], f"position {position} of {request} holds something else"
        states = self.pool.blocks
        for position in range(first, end):
            block = table[position // KV_BLOCK]
            assert states[block]["references"] == 1, "nobody else may hold a block that is written"
            assert not states[block]["indexed"]
            self.cells[block, position % KV_BLOCK] = prefixes[position]
        if sent.kind == EMBED:
            assert wants_output == OUTPUT_HIDDEN
        elif sent.kind == EVALUATE:
            assert wants_output == OUTPUT_ALL
        else:
            is_end = end == len(sent.tokens) and len(sent.sampled) < sent.max_output
            if sent.scores_prompt and not sent.sampled:
                assert wants_output == (OUTPUT_ALL_AND_LAST if is_end else OUTPUT_ALL)
                for position in range(first, end):
                    sent.scored[position] += 1
            else:
                assert wants_output == (OUTPUT_LAST if is_end else OUTPUT_NONE)
            if sent.scores_prompt and is_end:
                assert all(sent.scored), "every token of the prompt has given its row"

    def apply(self, decide: Decide = lambda request, n_output: NONE) -> None:
        results: list[tuple[int, int]] = []
        for request, _, _, wants_output in self.plan:
            sent = self.sent[request]
            token, reason = -1, NONE
            if wants_output in (OUTPUT_LAST, OUTPUT_ALL_AND_LAST):
                token = sampled_token(sent.tokens)
                sent.tokens.append(token)
                sent.sampled.append(token)
                reason = decide(request, len(sent.sampled))
            results.append((token, reason))
        self.scheduler.apply(results, self.now)
        self.plan = []

    def step(self, decide: Decide = lambda request, n_output: NONE) -> list[Item]:
        plan = self.schedule()
        self.apply(decide)
        return plan

    def run(self, max_steps: int) -> int:
        """Steps until nobody is left; how many it took."""
        for step in range(max_steps):
            if not self.scheduler.num_alive:
                return step
            self.step()
        raise AssertionError(f"still {self.scheduler.num_alive} alive after {max_steps} steps")

    def reason(self, request: int) -> int:
        return self.scheduler.request(request)["finish_reason"]

    def ends(self, request: int) -> int:
        return sum(finished[0] == request for finished in self.scheduler.finished)
