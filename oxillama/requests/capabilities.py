"""What a model can be asked for."""

from __future__ import annotations

from typing import Literal, TypeAlias

from oxillama.network.loader import Model
from oxillama.requests.pairs import TEMPLATE_KEY

Capability: TypeAlias = Literal["generate", "embed", "rerank"]


def capabilities(model: Model) -> frozenset[Capability]:
    """generate: it writes, so it also chats and decides. embed: it has hidden states to make vectors of. rerank: it has
    a classifier, or a template that asks it for yes or no."""
    heads = model.heads
    found: set[Capability] = set()
    if heads.has_logits:
        found.add("generate")
    if heads.embedding:
        found.add("embed")
    if can_rank(model):
        found.add("rerank")
    return frozenset(found)


def can_rank(model: Model) -> bool:
    return bool(model.heads.scores or (model.heads.has_logits and TEMPLATE_KEY in model.metadata))
