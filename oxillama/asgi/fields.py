"""Every field of a request body, per route: implemented, harmless, or refused, and why. Documented from here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from oxillama.asgi.errors import refusal

Status = Literal["implemented", "harmless", "refused"]
Origin = Literal["openai", "llama-server", "vllm", "oxillama"]


@dataclass(frozen=True)
class Field:
    """One field. `why`: what it does, why it may be ignored, or why it is refused.

    `neutral`: values of a refused field that ask for nothing, besides null: they are accepted."""

    name: str
    status: Status
    why: str
    origin: Origin = "openai"
    neutral: tuple[Any, ...] = ()


class FieldTable:
    """The fields of one route's body."""

    def __init__(self, route: str, *groups: Iterable[Field]) -> None:
        self.route = route
        self.fields: dict[str, Field] = {}
        for group in groups:
            for field in group:
                if field.name in self.fields:
                    raise ValueError(f"{route}: the field {field.name} is in the table twice")
                self.fields[field.name] = field

    def check(self, given: Mapping[str, msgspec.Raw]) -> None:
        """Raises HTTPError for a field that is refused or that nobody knows."""
        for name, raw in given.items():
            field = self.fields.get(name)
            if field is None:
                raise refusal(f"`{name}` is not a field of {self.route}", name, code="unknown_field")
            if field.status == "refused" and not _is_neutral(field, bytes(raw)):
                raise refusal(f"`{name}` is not supported: {field.why}", name, code="unsupported_field")

    def names(self, status: Status) -> frozenset[str]:
        return frozenset(name for name, field in self.fields.items() if field.status == status)


def implemented(names: str, why: str, origin: Origin = "openai") -> list[Field]:
    """Fields of one meaning, separated by spaces."""
    return [Field(name, "implemented", why, origin) for name in names.split()]


def harmless(names: str, why: str, origin: Origin = "openai") -> list[Field]:
    return [Field(name, "harmless", why, origin) for name in names.split()]


def refused(names: str, why: str, origin: Origin = "openai", *, neutral: tuple[Any, ...] = ()) -> list[Field]:
    return [Field(name, "refused", why, origin, neutral) for name in names.split()]


def _is_neutral(field: Field, raw: bytes) -> bool:
    if raw == b"null":
        return True
    try:
        value = msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        return False
    # 0 == False, but only one of them is what the client would have left out.
    return any(value == other and type(value) is type(other) for other in field.neutral)
