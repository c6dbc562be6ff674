"""The block pool: every block in exactly one place, and a cached prefix is only ever found for its own tokens."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from oxillama._core.testing.scheduler_harness import KV_BLOCK, BlockPool

Domain = tuple[int, int, int]
COMMON: Domain = (0, 0, 0)
# Domains that differ in one field each, and block contents that differ in one token each.
DOMAINS: list[Domain] = [COMMON, (1, 0, 0), (0, 1, 0), (0, 0, 1)]
CONTENTS = [tuple([0] * KV_BLOCK), (1, *[0] * (KV_BLOCK - 1)), (*[0] * (KV_BLOCK - 1), 1)]


def content(value: int) -> list[int]:
    return [value] * KV_BLOCK


@pytest.mark.parametrize("n_blocks", [0, -1])
def test_a_pool_needs_blocks(n_blocks: int) -> None:
    with pytest.raises(ValueError, match="no pool"):
        BlockPool(n_blocks)


def test_an_exhausted_pool_says_so() -> None:
    pool = BlockPool(3)
    assert sorted(pool.take() for _ in range(3)) == [0, 1, 2]
    assert pool.take() == -1


def test_unreferenced_blocks_stay_findable_until_they_are_needed() -> None:
    pool = BlockPool(2)
    first = pool.register(pool.take(), -1, content(1))
    pool.release(first)
    assert pool.find(-1, content(1)) == first
    assert pool.take() != first, "free blocks go before cached ones"
    assert pool.take() == first
    assert pool.find(-1, content(1)) == -1
    assert pool.stats["num_evictions"] == 1


def test_the_least_recently_used_block_is_evicted_first() -> None:
    pool = BlockPool(3)
    blocks = [pool.register(pool.take(), -1, content(i)) for i in range(3)]
    for block in blocks:
        pool.release(block)
    pool.retain(blocks[0])
    pool.release(blocks[0])
    assert [pool.take() for _ in range(3)] == [blocks[1], blocks[2], blocks[0]]


def test_an_equal_block_takes_the_place_of_a_new_one() -> None:
    pool = BlockPool(4)
    known = pool.register(pool.take(), -1, content(1))
    assert pool.register(pool.take(), -1, content(1)) == known
    assert pool.blocks[known]["references"] == 2
    assert pool.stats["num_free"] == 3


@pytest.mark.parametrize("same_content", [True, False])
def test_a_child_of_a_reused_parent_is_never_found(same_content: bool) -> None:
    """Released in the wrong order on purpose, so that the parent goes first."""
    pool = BlockPool(2, hash_mask=0)
    parent = pool.register(pool.take(), -1, content(1))
    child = pool.register(pool.take(), parent, content(2))
    pool.release(parent)
    pool.release(child)
    reused = pool.register(pool.take(), -1, content(1 if same_content else 3))
    assert reused == parent
    assert pool.blocks[child]["indexed"]
    assert pool.find(reused, content(2)) == -1


def test_blocks_behind_an_unknown_parent_are_not_registered() -> None:
    pool = BlockPool(4)
    parent, child = pool.take(), pool.take()
    assert pool.register(child, parent, content(2)) == child
    assert not pool.blocks[child]["indexed"]
    assert pool.find(parent, content(2)) == -1


def test_forget_empties_the_index_and_frees_what_was_only_cached() -> None:
    pool = BlockPool(4)
    held = pool.register(pool.take(), -1, content(1))
    cached = pool.register(pool.take(), held, content(2))
    pool.release(cached)
    pool.forget()
    assert pool.find(-1, content(1)) == -1
    assert (pool.stats["num_free"], pool.stats["num_cached"], pool.stats["num_referenced"]) == (3, 0, 1)
    pool.release(held)
    assert pool.stats["num_free"] == 4


def cached_chain(pool: BlockPool, n: int, domain: Domain) -> None:
    """Leaves n blocks of a sequence of its own in the cache."""
    table = [-1]
    for _ in range(n):
        table.append(pool.register(pool.take(), table[-1], content(1), domain))
    while len(table) > 1:
        pool.release(table.pop())


def test_blocks_grow_one_by_one_and_only_when_no_grown_one_is_free() -> None:
    pool = BlockPool(5)
    assert pool.grown == []
    first, second = pool.take(), pool.take()
    pool.release(first)
    assert pool.take() == first
    pool.release(second)
    assert pool.take() == second
    assert pool.grown == [1, 2]
    assert pool.stats["num_grown"] == 2
    assert pool.stats["num_free"] == 3


@pytest.mark.parametrize("n_kept", [0, 1, 4])
def test_from_so_many_cached_blocks_on_the_oldest_goes_before_the_pool_grows(n_kept: int) -> None:
    pool = BlockPool(100, n_kept=n_kept)
    for i in range(30):
        cached_chain(pool, 1, (i, 0, 0))
    stats = pool.stats
    assert stats["num_cached"] == stats["num_grown"] == n_kept + 1
    assert stats["num_evictions"] == 30 - (n_kept + 1)
    # The newest are what is kept.
    assert pool.find(-1, content(1), (29 - n_kept, 0, 0)) >= 0
    assert pool.find(-1, content(1), (28 - n_kept, 0, 0)) < 0


def test_blocks_in_use_grow_to_the_bound_whatever_is_kept() -> None:
    pool = BlockPool(20, n_kept=2)
    cached_chain(pool, 3, COMMON)
    taken = [pool.take() for _ in range(20)]
    assert sorted(taken) == list(range(20))
    assert pool.take() == -1
    assert pool.grown == list(range(1, 21))


def test_what_has_grown_for_use_may_stay_in_the_cache() -> None:
    pool = BlockPool(20, n_kept=2)
    cached_chain(pool, 12, COMMON)
    assert pool.stats["num_cached"] == 12
    cached_chain(pool, 1, (1, 0, 0))
    assert pool.stats["num_grown"] == 12


class Tables(RuleBasedStateMachine):
    """Tables of blocks that grow as sequences do; the model knows what each block really holds."""

    pool: BlockPool

    def __init__(self) -> None:
        super().__init__()
        self.tables: list[tuple[Domain, list[int]]] = []
        self.held: dict[int, tuple[Domain, tuple[tuple[int, ...], ...]]] = {}

    @initialize(n_blocks=st.integers(1, 12), hash_mask=st.sampled_from([0, 1, 2**64 - 1]), n_kept=st.integers(0, 12))
    def create(self, n_blocks: int, hash_mask: int, n_kept: int) -> None:
        self.n_blocks = n_blocks
        self.pool = BlockPool(n_blocks, hash_mask=hash_mask, n_kept=n_kept)

    @rule(domain=st.sampled_from(DOMAINS))
    def open(self, domain: Domain) -> None:
        self.tables.append((domain, []))

    @precondition(lambda self: self.tables)
    @rule(data=st.data(), tokens=st.sampled_from(CONTENTS), register=st.booleans())
    def extend(self, data: st.DataObject, tokens: tuple[int, ...], register: bool) -> None:
        domain, table = data.draw(st.sampled_from(self.tables))
        parent = table[-1] if table else -1
        prefix = self.held[parent][1] if table else ()
        found = self.pool.find(parent, tokens, domain)
        if found >= 0:
            assert self.held[found] == (domain, (*prefix, tokens)), "a match must be the very same tokens"
            self.pool.retain(found)
            table.append(found)
            return
        block = self.pool.take()
        if block < 0:
            assert all(state["references"] > 0 for state in self.pool.blocks)
            return
        self.held[block] = (domain, (*prefix, tokens))
        table.append(self.pool.register(block, parent, tokens, domain) if register else block)
        assert self.held[table[-1]] == (domain, (*prefix, tokens))

    @precondition(lambda self: self.tables)
    @rule(data=st.data())
    def close(self, data: st.DataObject) -> None:
        _, table = self.tables.pop(data.draw(st.integers(0, len(self.tables) - 1)))
        while table:
            self.pool.release(table.pop())

    @rule()
    def forget(self) -> None:
        self.pool.forget()

    @invariant()
    def every_block_is_in_one_place(self) -> None:
        states, stats = self.pool.blocks, self.pool.stats
        counts = [sum(table.count(block) for _, table in self.tables) for block in range(self.n_blocks)]
        assert [state["references"] for state in states] == counts
        referenced = [block for block, count in enumerate(counts) if count]
        assert sorted(self.pool.free + self.pool.cached + referenced) == list(range(self.n_blocks))
        assert not any(states[block]["indexed"] for block in self.pool.free)
        assert all(states[block]["indexed"] for block in self.pool.cached)
        sizes = (stats["num_free"], stats["num_cached"], stats["num_referenced"])
        assert sizes == (len(self.pool.free), len(self.pool.cached), len(referenced))

    @invariant()
    def growth_is_told_before_a_block_is_used(self) -> None:
        n_grown = self.pool.stats["num_grown"]
        assert self.pool.grown == list(range(1, n_grown + 1))
        assert all(block < n_grown for _, table in self.tables for block in table)

    @invariant()
    def children_go_before_their_parents(self) -> None:
        states = self.pool.blocks
        assert all(state["parent_live"] for state in states if state["indexed"])


Tables.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestTables = Tables.TestCase
