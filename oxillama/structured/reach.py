"""How deep definitions that refer to one another can lead. The engine follows them on the stack of its thread."""

from __future__ import annotations

from collections.abc import Collection, Mapping


def longest_reach(edges: Mapping[str, Collection[str]], depths: Mapping[str, int]) -> int:
    """An upper bound of the depth of any walk that enters each definition once. ``depths`` are those of the definitions
    by themselves; where some refer to one another in a circle, all of theirs are added up."""
    best: dict[str, int] = {}
    longest = 0
    for circle in circles(edges):  # those that it refers to come first
        beyond = max((best[other] for name in circle for other in edges[name] if other in best), default=0)
        reach = sum(depths[name] for name in circle) + beyond
        best.update(dict.fromkeys(circle, reach))
        longest = max(longest, reach)
    return longest


def circles(edges: Mapping[str, Collection[str]]) -> list[list[str]]:
    """The strongly connected components, each after all that it leads to (Tarjan 1972), without recursion."""
    number: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    open_names: set[str] = set()
    found: list[list[str]] = []
    for root in edges:
        if root in number:
            continue
        walk = [(root, iter(edges[root]))]
        number[root] = lowest[root] = len(number)
        stack.append(root)
        open_names.add(root)
        while walk:
            name, others = walk[-1]
            for other in others:
                if other not in edges:
                    continue
                if other not in number:
                    number[other] = lowest[other] = len(number)
                    stack.append(other)
                    open_names.add(other)
                    walk.append((other, iter(edges[other])))
                    break
                if other in open_names:
                    lowest[name] = min(lowest[name], number[other])
            else:
                walk.pop()
                if walk:
                    parent = walk[-1][0]
                    lowest[parent] = min(lowest[parent], lowest[name])
                if lowest[name] == number[name]:
                    at = stack.index(name)
                    found.append(stack[at:])
                    open_names.difference_update(stack[at:])
                    del stack[at:]
    return found
