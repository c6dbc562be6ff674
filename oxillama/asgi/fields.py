"""Every field of a request body, per route: implemented, harmless, or refused, and why. Documented from here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from oxillama.asgi.errors import HTTPError, refusal

Status = Literal["implemented", "harmless", "refused"]
Origin = Literal["openai", "llama-server", "vllm", "tei", "oxillama"]


@dataclass(frozen=True)
class Field:
    """One field. `why`: what it does, why it may be ignored, or why it is refused.

    `neutral`: the values that are accepted, besides null: of a refused field, since they ask for nothing; of an
    implemented one, since the others are not supported. None: any."""

    name: str
    status: Status
    why: str
    origin: Origin = "openai"
    neutral: tuple[Any, ...] | None = None

    def accepts(self, raw: bytes) -> bool:
        """Whether a value, in JSON, is one that may be given."""
        if self.neutral is None:
            return self.status != "refused"
        try:
            value = without_nulls(msgspec.json.decode(raw))
        except (msgspec.DecodeError, RecursionError):
            return False
        # 0 == False, but only one of them is what the client would have left out.
        return any(value == other and type(value) is type(other) for other in self.neutral)


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
        """Raises HTTPError for a field that is refused or that nobody knows, unless it is null."""
        for name, raw in given.items():
            if is_null(raw):
                continue
            field = self.fields.get(name)
            if field is None:
                raise refusal(f"`{name}` is not a field of {self.route}", name, code="unknown_field")
            if not field.accepts(bytes(raw)):
                raise unsupported(name, field.why)

    def names(self, status: Status) -> frozenset[str]:
        return frozenset(name for name, field in self.fields.items() if field.status == status)


def implemented(names: str, why: str, origin: Origin = "openai", *, only: tuple[Any, ...] | None = None) -> list[Field]:
    """Fields of one meaning, separated by spaces. `only`: the values that are supported."""
    return [Field(name, "implemented", why, origin, only) for name in names.split()]


def harmless(names: str, why: str, origin: Origin = "openai") -> list[Field]:
    return [Field(name, "harmless", why, origin) for name in names.split()]


def refused(names: str, why: str, origin: Origin = "openai", *, neutral: tuple[Any, ...] | None = None) -> list[Field]:
    return [Field(name, "refused", why, origin, neutral) for name in names.split()]


def unsupported(path: str, why: str) -> HTTPError:
    """The refusal of what a client may ask for elsewhere, but not here."""
    return refusal(f"`{path}` is not supported: {why}", path, code="unsupported_field")


def is_null(raw: msgspec.Raw) -> bool:
    return memoryview(raw).nbytes == 4 and bytes(raw) == b"null"


def without_nulls(value: Any) -> Any:
    """JSON without the members of objects that are null: to say null is to leave out."""
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    return [without_nulls(item) for item in value] if isinstance(value, list) else value
