"""The scheduler under anything that may happen to it: what must hold after every single event."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from oxillama._core.testing.scheduler_harness import KV_BLOCK, MAX_DRAFTS
from tests.core.simulated_worker import (
    CANCELLED,
    CLOSED,
    DEADLINE,
    EMBED,
    ERROR,
    EVALUATE,
    GENERATE,
    LENGTH,
    NONE,
    SECOND,
    STOP,
    Domain,
    Draft,
    Worker,
)

DOMAINS: list[Domain] = [(0, 0, 0), (0, 0, 0), (0, 0, 0), (7, 0, 0), (0, 3, 0), (0, 0, 3)]


@dataclass(frozen=True)
class Wish:
    """A request somebody may send."""

    prompt: list[int]
    max_output: int
    kind: int
    priority: int
    patience_s: int  # 0: no deadline
    domain: Domain
    cache_prompt: bool
    scores_prompt: bool
    first_scored: int


def wish(random: Random) -> Wish:
    """Prompts that often begin alike: whole blocks of one token, then a tail."""
    blocks = [random.randrange(2) for _ in range(random.randrange(5))]
    tail = random.choice([1, KV_BLOCK, random.randint(1, 2 * KV_BLOCK)])
    kind = random.choice([GENERATE, GENERATE, GENERATE, EMBED, EVALUATE])
    return Wish(
        prompt=[token for token in blocks for _ in range(KV_BLOCK)] + [random.randrange(2)] * tail,
        max_output=0 if kind in (EMBED, EVALUATE) else random.randrange(100),
        kind=kind,
        priority=random.choice([0, 0, 0, -1, 1, 5]),
        patience_s=random.choice([0, 0, 0, 5, 60]),
        domain=random.choice(DOMAINS),
        cache_prompt=random.random() < 0.8,
        scores_prompt=kind == GENERATE and random.random() < 0.3,
        first_scored=random.choice([0, KV_BLOCK - 1, KV_BLOCK, random.randrange(6 * KV_BLOCK)]),
    )


def guesses(random: Random) -> Draft:
    """Drafts of any length, each token right or wrong."""
    lie = random.choice([0, 0.1, 0.5, 1])

    def draft(request: int, expected: list[int]) -> list[int]:
        return [random.randrange(5) if random.random() < lie else token for token in expected][: random.randrange(18)]

    return draft


# Drawn through a seed: Hypothesis by itself prefers services so small and idle that nothing ever runs short.
seeds = st.randoms(use_true_random=True)


class Service(RuleBasedStateMachine):
    worker: Worker

    def __init__(self) -> None:
        super().__init__()
        self.cancelled: set[int] = set()
        self.deadlines: dict[int, int] = {}
        self.decided: dict[int, int] = {}
        self.closed: set[int] = set()

    @initialize(random=seeds)
    def create(self, random: Random) -> None:
        window = random.choice([1, 5, 32, 33, 60, 100])
        span = (window - 1) // KV_BLOCK + 3
        self.worker = Worker(
            random.randint(1, 12),
            hash_mask=random.choice([0, 1, 2**64 - 1]),
            max_batch_size=random.randint(1, 8),
            max_batch_tokens=random.choice([1, 7, 31, 32, 40, 64, 128, 200]),
            n_ctx=random.choice([40, 200, 400, 400]),
            priority_aging_ns=random.choice([0, SECOND, 10 * SECOND]),
            prefix_cache=random.random() < 0.8,
            n_prompt_outputs=random.choice([None, 1, 33]),
            max_drafts=random.choice([0, 3, MAX_DRAFTS, MAX_DRAFTS]),
            n_snapshots=random.choice([0, 0, 1, 2, 5, 40]),
            snapshot_tokens=KV_BLOCK * random.choice([1, 2, 5]),
            n_windows=random.choice([0, span, span + 3, 20, 20]),
            window=window,
        )
        self.add(random, 8)

    @rule(random=seeds, n=st.integers(1, 4))
    def add(self, random: Random, n: int) -> None:
        for _ in range(n):
            self.send(wish(random), random.choice([1, 1, 3]))

    def send(self, wish: Wish, n: int) -> None:
        worker = self.worker
        n_room = 0 if wish.kind in (EMBED, EVALUATE) else 1
        fits = len(wish.prompt) + n_room <= worker.n_ctx and len(wish.prompt) <= worker.n_blocks * KV_BLOCK
        deadline = worker.now + wish.patience_s * SECOND if wish.patience_s else 0
        for _ in range(n):
            try:
                request = worker.add(
                    wish.prompt,
                    max_output=wish.max_output,
                    kind=wish.kind,
                    priority=wish.priority,
                    deadline_ns=deadline,
                    domain=wish.domain,
                    cache_prompt=wish.cache_prompt,
                    scores_prompt=wish.scores_prompt,
                    first_scored=wish.first_scored if wish.scores_prompt else 0,
                )
            except ValueError:
                assert not fits
                return
            assert fits
            if deadline:
                self.deadlines[request] = deadline

    @precondition(lambda self: self.worker.sent)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        request = data.draw(st.sampled_from(sorted(self.worker.sent)))
        self.worker.scheduler.cancel(request)
        if not self.worker.ends(request):
            self.cancelled.add(request)

    @rule(
        n=st.integers(1, 40),
        seconds=st.sampled_from([0, 0, 1]),
        ending=st.sampled_from([NONE, NONE, NONE, STOP, ERROR]),
        drafting=st.none() | seeds,
    )
    def step(self, n: int, seconds: int, ending: int, drafting: Random | None) -> None:
        def decide(request: int, n_output: int) -> int:
            if ending != NONE and (request + n_output) % 37 == 0:
                self.decided[request] = ending
                return ending
            return NONE

        for _ in range(n):
            self.worker.step(decide, guesses(drafting) if drafting else None)
            self.worker.now += seconds * SECOND

    @rule(drafting=st.none() | seeds, is_noticed=st.booleans())
    def abandon(self, drafting: Random | None, is_noticed: bool) -> None:
        if drafting:
            self.worker.draft(guesses(drafting))
        self.worker.schedule()
        dead = all(self.is_due(item.request) for item in self.worker.plan)
        assert self.worker.scheduler.plan_is_alive(self.worker.now) != dead
        if is_noticed:
            self.worker.rollback()

    @rule(seconds=st.integers(1, 30))
    def wait(self, seconds: int) -> None:
        self.worker.now += seconds * SECOND

    @rule(step_ms=st.integers(1, 500), n_tokens=st.integers(1, 100), n_decode=st.integers(0, 6))
    def observe(self, step_ms: int, n_tokens: int, n_decode: int) -> None:
        self.worker.scheduler.observe(step_ms * 1_000_000, n_tokens + n_decode, n_decode)

    @rule(unlikely=st.integers(0, 15))
    def finish_all(self, unlikely: int) -> None:
        if unlikely == 0:
            self.closed |= {request for request in self.worker.sent if not self.worker.ends(request)}
            self.worker.scheduler.finish_all(CLOSED, self.worker.now)

    def is_due(self, request: int) -> bool:
        return request in self.cancelled or self.worker.now >= self.deadlines.get(request, self.worker.now + 1)

    @invariant()
    def blocks_are_where_they_should_be(self) -> None:
        worker = self.worker
        tables = [worker.scheduler.request(request)["blocks"] for request in worker.sent]
        counts = [sum(table.count(block) for table in tables) for block in range(worker.n_blocks)]
        assert [state["references"] for state in worker.pool.blocks] == counts
        assert all(state["parent_live"] for state in worker.pool.blocks if state["indexed"]), "parents outlive children"
        referenced = [block for block, count in enumerate(counts) if count]
        assert sorted(worker.pool.free + worker.pool.cached + referenced) == list(range(worker.n_blocks))

    @invariant()
    def snapshots_are_where_they_should_be(self) -> None:
        worker = self.worker
        restored = [worker.scheduler.request(request)["restored"] for request in worker.sent]
        free, blocks = worker.pool.free_snapshots, worker.pool.blocks
        assert len(set(free)) == len(free)
        for snapshot, (block, n_readers, is_reserved) in enumerate(worker.pool.snapshots):
            assert n_readers == restored.count(snapshot)
            is_free = snapshot in free
            # One that is read may have lost its block.
            assert [is_free, is_reserved, block >= 0 or n_readers > 0].count(True) == 1
            assert block < 0 or blocks[block]["indexed"]

    @invariant()
    def windows_are_where_they_should_be(self) -> None:
        worker = self.worker
        if not worker.n_windows:
            return
        readers = [0] * worker.n_windows
        for request in worker.sent:
            state = worker.scheduler.request(request)
            for place in state["window_blocks"][state["n_left"] :]:
                readers[place] += 1
        free, cold, warm = worker.pool.window_lists
        blocks = worker.pool.blocks
        for place, (block, n_readers) in enumerate(worker.pool.windows):
            assert n_readers == readers[place]
            assert [place in free, place in cold, place in warm, n_readers > 0].count(True) == 1
            assert (block >= 0) != (place in free)
            assert block < 0 or n_readers > 0 or blocks[block]["indexed"]
        read = worker.n_windows - len(free) - len(cold) - len(warm)
        assert worker.pool.window_counts == (len(free), len(cold) + len(warm), read)
        owned = [block for block, _ in worker.pool.windows if block >= 0]
        assert len(set(owned)) == len(owned)

    @invariant()
    def every_end_is_one_and_has_its_reason(self) -> None:
        finished = self.worker.scheduler.finished
        assert len({request for request, _, _ in finished}) == len(finished)
        for request, reason, n_blocks in finished:
            assert n_blocks == 0
            assert self.worker.reason(request) == reason
            if reason == CANCELLED:
                assert request in self.cancelled
            elif reason == DEADLINE:
                assert self.worker.now >= self.deadlines[request]
            elif reason == CLOSED:
                assert request in self.closed
            elif reason == ERROR or (reason == STOP and self.worker.sent[request].kind == GENERATE):
                assert self.decided[request] == reason
            elif reason == LENGTH:
                self.check_length(request)

    def check_length(self, request: int) -> None:
        sent = self.worker.sent[request]
        n = len(sent.tokens)
        is_full = n >= self.worker.n_ctx or n > self.worker.n_blocks * KV_BLOCK
        assert len(sent.sampled) == sent.max_output or is_full

    @invariant()
    def output_is_what_was_sampled(self) -> None:
        for request, sent in self.worker.sent.items():
            assert self.worker.scheduler.request(request)["output"] == sent.sampled

    @invariant()
    def lists_and_slots_agree(self) -> None:
        scheduler = self.worker.scheduler
        alive = scheduler.running + scheduler.waiting
        assert sorted(alive) == [request for request in self.worker.sent if not self.worker.ends(request)]
        slots = [scheduler.request(request)["slot"] for request in scheduler.running]
        assert len(set(slots)) == len(slots)
        assert set(scheduler.running) <= set(scheduler.started)
        assert len(set(scheduler.started)) == len(scheduler.started)

    def teardown(self) -> None:
        if not hasattr(self, "worker"):
            return
        worker = self.worker
        # Alone and one after another they would need this many steps, and preemption at most repeats work.
        todo = sum(len(sent.tokens) + sent.max_output + 2 for sent in worker.sent.values())
        worker.run(10 * todo + 10)
        assert len(worker.scheduler.finished) == len(worker.sent)
        assert sorted(worker.scheduler.started) == sorted(worker.sent)
        assert worker.pool.stats["num_referenced"] == 0
        assert worker.n_windows == 0 or worker.pool.window_counts[2] == 0
        self.windows_are_where_they_should_be()
        self.every_end_is_one_and_has_its_reason()


Service.TestCase.settings = settings(max_examples=100, stateful_step_count=20, deadline=None)
TestService = Service.TestCase
