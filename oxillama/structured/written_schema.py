"""One JSON schema, keyword by keyword, in the few keywords that the engine holds exactly; or what cannot be held."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol, TypeAlias

from oxillama.errors import GrammarError
from oxillama.structured.formats import FREE_FORMATS, INTEGER_FORMATS, STRING_FORMATS
from oxillama.structured.keywords import ANNOTATIONS, counted, names, schemas, texts, types_of
from oxillama.structured.negation import negation, negation_of_condition
from oxillama.structured.patterns import PatternError, search_pattern
from oxillama.structured.schema_document import SchemaPath, refused

Written: TypeAlias = dict[str, Any] | bool

MAX_ALTERNATIVES = 10_000
MAX_PROPERTIES = 1000
MAX_DEPENDENCIES = 8
MAX_CONTAINED = 16
# Beyond it floating-point numbers, which bounds are read as, leave integers out.
MAX_EXACT = 2**53


class Whole(Protocol):
    """What a schema needs of the one that it is a part of."""

    is_old: bool
    is_closed: bool

    def written(self, node: Any, path: SchemaPath, depth: int) -> Written:
        """A schema inside another, `depth` levels below its definition."""
        ...

    def referred(self, node: Mapping[str, Any], path: SchemaPath) -> str:
        """The reference that is written for the one that a schema has."""
        ...

    def add_one_of(
        self, shape: dict[str, Any], path: SchemaPath, denials: list[Written] | None, context: dict[str, Any]
    ) -> None:
        """A `oneOf` that is written as `anyOf`, to be decided on when everything is known. `denials`: the opposite of
        each alternative, where all have one. `context`: `type` and `required` beside it."""
        ...

    def warn(self, warning: str) -> None: ...


class WrittenSchema:
    """One schema as it is written, keyword by keyword in the order of the schema: it is that of a reply's keys."""

    def __init__(self, whole: Whole, node: Mapping[str, Any], path: SchemaPath, depth: int) -> None:
        self._whole = whole
        self._node = node
        self._path = path
        self._depth = depth
        self._types = types_of(node, path)
        self._out: dict[str, Any] = {}
        self._besides: list[Any] = []  # what has to hold too, and has no keyword of its own

    def shape(self) -> Written:
        for keyword, value in self._node.items():
            self._keyword(keyword, value)
        if any(each is False for each in self._besides):
            return False
        besides = [each for each in self._besides if each is not True]
        if besides:
            self._out.setdefault("allOf", []).extend(besides)
        return self._out

    def _keyword(self, keyword: str, value: Any) -> None:
        match keyword:
            case "type":
                self._out["type"] = list(self._types or ()) if isinstance(value, list) else value
            case "$ref":
                self._out["$ref"] = self._whole.referred(self._node, self._path)
            case "enum" | "const":
                self._constants(keyword, value)
            case "anyOf" | "allOf" | "oneOf":
                self._alternatives(keyword, value)
            case "not":
                self._not(value)
            case "if" | "then" | "else":
                if keyword == "if":
                    self._condition(value)
            case "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" | "multipleOf":
                if self._may_be("number", "integer"):
                    self._number(keyword, value)
            case "pattern" | "format" | "minLength" | "maxLength":
                if keyword == "format" and self._may_be("integer", "number") and value in INTEGER_FORMATS:
                    low, high = INTEGER_FORMATS[value]
                    self._besides.append({"minimum": low, "maximum": high})
                elif self._may_be("string"):
                    self._string(keyword, value)
            case _ if keyword in _ARRAY_KEYWORDS:
                if self._may_be("array"):
                    self._array(keyword, value)
            case _ if keyword in _OBJECT_KEYWORDS:
                if self._may_be("object"):
                    self._object(keyword, value)
            case "$dynamicRef" | "$recursiveRef":
                raise refused(keyword, self._path, "cannot be held: it leads to another place for every reader")
            case "disallow" | "extends" | "divisibleBy":
                raise refused(keyword, self._path, "is of a draft that cannot be held")
            case _ if keyword not in ANNOTATIONS and not keyword.startswith("x-"):
                error = refused(keyword, self._path, "is no keyword of JSON Schema, so nothing is held to it")
                self._whole.warn(str(error))

    def _may_be(self, *types: str) -> bool:
        return self._types is None or any(name in self._types for name in types)

    def _child(self, value: Any, *steps: str | int) -> Written:
        return self._whole.written(value, (*self._path, *steps), self._depth + 1)

    def _refused(self, keyword: str, why: str) -> GrammarError:
        return refused(keyword, self._path, why)

    # --- any value

    def _constants(self, keyword: str, value: Any) -> None:
        if keyword == "const":
            self._out["const"] = value
            return
        if not isinstance(value, list):
            raise refused(keyword, self._path, "is no list", code="invalid_schema")
        if len(value) > MAX_ALTERNATIVES:
            raise self._refused(keyword, f"has {len(value)} values, at most {MAX_ALTERNATIVES} are allowed")
        self._out["enum"] = value
        if not value:
            self._besides.append(False)

    def _alternatives(self, keyword: str, value: Any) -> None:
        options = schemas(keyword, value, self._path)
        if len(options) > MAX_ALTERNATIVES:
            raise self._refused(keyword, f"has {len(options)} alternatives, at most {MAX_ALTERNATIVES} are allowed")
        written = [self._child(each, keyword, index) for index, each in enumerate(options)]
        if keyword == "allOf":
            self._out.setdefault("allOf", []).extend(written)
            if any(each is False for each in written):
                self._besides.append(False)
        elif keyword == "anyOf":
            self._out["anyOf"] = written
        else:
            shape = {"anyOf": written}
            self._whole.add_one_of(shape, self._path, self._denials(options), self._context())
            self._besides.append(shape)

    def _context(self) -> dict[str, Any]:
        context: dict[str, Any] = {} if self._types is None else {"type": list(self._types)}
        required = self._node.get("required")
        return {**context, "required": required} if isinstance(required, list) else context

    def _denials(self, options: list[Any]) -> list[Written] | None:
        denials = [negation(each) for each in options] if len(options) <= MAX_DEPENDENCIES else [None]
        if any(denial is None for denial in denials):
            return None
        return [self._child(denial, "oneOf", index) for index, denial in enumerate(denials)]

    def _not(self, value: Any) -> None:
        denied = negation(value)
        if denied is None:
            raise self._refused("not", "cannot be held, but for types and required properties")
        self._besides.append(self._child(denied, "not"))

    def _condition(self, condition: Any) -> None:
        if "then" not in self._node and "else" not in self._node:
            return
        denied = negation_of_condition(condition, self._node)
        if denied is None:
            raise self._refused("if", "cannot be held, but for required properties, types and constants of an enum")
        then, other = self._node.get("then", True), self._node.get("else", True)
        holds = {"allOf": [self._child(condition, "if"), self._child(then, "then")]}
        fails = {"allOf": [self._child(denied, "if"), self._child(other, "else")]}
        self._besides.append({"anyOf": [holds, fails]})

    # --- numbers and strings

    def _number(self, keyword: str, value: Any) -> None:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if self._whole.is_old and isinstance(value, bool) and keyword.startswith("exclusive"):
            return  # draft 4: said beside minimum and maximum, which look at it
        if not is_number:
            raise refused(keyword, self._path, "is no number", code="invalid_schema")
        if keyword == "multipleOf":
            self._multiple(value)
            return
        is_least = keyword in ("minimum", "exclusiveMinimum")
        if abs(value) > MAX_EXACT:
            if (value > 0) == is_least:
                raise self._refused(keyword, f"is beyond {MAX_EXACT}, where bounds are not exact")
            value = MAX_EXACT if value > 0 else -MAX_EXACT
        strict = "exclusiveMinimum" if is_least else "exclusiveMaximum"
        name = strict if self._node.get(strict) is True and self._whole.is_old else keyword
        self._out[name] = value

    def _multiple(self, value: float) -> None:
        if value <= 0:
            raise refused("multipleOf", self._path, "must be above 0", code="invalid_schema")
        scaled = value * 10**6
        if value >= 10**9 or abs(scaled - round(scaled)) > 1e-6 or round(scaled) == 0:
            raise self._refused("multipleOf", "must be below 10**9, with at most 6 decimals")
        self._out["multipleOf"] = value

    def _string(self, keyword: str, value: Any) -> None:
        if keyword in ("minLength", "maxLength"):
            self._out[keyword] = counted(keyword, value, self._path)
            return
        if not isinstance(value, str):
            raise refused(keyword, self._path, "is no text", code="invalid_schema")
        if keyword == "pattern":
            self._out["pattern"] = self._pattern(value, "pattern")
        elif value in STRING_FORMATS:
            pattern = f"^(?:{STRING_FORMATS[value]})$"
            if "pattern" in self._node:
                self._besides.append({"pattern": pattern})
            else:
                self._out["pattern"] = pattern
        elif value not in FREE_FORMATS and not (value in INTEGER_FORMATS or value in ("float", "double")):
            raise self._refused(keyword, "names a format that is not known")

    def _pattern(self, pattern: str, *keyword: str) -> str:
        try:
            return search_pattern(pattern)
        except PatternError as error:
            where = f"{error}, at character {error.at + 1}"
            raise refused(keyword[-1], (*self._path, *keyword[:-1]), where) from None

    # --- arrays

    def _array(self, keyword: str, value: Any) -> None:
        match keyword:
            case "items" if isinstance(value, list):
                self._tuple("items", value)
                if "additionalItems" in self._node:
                    self._out["items"] = self._child(self._node["additionalItems"], "additionalItems")
            case "items":
                self._out["items"] = self._child(value, "items")
            case "prefixItems":
                self._tuple(keyword, value)
            case "minItems" | "maxItems":
                self._out[keyword] = counted(keyword, value, self._path)
            case "uniqueItems" if value is True:
                self._unique()
            case "contains":
                self._contains(value)
            case "minContains" | "maxContains":
                if counted(keyword, value, self._path) and "contains" in self._node and keyword == "maxContains":
                    raise self._refused(keyword, "cannot be held")
            case "unevaluatedItems" if value not in (True, {}):
                if self._has_applicator() or "contains" in self._node:
                    raise self._refused(keyword, "cannot be held beside schemas that apply to the same value")
                items = self._node.get("items")
                if items is None or (isinstance(items, list) and "additionalItems" not in self._node):
                    self._out["items"] = self._child(value, keyword)

    def _tuple(self, keyword: str, value: Any) -> None:
        each = schemas(keyword, value, self._path)
        if len(each) > MAX_PROPERTIES:
            raise self._refused(keyword, f"has {len(each)} schemas, at most {MAX_PROPERTIES} are allowed")
        written = [self._child(one, keyword, index) for index, one in enumerate(each)]
        if written:
            self._out["prefixItems"] = written

    def _unique(self) -> None:
        longest = self._node.get("maxItems")
        items = self._node.get("items")
        constants = items.get("enum") if isinstance(items, Mapping) else None
        if isinstance(longest, int) and longest <= 1:
            return
        if isinstance(constants, list) and 0 < len(constants) <= 4 and "prefixItems" not in self._node:
            self._besides.append({"anyOf": [_fixed(each) for each in _arrangements(constants)]})
            return
        raise self._refused("uniqueItems", "cannot be held, but for at most one item or an enum of at most four")

    def _contains(self, value: Any) -> None:
        least = counted("minContains", self._node.get("minContains", 1), self._path)
        if least == 0:
            return
        if least > MAX_CONTAINED or "prefixItems" in self._node or isinstance(self._node.get("items"), list):
            raise self._refused("contains", f"cannot be held beside prefixItems or more than {MAX_CONTAINED} times")
        found = self._child(value, "contains")
        self._besides.append({"prefixItems": [found] * least, "minItems": least})

    # --- objects

    def _object(self, keyword: str, value: Any) -> None:
        match keyword:
            case "properties":
                self._out["properties"] = self._properties(value)
                if self._whole.is_closed and not {"additionalProperties", "allOf"} & self._node.keys():
                    self._out.setdefault("additionalProperties", False)
            case "additionalProperties":
                self._out[keyword] = self._child(value, keyword)
            case "patternProperties":
                self._out[keyword] = {
                    self._pattern(name, keyword, name): self._child(each, keyword, name)
                    for name, each in self._mapping(keyword, value).items()
                }
            case "required":
                if not (self._whole.is_old and isinstance(value, bool)):
                    self._out["required"] = texts(keyword, value, self._path)
            case "minProperties" | "maxProperties":
                self._num_properties(keyword, counted(keyword, value, self._path))
            case "propertyNames":
                self._property_names(value)
            case "dependentRequired" | "dependentSchemas" | "dependencies":
                self._dependencies(keyword, self._mapping(keyword, value))
            case "unevaluatedProperties" if value not in (True, {}):
                if self._has_applicator():
                    raise self._refused(keyword, "cannot be held beside schemas that apply to the same value")
                if "additionalProperties" not in self._node:
                    self._out["additionalProperties"] = self._child(value, keyword)

    def _mapping(self, keyword: str, value: Any) -> Mapping[str, Any]:
        if not isinstance(value, Mapping):
            raise refused(keyword, self._path, "is no object", code="invalid_schema")
        if len(value) > MAX_PROPERTIES:
            raise self._refused(keyword, f"has {len(value)} members, at most {MAX_PROPERTIES} are allowed")
        return value

    def _properties(self, value: Any) -> dict[str, Written]:
        return {
            name: self._child(each, "properties", name) for name, each in self._mapping("properties", value).items()
        }

    def _num_properties(self, keyword: str, number: int) -> None:
        required = self._node.get("required")
        n_required = len(set(required)) if isinstance(required, list) else 0
        if keyword == "minProperties":
            if number <= n_required:
                return
            if number > 1:
                # Keys that no schema names might be the same, and then count once.
                raise self._refused(keyword, "cannot be held above 1 and above the number of required properties")
        else:
            named = self._node.get("properties")
            n_named = len(named) if isinstance(named, Mapping) else 0
            if (
                number >= n_named
                and self._node.get("additionalProperties") is False
                and ("patternProperties" not in self._node)
            ):
                return
        self._out[keyword] = number

    def _property_names(self, value: Any) -> None:
        if value is False:
            self._besides.append({"properties": {}, "additionalProperties": False})
            return
        if value is True:
            return
        named = self._node.get("properties", {})
        rules = {key: each for key, each in self._mapping("propertyNames", value).items() if key not in ANNOTATIONS}
        if rules.get("type") == "string":
            del rules["type"]
        listed = rules.get("enum", [rules["const"]] if "const" in rules else None)
        if not rules:
            return
        if len(rules) == 1 and isinstance(listed, list) and not named and "patternProperties" not in self._node:
            rest = self._child(self._node.get("additionalProperties", True), "additionalProperties")
            allowed = {name: rest for name in listed if isinstance(name, str)}
            self._besides.append({"properties": allowed, "additionalProperties": False})
            return
        if named or "patternProperties" in self._node or not rules.keys() <= {"pattern", "minLength", "maxLength"}:
            raise self._refused("propertyNames", "cannot be held, but for an enum, a pattern or a length alone")
        if "pattern" in rules and len(rules) > 1:
            raise self._refused("propertyNames", "cannot be held with a pattern and a length")
        if "pattern" in rules:
            pattern = self._pattern(rules["pattern"], "propertyNames", "pattern")
        else:
            path = (*self._path, "propertyNames")
            low = counted("minLength", rules.get("minLength", 0), path)
            high = counted("maxLength", rules["maxLength"], path) if "maxLength" in rules else ""
            pattern = f"^(?s:.){{{low},{high}}}$"
        rest = self._child(self._node.get("additionalProperties", True), "additionalProperties")
        self._out.pop("additionalProperties", None)
        self._besides.append({"patternProperties": {pattern: rest}, "additionalProperties": False})

    def _dependencies(self, keyword: str, value: Mapping[str, Any]) -> None:
        if len(value) > MAX_DEPENDENCIES:
            raise self._refused(keyword, f"has {len(value)} members, at most {MAX_DEPENDENCIES} can be held")
        for name, needed in value.items():
            if isinstance(needed, list):
                wanted: Written = {"required": texts(keyword, needed, (*self._path, keyword))}
            else:
                wanted = self._child(needed, keyword, name)
            self._besides.append({"anyOf": [{"properties": {name: False}}, wanted]})

    def _has_applicator(self) -> bool:
        return not _APPLICATORS.isdisjoint(self._node)


_ARRAY_KEYWORDS = names(
    "items prefixItems additionalItems minItems maxItems uniqueItems contains minContains maxContains unevaluatedItems"
)
_OBJECT_KEYWORDS = names(
    "properties additionalProperties patternProperties required minProperties maxProperties propertyNames "
    "dependentRequired dependentSchemas dependencies unevaluatedProperties"
)
_APPLICATORS = names("allOf anyOf oneOf not if $ref $dynamicRef $recursiveRef dependentSchemas")


def _arrangements(values: list[Any]) -> Iterator[list[Any]]:
    """Every list of some of the values, in every order."""
    pending: list[list[Any]] = [[]]
    while pending:
        one = pending.pop()
        yield one
        pending.extend([*one, value] for value in values if value not in one)


def _fixed(values: list[Any]) -> dict[str, Any]:
    if not values:
        return {"maxItems": 0}
    return {"prefixItems": [{"const": value} for value in values], "minItems": len(values), "maxItems": len(values)}
