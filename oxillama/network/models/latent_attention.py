"""Multi-head latent attention (DeepSeek-V2, arXiv:2405.04434): keys and values are made of one short row per token."""

from __future__ import annotations

from dataclasses import dataclass, replace

from oxillama.network import operations as op
from oxillama.network.graph import Value
from oxillama.network.heads import head_product
from oxillama.network.models.attention import QueryScale
from oxillama.network.models.decoder import Building
from oxillama.network.models.rope_tables import Rope


@dataclass(frozen=True)
class LatentAttention:
    """A head's query and key are `plain` values and `turned` ones, which rotate by `rope`; those of the key are one
    stretch for all heads. rank: the width of the latent row. q_rank: the same of queries, 0 where they have none.

    Where the file has attn_k_b and attn_v_b, the cache has the latent row alone: queries are brought to its width
    instead of keys to theirs. Older files have both in one attn_kv_b; then all heads' keys and values are kept."""

    n_heads: int
    plain: int
    turned: int
    v_dim: int
    rank: int
    q_rank: int
    scale: float
    rope: Rope | None
    query_scale: QueryScale | None = None

    def build(self, building: Building, x: Value) -> Value:
        graph, block = building.graph, building.block
        q = self._query(building, x)
        whole = self.rank + self.turned
        latent, turned = (
            op.linear(graph, x, f"{block}.attn_kv_a_mqa", width=len(rows), ranges=(rows,), of=whole)
            for rows in (range(self.rank), range(self.rank, whole))
        )
        latent = building.normalise(latent, f"{block}.attn_kv_a_norm")
        if self.rope:
            q = building.tables.rotate(q, replace(self.rope, offset=self.plain), n_heads=self.n_heads)
            turned = building.tables.rotate(turned, replace(self.rope, offset=0), n_heads=1)
        if self.query_scale:
            q = self.query_scale.apply(building, q)
        is_absorbed = graph.has(f"{block}.attn_k_b.weight")
        h = (self._absorbed if is_absorbed else self._plain)(building, q, latent, turned)
        return op.linear(graph, h, f"{block}.attn_output", width=x.width)

    def _query(self, building: Building, x: Value) -> Value:
        graph, block = building.graph, building.block
        width = self.n_heads * (self.plain + self.turned)
        if not self.q_rank or graph.has(f"{block}.attn_q.weight"):
            return op.linear(graph, x, f"{block}.attn_q", width=width)
        low = op.linear(graph, x, f"{block}.attn_q_a", width=self.q_rank)
        return op.linear(graph, building.normalise(low, f"{block}.attn_q_a_norm"), f"{block}.attn_q_b", width=width)

    def _absorbed(self, building: Building, q: Value, latent: Value, turned: Value) -> Value:
        graph, block, n = building.graph, building.block, self.n_heads
        wide = head_product(graph, q, f"{block}.attn_k_b", n_heads=n, k=self.plain, width=self.rank)
        q_turned = op.slice_columns(graph, q, offset=self.plain, width=self.turned, n_parts=n)
        h = op.attention(
            graph,
            op.join_columns(graph, wide, q_turned, n_parts=n),
            (op.join_columns(graph, latent, turned), latent),
            store=graph.kv(n_head_kv=1, k_dim=self.rank + self.turned, v_dim=self.rank),
            n_heads=n,
            scale=self.scale,
        )
        h = building.leave(h)
        return head_product(graph, h, f"{block}.attn_v_b", n_heads=n, k=self.rank, width=self.v_dim)

    def _plain(self, building: Building, q: Value, latent: Value, turned: Value) -> Value:
        graph, block, n = building.graph, building.block, self.n_heads
        step = self.plain + self.v_dim
        k, v = (
            op.linear(
                graph,
                latent,
                f"{block}.attn_kv_b",
                width=n * width,
                ranges=tuple(range(head * step + first, head * step + first + width) for head in range(n)),
                of=n * step,
            )
            for first, width in ((0, self.plain), (self.plain, self.v_dim))
        )
        h = op.attention(
            graph,
            q,
            (op.join_columns(graph, k, turned, n_parts=n, is_shared=True), v),
            store=graph.kv(n_head_kv=n, k_dim=self.plain + self.turned, v_dim=self.v_dim),
            n_heads=n,
            scale=self.scale,
        )
        return building.leave(h)
