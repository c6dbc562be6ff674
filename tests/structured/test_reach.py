"""How deep definitions lead."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from oxillama.structured.reach import circles, longest_reach

GRAPHS = st.integers(1, 7).flatmap(
    lambda n: st.fixed_dictionaries(
        {str(one): st.sets(st.sampled_from([str(other) for other in range(n)])) for one in range(n)}
    )
)


def test_a_chain_is_as_deep_as_its_links_together() -> None:
    edges = {str(one): {str(one + 1)} if one < 4999 else set() for one in range(5000)}
    assert longest_reach(edges, dict.fromkeys(edges, 2)) == 10_000


def test_a_circle_counts_with_all_that_it_has() -> None:
    edges = {"a": {"b"}, "b": {"a", "c"}, "c": set[str](), "d": {"c"}}
    assert longest_reach(edges, {"a": 1, "b": 10, "c": 100, "d": 5}) == 111


def longest_walk(edges: dict[str, set[str]], name: str, seen: frozenset[str]) -> int:
    """By trying all: each definition entered once at most."""
    rest = (longest_walk(edges, other, seen | {name}) for other in edges[name] if other not in seen | {name})
    return 1 + max(rest, default=0)


@given(GRAPHS)
def test_no_walk_is_longer(edges: dict[str, set[str]]) -> None:
    longest = max(longest_walk(edges, name, frozenset()) for name in edges)
    assert longest <= longest_reach(edges, dict.fromkeys(edges, 1))


@given(GRAPHS)
def test_what_a_circle_leads_to_comes_before_it(edges: dict[str, set[str]]) -> None:
    known: set[str] = set()
    for circle in circles(edges):
        for name in circle:
            assert edges[name] <= known | set(circle)
        known.update(circle)
    assert known == set(edges)
