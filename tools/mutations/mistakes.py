"""The list of deliberate mistakes."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
LIST = Path(__file__).with_name("mistakes.toml")


@dataclass(frozen=True)
class Mistake:
    """See `mistakes.toml`. modules: names below oxillama._core."""

    name: str
    file: str
    before: str
    after: str
    test: str
    modules: list[str]

    def applied_to(self, text: str) -> str:
        """Raises ValueError unless `before` is in the text once."""
        if (n := text.count(self.before)) != 1:
            raise ValueError(f"{self.file} has the text of {self.name!r} {n} times, expected once")
        return text.replace(self.before, self.after)


def read_mistakes() -> list[Mistake]:
    listed = tomllib.loads(LIST.read_text())["mistake"]
    return [Mistake(**{**one, "modules": one.get("modules", "").split()}) for one in listed]
