"""From pairs to what steps compute with: checks against the base model's sites, cuts, packs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from oxillama._core.network.adapter import Adapter, stretches_of
from oxillama._core.network.weights import WeightPacker, packed_bytes
from oxillama.adapters.pairs import Factor, Floats, LowRankAdapter, Pair
from oxillama.errors import AdapterError
from oxillama.network.graph import Matrix
from oxillama.network.loader import pick_rows
from oxillama.network.sites import EMBEDDING, OUTPUT, Sites

GROUP_ROWS = 32
F32, F16 = 0, 1
MAX_RANK = 4096


@dataclass(frozen=True)
class Placed:
    """A pair at one matrix of one site. same_as: an earlier matrix of the site that has the same A."""

    site: int
    number: int
    pair: Pair
    matrix: Matrix
    is_table: bool
    same_as: int


def place(adapter: LowRankAdapter, sites: Sites) -> list[Placed]:
    """Every pair wherever the network uses its tensor. Raises AdapterError for what does not fit the base model."""
    if adapter.architecture is not None and adapter.architecture != sites.architecture:
        raise AdapterError(
            f"{adapter.path}: the adapter is for the architecture {adapter.architecture!r}, the model is "
            f"{sites.architecture!r}",
            param="path",
        )
    placed: list[Placed] = []
    used: set[str] = set()
    for number, site in enumerate(sites.sites):
        first: dict[tuple[str, int], int] = {}
        for m, (name, matrix) in enumerate(zip(site.names(), site.matrices, strict=True)):
            pair = adapter.pairs.get(name)
            if pair is None:
                continue
            used.add(name)
            check_shape(pair, sites, is_table=site.is_table)
            key = (name, _member(pair, matrix))
            placed.append(Placed(number, m, pair, matrix, site.is_table, first.setdefault(key, m)))
    _check_all_used(adapter, sites, used)
    return placed


def check_shape(pair: Pair, sites: Sites, *, is_table: bool) -> None:
    name = EMBEDDING if pair.tensor == OUTPUT and OUTPUT not in sites.shapes else pair.tensor
    shape = sites.shapes[name]
    base = (1,) * (2 - len(shape)) + tuple(shape[::-1])
    stack, n_out, n_in = base[:-2], base[-2], base[-1]
    while stack and stack[0] == 1:
        stack = stack[1:]
    wanted: dict[Factor, tuple[int, ...]]
    if is_table:
        wanted = {pair.a: (n_out, pair.rank), pair.b: (n_in, pair.rank)}
    else:
        wanted = {pair.a: (*stack, pair.rank, n_in), pair.b: (*stack, n_out, pair.rank)}
    for factor, expected in wanted.items():
        found = factor.shape
        while len(found) > len(expected) and found[0] == 1:
            found = found[1:]
        if found != expected:
            raise AdapterError(
                f"tensor {factor.shown} has shape {list(found[::-1])}, expected {list(expected[::-1])} beside the "
                f"base's {name!r} of {list(shape)}",
                param="path",
            )
    if not 0 < pair.rank <= MAX_RANK:
        raise AdapterError(f"tensor {pair.a.shown} has rank {pair.rank}, expected 1 to {MAX_RANK}", param="path")


def _check_all_used(adapter: LowRankAdapter, sites: Sites, used: set[str]) -> None:
    for tensor, pair in adapter.pairs.items():
        if tensor in used:
            continue
        if tensor in sites.shapes:
            raise AdapterError(
                f"tensor {pair.a.shown}: the model does not multiply with {tensor!r}, so nothing can be added there",
                param="path",
            )
        raise AdapterError(f"tensor {pair.a.shown}: the model has no {tensor!r}", param="path")


def _member(pair: Pair, matrix: Matrix) -> int:
    """Which of a stack's matrices this is, where it is one of them alone."""
    if matrix.stack > 1 or len(pair.b.shape) < 3:
        return 0
    return matrix.ranges[0].start // pair.b.shape[-2]


def needed_bytes(placed: list[Placed]) -> int:
    """Bytes of the packed matrices."""
    return sum(packed_bytes(type_id, rows, k) * n for one in placed for type_id, rows, k, n in _sizes(one))


def _sizes(one: Placed) -> Iterator[tuple[int, int, int, int]]:
    a, b = one.pair.a, one.pair.b
    if one.same_as == one.number:
        if one.is_table:
            yield F16 if a.is_half else F32, a.shape[-2], one.pair.rank, 1
        else:
            _, n_blocks, n_groups, length = stretches_of(one.matrix.k, one.pair.rank)
            yield F16 if a.is_half else F32, n_blocks * n_groups * GROUP_ROWS, length, one.matrix.stack
    yield F16 if b.is_half else F32, one.matrix.k if one.is_table else one.matrix.rows, one.pair.rank, one.matrix.stack


def pack(placed: list[Placed], values: dict[str, tuple[Floats, Floats]], *, n_sites: int, n_bytes: int) -> Adapter:
    """The adapter as steps take it. n_bytes: what needed_bytes() says."""
    adapter = Adapter(n_sites)
    packer = WeightPacker(n_bytes)
    shared = {}
    for one in placed:
        a, b = values[one.pair.tensor]
        rank, stack, member = one.pair.rank, one.matrix.stack, _member(one.pair, one.matrix)
        stretches = (1, 1, 1, 0)
        if one.is_table:
            packed_a = packer.add(_raw(a.reshape(-1, rank)), _type(a), a.shape[-2], rank)
            parts_b = [b.reshape(-1, rank)]
        else:
            stretches = stretches_of(one.matrix.k, rank)
            if one.same_as == one.number:
                members = a.reshape(-1, rank, one.matrix.k)[member : member + stack]
                cut_a = [cut(each, stretches) for each in members]
                rows, length = cut_a[0].shape
                shared[one.site, one.number] = packer.add_stack([_raw(each) for each in cut_a], _type(a), rows, length)
            packed_a = shared[one.site, one.same_as]
            rows_b = b.reshape(-1, rank)
            ranges = one.matrix.ranges
            parts_b = [rows_b[each.start : each.stop] for each in ranges] if stack > 1 else [pick_rows(rows_b, ranges)]
        packed_b = packer.add_stack([_raw(each) for each in parts_b], _type(b), len(parts_b[0]), rank)
        same_as = -1 if one.same_as == one.number else one.same_as
        adapter.add(
            one.site,
            one.number,
            packed_a,
            packed_b,
            rank=rank,
            gain=one.pair.gain,
            stretches=stretches,
            same_as=same_as,
        )
    packer.pack(lambda n: None)
    return adapter


def cut(a: Floats, stretches: tuple[int, int, int, int]) -> Floats:
    """A, [rank, k], as `stretches_of` says: [n_blocks * n_groups * 32, length], empty lanes zero."""
    fold, n_blocks, n_groups, length = stretches
    rank = len(a)
    lanes = a.reshape(rank, n_blocks, fold, length).transpose(1, 2, 0, 3).reshape(n_blocks, fold * rank, length)
    out = np.zeros((n_blocks, n_groups * GROUP_ROWS, length), a.dtype)
    out[:, : fold * rank] = lanes
    return out.reshape(-1, length)


def _type(values: Floats) -> int:
    return F16 if values.dtype == np.float16 else F32


def _raw(values: Floats) -> npt.NDArray[np.uint8]:
    return np.ascontiguousarray(values).view(np.uint8).reshape(-1)
