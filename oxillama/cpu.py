"""What processor this is to us: the instruction-set level in use, and those that could be."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from oxillama._core.network.kernels import active_level, compiled_levels, usable_levels
from oxillama.limits import default_threads
from oxillama.structured.backend import backend_name


@dataclass(frozen=True, kw_only=True, slots=True)
class CpuInfo:
    """`isa` is the level in use; `usable` and `compiled` are levels from slow to fast; `threads` is the default.
    `grammar_engine` is what grammars run on, and how; None: nothing is installed for them."""

    isa: str
    usable: tuple[str, ...]
    compiled: tuple[str, ...]
    threads: int
    model_name: str
    grammar_engine: str | None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def cpu_info() -> CpuInfo:
    """The instruction-set levels of this build and machine. ``OXILLAMA_ISA`` forces one, before the first import."""
    return CpuInfo(
        isa=active_level(),
        usable=usable_levels(),
        compiled=compiled_levels(),
        threads=default_threads(),
        model_name=_model_name(),
        grammar_engine=backend_name(),
    )


def _model_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
