"""Python types as JSON schemas, and JSON as their instances: dataclasses, TypedDicts and what they are made of.

pydantic is used where it is asked for, by one of its models, and for annotations that are not known here."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import json
import sys
import types
import typing
import uuid
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Literal, Union, get_args, get_origin

from oxillama.errors import GrammarError

_PLAIN: dict[Any, dict[str, Any]] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    type(None): {"type": "null"},
    None: {"type": "null"},
    Any: {},
    object: {},
    dict: {"type": "object"},
    list: {"type": "array"},
    datetime.date: {"type": "string", "format": "date"},
    datetime.datetime: {"type": "string", "format": "date-time"},
    datetime.time: {"type": "string", "format": "time"},
    uuid.UUID: {"type": "string", "format": "uuid"},
    Decimal: {"type": "string", "pattern": r"^-?(?:0|[1-9]\d{0,20})(?:\.\d{1,20})?$"},
}
_FROM_TEXT: dict[Any, Callable[[str], Any]] = {
    datetime.date: datetime.date.fromisoformat,
    datetime.datetime: datetime.datetime.fromisoformat,
    datetime.time: datetime.time.fromisoformat,
    uuid.UUID: uuid.UUID,
    Decimal: Decimal,
}
_LISTS = (list, set, frozenset, Sequence)


class _UnknownTypeError(Exception):
    pass


def is_type(value: object) -> bool:
    """Whether a caller passed a type, and no schema."""
    return isinstance(value, type | types.UnionType | types.GenericAlias) or get_origin(value) is not None


class TypedSchema:
    """The schema of a type, and how its instances are made. Raises GrammarError for a type that has none."""

    def __init__(self, target: Any) -> None:
        self.target = target
        self._adapter: Any = None
        if not _is_pydantic(target):
            writer = _Writer()
            try:
                root = writer.schema(target)
                self.schema: Any = {**root, "$defs": writer.definitions} if writer.definitions else root
                return
            except _UnknownTypeError as error:
                self._adapter = _adapter(target, str(error))
        else:
            self._adapter = _adapter(target, "")
        self.schema = self._adapter.json_schema()

    def decode(self, value: Any) -> Any:
        """An instance made of decoded JSON. ValueError where it does not fit."""
        if self._adapter is not None:
            # From JSON, where texts stand for what JSON has no values of, also in a model that is strict.
            return self._adapter.validate_json(json.dumps(value))
        return _decoded(self.target, value)

    def __reduce__(self) -> tuple[Any, ...]:
        return TypedSchema, (self.target,)


def _is_pydantic(target: Any) -> bool:
    return isinstance(target, type) and (
        hasattr(target, "__pydantic_core_schema__") or hasattr(target, "__pydantic_fields__")
    )


def _adapter(target: Any, unknown: str) -> Any:
    try:
        from pydantic import PydanticSchemaGenerationError, PydanticUserError, TypeAdapter
        from pydantic.errors import PydanticInvalidForJsonSchema
    except ImportError:
        message = f"{unknown} is no type that a JSON schema can be made of here; with pydantic installed more are"
        raise GrammarError(message, param="schema") from None
    try:
        adapter = TypeAdapter(target)
        adapter.json_schema()
    except (PydanticSchemaGenerationError, PydanticUserError, PydanticInvalidForJsonSchema, TypeError) as error:
        name = getattr(target, "__name__", "the type")
        raise GrammarError(f"{name} has no JSON schema: {type(error).__name__}", param="schema") from None
    return adapter


class _Writer:
    """Writes the schema of a type; classes with members become definitions, so that they may hold themselves."""

    def __init__(self) -> None:
        self.definitions: dict[str, Any] = {}
        self._names: dict[Any, str] = {}

    def schema(self, target: Any) -> dict[str, Any]:
        target = _bare(target)
        if isinstance(target, typing.Hashable) and target in _PLAIN:
            return dict(_PLAIN[target])
        origin, arguments = get_origin(target), get_args(target)
        if origin is Literal:
            return {"enum": [_plain(each) for each in arguments]}
        if origin in (Union, types.UnionType):
            return {"anyOf": [self.schema(each) for each in arguments]}
        if origin in _LISTS and len(arguments) == 1:
            return {"type": "array", "items": self.schema(arguments[0])}
        if origin is tuple:
            return self._tuple(arguments)
        if origin in (dict, Mapping) and arguments[0] is str:
            return {"type": "object", "additionalProperties": self.schema(arguments[1])}
        if isinstance(target, type) and issubclass(target, enum.Enum):
            return self._enum(target)
        if _members(target) is not None:
            return self._class(target)
        raise _UnknownTypeError(getattr(target, "__name__", type(target).__name__))

    def _tuple(self, arguments: tuple[Any, ...]) -> dict[str, Any]:
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return {"type": "array", "items": self.schema(arguments[0])}
        items = [self.schema(each) for each in arguments]
        return {"type": "array", "prefixItems": items, "minItems": len(items), "maxItems": len(items)}

    def _enum(self, target: type[enum.Enum]) -> dict[str, Any]:
        values = [member.value for member in target]
        if not all(value is None or isinstance(value, str | int | float) for value in values):
            raise _UnknownTypeError(target.__name__)
        return {"enum": values}

    def _class(self, target: Any) -> dict[str, Any]:
        name = self._names.get(target)
        if name is None:
            name = self._names[target] = f"{target.__name__}{len(self._names) or ''}"
            members = _members(target) or {}
            self.definitions[name] = {}  # its place comes before those of its members
            self.definitions[name] = {
                "type": "object",
                "properties": {key: self.schema(kind) for key, (kind, _) in members.items()},
                "required": [key for key, (_, is_required) in members.items() if is_required],
                "additionalProperties": False,
            }
        return {"$ref": f"#/$defs/{name}"}


def _bare(target: Any) -> Any:
    """A type without what is said about it: Annotated, Required, NewType and the like."""
    while True:
        if get_origin(target) in (typing.Annotated, typing.Required, typing.NotRequired):
            target = get_args(target)[0]
        elif isinstance(target, typing.NewType):
            target = target.__supertype__
        elif sys.version_info >= (3, 12) and isinstance(target, typing.TypeAliasType):
            target = target.__value__
        else:
            return target


def _members(target: Any) -> dict[str, tuple[Any, bool]] | None:
    """The members of a dataclass or TypedDict: their types, and whether they must be there. None for others."""
    if not isinstance(target, type) or not (dataclasses.is_dataclass(target) or typing.is_typeddict(target)):
        return None
    try:
        hints = typing.get_type_hints(target, include_extras=True)
    except (NameError, TypeError) as error:
        raise GrammarError(f"an annotation of {target.__name__} cannot be read: {error}", param="schema") from None
    if typing.is_typeddict(target):
        required: frozenset[str] = target.__required_keys__  # type: ignore[attr-defined]
        # Annotations that are texts were not looked into when the class was made.
        said = {typing.Required: True, typing.NotRequired: False}
        return {name: (kind, said.get(get_origin(kind), name in required)) for name, kind in hints.items()}
    return {
        each.name: (hints[each.name], each.default is dataclasses.MISSING is each.default_factory)
        for each in dataclasses.fields(target)
        if each.init
    }


def _plain(member: Any) -> Any:
    """A member of a Literal as JSON has it."""
    return member.value if isinstance(member, enum.Enum) else member


def _decoded(target: Any, value: Any) -> Any:
    target = _bare(target)
    origin, arguments = get_origin(target), get_args(target)
    if target in (Any, object):
        return value
    if origin is Literal:
        found = [each for each in arguments if value == _plain(each) and type(value) is type(_plain(each))]
        _check(bool(found), target)
        return found[0]
    if target in (None, type(None)):
        _check(value is None, target)
        return None
    if target in _FROM_TEXT:
        _check(isinstance(value, str), target)
        return _from_text(target, value)
    if origin in (Union, types.UnionType):
        return _first(arguments, value)
    if origin in _LISTS or target is list:
        _check(isinstance(value, list), target)
        kind = origin if origin in (set, frozenset) else list
        return kind(_decoded(arguments[0] if arguments else Any, item) for item in value)
    if origin is tuple:
        _check(isinstance(value, list), target)
        kinds = [arguments[0]] * len(value) if arguments[1:] == (Ellipsis,) else arguments
        _check(len(kinds) == len(value), target)
        return tuple(_decoded(kind, item) for kind, item in zip(kinds, value, strict=True))
    if origin in (dict, Mapping) or target is dict:
        _check(isinstance(value, dict), target)
        return {key: _decoded(arguments[1] if arguments else Any, item) for key, item in value.items()}
    if isinstance(target, type) and issubclass(target, enum.Enum):
        return target(value)
    members = _members(target)
    if members is not None:
        return _instance(target, members, value)
    if target is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    _check(type(value) is target, target)
    return value


def _instance(target: Any, members: dict[str, tuple[Any, bool]], value: Any) -> Any:
    _check(isinstance(value, dict) and value.keys() <= members.keys(), target)
    missing = [name for name, (_, is_required) in members.items() if is_required and name not in value]
    if missing:
        raise ValueError(f"{target.__name__} has no {missing[0]}")
    return target(**{name: _decoded(members[name][0], item) for name, item in value.items()})


def _first(kinds: tuple[Any, ...], value: Any) -> Any:
    for kind in kinds:
        try:
            return _decoded(kind, value)
        except ValueError:
            continue
    raise ValueError("the value is of none of the types that it may have")


def _from_text(target: Any, text: str) -> Any:
    try:
        return _FROM_TEXT[target](text)
    except ArithmeticError:
        raise ValueError(f"the text is no {target.__name__}") from None


def _check(fits: bool, target: Any) -> None:
    if not fits:
        raise ValueError(f"the value is no {getattr(target, '__name__', target)}")
