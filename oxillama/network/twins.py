"""The forms in which products read their input beside float32: nodes that lowering inserts (docs/design/program.md)."""

from __future__ import annotations

from dataclasses import dataclass

from oxillama.network.graph import Node


@dataclass(frozen=True, eq=False)
class Quantize(Node):
    """Makes the twin of the value it reads: the forms, as bits, in which products want it."""

    kind = "quantize"
    forms: int


@dataclass(frozen=True, eq=False)
class Rest(Node):
    """What the int8 form of a value leaves over: with a twin of its own the two have 15 bits together. Made by lowering
    for networks that read texts as a whole, and of exact weights."""

    kind = "rest"
