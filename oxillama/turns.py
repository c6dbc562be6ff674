"""Turns of several engines in one process, so that together they have no more threads at work than one has."""

from __future__ import annotations

from oxillama._core.scheduling.turns import Turns

__all__ = ["Turns"]
