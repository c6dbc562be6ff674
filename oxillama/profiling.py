"""Where the time of an engine's steps goes, by operation; what `oxillama bench --profile` shows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

from oxillama._core.gguf.ggml_types import GGML_TYPES
from oxillama._core.scheduling.profile import Profile
from oxillama.engine import Engine
from oxillama.errors import EngineClosedError

# What a step is for; all the rest is what the 5 % of the project's goal are counted from.
MAIN_OPERATIONS = ("product", "attention")


@dataclass(frozen=True, slots=True)
class OperationTime:
    """Seconds per step of one thread in all operations of a kind, products apart by the shapes of their matrices."""

    name: str
    matrices: str
    calls: int
    seconds: float


@dataclass(slots=True)
class StepProfile:
    """Times in seconds, means over ``steps`` steps, of the thread that leads a step."""

    steps: int = 0
    step: float = 0.0
    operations: list[OperationTime] = field(default_factory=list)
    waiting: float = 0.0  # at barriers, for the other threads
    team: float = 0.0  # assembling the threads, and letting them go
    sampling: float = 0.0
    rest: float = 0.0  # filling the batch, text, telling the requests

    @property
    def other(self) -> float:
        """Everything but products, attention, and waiting for other threads to end theirs."""
        rows = sum(entry.seconds for entry in self.operations if entry.name not in MAIN_OPERATIONS)
        return rows + self.team + self.sampling + self.rest

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"other": self.other}


@dataclass(frozen=True)
class _Reading:
    operations: list[tuple[int, int]]
    n_steps: int
    walk_ns: int
    sample_ns: int
    step_ns: int

    @classmethod
    def of(cls, profile: Profile) -> _Reading:
        return cls(profile.operations(), profile.n_steps, profile.walk_ns, profile.sample_ns, profile.step_ns)


@contextmanager
def profiling(engine: Engine, done: Callable[[StepProfile], object] = lambda profile: None) -> Iterator[StepProfile]:
    """Times the engine's steps while the block runs; the profile is filled, and handed to ``done``, when it ends. Every
    request of the block should have ended by then: a step that still runs is counted in part."""
    program = engine.program
    if program is None:
        raise EngineClosedError("the engine is closed")
    found = StepProfile()
    profile = program.start_profile()
    before = _Reading.of(profile)
    try:
        yield found
    finally:
        program.stop_profile()
        _fill(found, program.operations(), before, _Reading.of(profile))
        done(found)


def _fill(
    found: StepProfile, described: list[tuple[str, list[tuple[int, int, int]]]], before: _Reading, after: _Reading
) -> None:
    found.steps = after.n_steps - before.n_steps
    if found.steps == 0:
        return
    unit = 1e-9 / found.steps
    seconds: dict[tuple[str, str], list[float]] = {}
    waited = 0
    for (name, matrices), earlier, later in zip(described, before.operations, after.operations, strict=True):
        seconds.setdefault((name, _shapes(matrices)), []).append((later[0] - earlier[0]) * unit)
        waited += later[1] - earlier[1]
    found.operations = sorted(
        (OperationTime(name, shapes, len(parts), sum(parts)) for (name, shapes), parts in seconds.items()),
        key=lambda entry: -entry.seconds,
    )
    walk = (after.walk_ns - before.walk_ns) * unit
    found.step = (after.step_ns - before.step_ns) * unit
    found.waiting = waited * unit
    found.team = walk - found.waiting - sum(entry.seconds for entry in found.operations)
    found.sampling = (after.sample_ns - before.sample_ns) * unit
    found.rest = found.step - walk - found.sampling


def _shapes(matrices: list[tuple[int, int, int]]) -> str:
    return " + ".join(f"{rows} x {k} {GGML_TYPES[type_id].name}" for type_id, rows, k in matrices)
