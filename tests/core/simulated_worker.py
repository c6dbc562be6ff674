"""A worker without a model: a cell of its KV cache holds which tokens led to it, as do those of windowed stores, states
and snapshots, and its sampler hashes tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from oxillama._core.testing.constraint_harness import Sieve
from oxillama._core.testing.scheduler_harness import KV_BLOCK, MAX_DRAFTS, BlockPool, PlanItem, Scheduler

GENERATE, EMBED, EVALUATE = range(3)
NONE, STOP, LENGTH, CANCELLED, DEADLINE, ERROR, CLOSED = range(7)
COMPLETE = 1  # of the constraint's states
SECOND = 1_000_000_000

Domain = tuple[int, int, int]
Decide = Callable[[int, int], int]  # (request id, tokens of output so far) -> finish reason
Draft = Callable[[int, list[int]], list[int]]  # (request id, tokens that will be drawn) -> drafts


N_VOCAB = 40  # of a request with a constraint; others have five tokens


def sampled_token(tokens: Sequence[int], allowed: Sequence[int] = range(5)) -> int:
    return allowed[hash(tuple(tokens)) % len(allowed)]


def continuation(tokens: Sequence[int], n: int, allowed: Sequence[int] = range(5)) -> list[int]:
    """The next `n` tokens that will be drawn."""
    known = list(tokens)
    for _ in range(n):
        known.append(sampled_token(known, allowed))
    return known[len(tokens) :]


def drafts_of(item: PlanItem) -> int:
    return max(0, item.n_draws - 1)


@dataclass
class Form:
    """What a constraint allows, everywhere until so many tokens were drawn."""

    sieve: Sieve
    allowed: list[int]
    length: int

    @classmethod
    def of(cls, modulus: int, remainder: int, length: int) -> Form:
        sieve = Sieve(N_VOCAB, modulus=modulus, remainders=[remainder], length=length)
        return cls(sieve, list(range(remainder, N_VOCAB, modulus)), length)


@dataclass
class Sent:
    """What the test knows of a request that was accepted."""

    tokens: list[int]
    n_prompt: int
    max_output: int
    kind: int
    domain: Domain
    scores_prompt: bool = False
    first_scored: int = 0
    hidden: tuple[int, int] = (0, 0)
    drafts: list[int] = field(default_factory=list)  # behind the tokens, as long as nothing was drawn
    sampled: list[int] = field(default_factory=list)
    form: Form | None = None
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
        max_drafts: int = MAX_DRAFTS,
        n_snapshots: int = 0,
        snapshot_tokens: int = 2 * KV_BLOCK,
        n_windows: int = 0,
        window: int = 1,
    ) -> None:
        self.n_blocks = n_blocks
        self.max_outputs = max_batch_size + (max_batch_tokens if n_prompt_outputs is None else n_prompt_outputs)
        self.n_extra_logits = self.max_outputs - min(max_batch_size, max_batch_tokens)
        self.max_drafts = max_drafts
        self.max_batch_tokens = max_batch_tokens
        self.n_ctx = n_ctx
        self.now = SECOND
        self.pool = BlockPool(
            n_blocks,
            hash_mask=hash_mask,
            n_snapshots=n_snapshots,
            snapshot_tokens=snapshot_tokens,
            n_windows=n_windows,
            window=window,
        )
        self.n_windows, self.window = n_windows, window
        self.has_state = n_snapshots > 0
        self.scheduler = Scheduler(
            self.pool,
            max_batch_size=max_batch_size,
            max_batch_tokens=max_batch_tokens,
            max_step_ns=max_step_ns,
            priority_aging_ns=priority_aging_ns,
            n_ctx=n_ctx,
            prefix_cache=prefix_cache,
            max_outputs=self.max_outputs,
            max_drafts=max_drafts,
        )
        self.states: dict[int, tuple[Domain, int]] = {}  # by slot
        self.snapshots: dict[int, tuple[Domain, int]] = {}
        self.cells: dict[tuple[int, int], tuple[Domain, int]] = {}
        self.window_cells: dict[tuple[int, int], tuple[Domain, int]] = {}
        self.sent: dict[int, Sent] = {}
        self.plan: list[PlanItem] = []

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
        first_scored: int = 0,
        hidden: tuple[int, int] | None = None,
        form: Form | None = None,
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
            first_scored=first_scored,
            hidden=hidden,
            now_ns=self.now,
            constraint=None if form is None else form.sieve,
        )
        sent = Sent(list(prompt), len(prompt), max_output, kind, domain, scores_prompt, first_scored, form=form)
        self.sent[request] = sent
        self.sent[request].scored = [0] * len(prompt)
        if kind == EMBED:
            self.sent[request].hidden = hidden or (0, len(prompt))
        return request

    def draft(self, draft: Draft) -> None:
        """Lets `draft` guess for everybody that runs, as drafters do before a plan."""
        for request in self.scheduler.running:
            sent = self.sent[request]
            n = min(MAX_DRAFTS, max(0, sent.max_output - len(sent.sampled) - 1))
            allowed = range(5) if sent.form is None else sent.form.allowed
            sent.drafts = draft(request, continuation(sent.tokens, n, allowed))[:n]
            self.scheduler.draft(request, sent.drafts)

    def schedule(self) -> list[PlanItem]:
        """Plans a step and fills the cells it computes, as the forward pass would."""
        self.plan = self.scheduler.schedule(self.now)
        assert bool(self.plan) == bool(self.scheduler.num_alive), "somebody always advances"
        assert len({item.request for item in self.plan}) == len(self.plan)
        n_tokens, n_decode, n_drafts, n_logits = self.scheduler.totals
        assert n_tokens == sum(item.n_tokens for item in self.plan) <= self.max_batch_tokens
        decodes = [self.is_decode(item) for item in self.plan]
        assert sum(decodes) == n_decode
        assert all(decodes[:n_decode]), "items that decode come first"
        assert n_drafts == sum(drafts_of(item) for item in self.plan)
        assert n_logits == sum(item.n_logits for item in self.plan) <= self.max_outputs
        assert sum(item.n_logits - min(item.n_draws, 1) for item in self.plan) <= self.n_extra_logits
        for item in self.plan:
            self.check_and_fill(item)
            if item.n_draws > 0 and self.sent[item.request].form is not None:
                self.scheduler.prepare_masks(item.request, N_VOCAB, item.n_draws - 1)
        return self.plan

    def is_decode(self, item: PlanItem) -> bool:
        sent = self.sent[item.request]
        return len(sent.tokens) > sent.n_prompt and item.first_position == len(sent.tokens) - 1

    def check_and_fill(self, item: PlanItem) -> None:
        sent = self.sent[item.request]
        state = self.scheduler.request(item.request)
        sent.drafts = sent.drafts[: state["n_drafts"]]  # none after a preemption
        n_drafts = drafts_of(item)
        table, first, end = state["blocks"], item.first_position, item.first_position + item.n_tokens
        tokens = sent.tokens + sent.drafts[:n_drafts]
        assert 0 < item.n_tokens - n_drafts <= len(sent.tokens) - first
        assert n_drafts <= min(len(sent.drafts), self.max_drafts)
        assert end <= len(table) * KV_BLOCK
        prefixes = [(sent.domain, hash(tuple(tokens[: position + 1]))) for position in range(end)]
        for position in range(first):
            cell = (table[position // KV_BLOCK], position % KV_BLOCK)
            assert self.cells.get(cell) == prefixes[position], f"position {position} of {item} holds something else"
        states = self.pool.blocks
        for position in range(first, end):
            block = table[position // KV_BLOCK]
            assert states[block]["references"] == 1, "nobody else may hold a block that is written"
            assert not states[block]["indexed"]
            self.cells[block, position % KV_BLOCK] = prefixes[position]
        if self.n_windows:
            self.check_windows(item, state["window_blocks"], table, prefixes)
        if self.has_state:
            self.check_state(item, state["slot"], prefixes)
        self.check_counts(item, sent)

    def check_windows(
        self, item: PlanItem, places: list[int], table: list[int], prefixes: list[tuple[Domain, int]]
    ) -> None:
        """What the first token sees is there; what is computed is written to places that nobody else reads."""
        first = item.first_position
        for position in range(max(0, first - self.window + 1), first):
            cell = (places[position // KV_BLOCK], position % KV_BLOCK)
            assert self.window_cells.get(cell) == prefixes[position], f"position {position} of {item} was given back"
        for position in range(first, len(prefixes)):
            place = places[position // KV_BLOCK]
            assert self.pool.windows[place] == (table[position // KV_BLOCK], 1)
            self.window_cells[place, position % KV_BLOCK] = prefixes[position]

    def check_state(self, item: PlanItem, slot: int, prefixes: list[tuple[Domain, int]]) -> None:
        """What the item begins with is the state of all tokens before it; what it leaves is written at once."""
        first, snapshots = item.first_position, self.pool.snapshots
        if item.restored >= 0:
            assert snapshots[item.restored][1] > 0, "a snapshot that will be read has a reader"
            self.states[slot] = self.snapshots[item.restored]
        if first > 0:
            assert self.states[slot] == prefixes[first - 1], f"{item} begins with the state of something else"
        assert [n for n, _ in item.marks] == sorted({n for n, _ in item.marks})
        for n, snapshot in item.marks:
            assert (first + n) % KV_BLOCK == 0
            assert snapshots[snapshot] == (-1, 0, True), "a snapshot that is written belongs to nobody else"
            self.snapshots[snapshot] = prefixes[first + n - 1]

    def commit_state(self, item: PlanItem, n_drawn: int) -> None:
        sent = self.sent[item.request]
        end = item.first_position + item.n_tokens - drafts_of(item) + max(0, n_drawn - 1)
        self.states[self.scheduler.request(item.request)["slot"]] = sent.domain, hash(tuple(sent.tokens[:end]))

    def check_counts(self, item: PlanItem, sent: Sent) -> None:
        end = item.first_position + item.n_tokens
        hidden = [position for position in range(item.first_position, end) if position in range(*sent.hidden)]
        assert item.n_hidden == len(hidden)
        assert not hidden or item.first_hidden == hidden[0]
        if sent.kind in (EMBED, EVALUATE):
            assert (item.n_logits, item.n_draws) == (item.n_tokens if sent.kind == EVALUATE else 0, 0)
            return
        is_end = end - drafts_of(item) == len(sent.tokens) and len(sent.sampled) < sent.max_output
        assert (item.n_draws > 0) == is_end
        assert item.n_draws <= max(0, min(sent.max_output - len(sent.sampled), self.n_ctx - len(sent.tokens)))
        if sent.scores_prompt and not sent.sampled:
            wanted = range(max(item.first_position, sent.first_scored), end - drafts_of(item))
            assert item.n_logits == max(len(wanted) + drafts_of(item), item.n_draws)
            for position in wanted:
                sent.scored[position] += 1
        else:
            assert item.n_logits == item.n_draws
        if sent.scores_prompt and is_end:
            assert all(sent.scored[sent.first_scored :]), "every token that is scored has given its row"

    def apply(self, decide: Decide = lambda request, n_output: NONE) -> None:
        results = [self.draw(item, decide) for item in self.plan]
        for item, (n_drawn, _) in zip(self.plan, results, strict=True):
            self.commit_state(item, n_drawn)
        self.scheduler.apply(results, self.now)
        self.plan = []

    def draw(self, item: PlanItem, decide: Decide) -> tuple[int, int]:
        """Draws until one is not what was drafted, as the output stage does: (tokens, finish reason)."""
        sent = self.sent[item.request]
        for i in range(item.n_draws):
            token = sampled_token(sent.tokens)
            completed = False
            if sent.form is not None:
                assert self.scheduler.mask(item.request, N_VOCAB) == (0, sent.form.allowed)
                token = sampled_token(sent.tokens, sent.form.allowed)
                completed = self.scheduler.take(item.request, token) == COMPLETE
                assert completed == (len(sent.sampled) + 1 == sent.form.length)
            is_drafted = self.scheduler.append(item.request, token)
            assert is_drafted == (i < len(sent.drafts) and sent.drafts[i] == token)
            sent.tokens.append(token)
            sent.sampled.append(token)
            reason = STOP if completed else decide(item.request, len(sent.sampled))
            if reason != NONE or not is_drafted:
                self.end_item(item.request)
                return i + 1, reason
        self.end_item(item.request)
        return item.n_draws, NONE

    def end_item(self, request: int) -> None:
        sent = self.sent[request]
        sent.drafts = []
        if sent.form is not None:
            assert self.scheduler.settle(request) == 0
            assert sent.form.sieve.misuse is None

    def rollback(self) -> None:
        """The step was abandoned."""
        for item in self.plan:
            self.sent[item.request].drafts = []
        self.scheduler.rollback()
        self.plan = []

    def step(self, decide: Decide = lambda request, n_output: NONE, draft: Draft | None = None) -> list[PlanItem]:
        if draft is not None:
            self.draft(draft)
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
