"""Python types as schemas, and replies as their instances."""

from __future__ import annotations

import datetime
import enum
import json
import pickle
import subprocess
import sys
import uuid
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import pytest

from oxillama import Grammar, GrammarError
from tests.structured.walks import accepts, walk


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclass
class Point:
    x: int
    y: float
    tags: list[str] = field(default_factory=list)
    color: Color | None = None


@dataclass
class Tree:
    value: int
    left: Tree | None = None
    right: Tree | None = None


class Entry(TypedDict):
    """As callers write them."""

    name: Annotated[str, "of a person"]
    kind: NotRequired[Literal["a", "b"]]


@dataclass
class Visit:
    day: datetime.date
    at: datetime.datetime
    by: uuid.UUID
    cost: Decimal
    entries: dict[str, Entry]
    place: tuple[int, float]
    seen: frozenset[str]


class Thing:
    """Nothing that JSON could say."""


@dataclass
class Odd:
    value: Thing


VISIT = {
    "day": "2024-02-29",
    "at": "2024-02-29T10:00:00Z",
    "by": "00000000-0000-4000-8000-000000000000",
    "cost": "12.50",
    "entries": {"x": {"name": "n"}},
    "place": [1, 2],
    "seen": ["a"],
}


@pytest.mark.parametrize(
    ("target", "value", "instance"),
    [
        (Point, {"x": 1, "y": 2, "color": "red"}, Point(1, 2.0, [], Color.RED)),
        (Tree, {"value": 1, "left": {"value": 2}}, Tree(1, Tree(2))),
        (Entry, {"name": "n", "kind": "b"}, {"name": "n", "kind": "b"}),
        (list[Point], [{"x": 1, "y": 2}], [Point(1, 2.0)]),
        (int | str, "x", "x"),
        (tuple[int, ...], [1, 2], (1, 2)),
        (Literal["a", 3], 3, 3),
        (dict[str, bool], {"a": True}, {"a": True}),
    ],
)
def test_a_reply_becomes_an_instance(target: Any, value: Any, instance: Any) -> None:
    grammar = Grammar.json_schema(target)
    text = json.dumps(value)
    assert accepts(grammar, text)
    assert grammar.decode(text) == instance


def test_dates_and_their_like_are_read_from_texts() -> None:
    visit = Grammar.json_schema(Visit).decode(json.dumps(VISIT))
    assert visit.day == datetime.date(2024, 2, 29)
    assert visit.at.tzinfo is not None
    assert (visit.cost, visit.place, visit.seen) == (Decimal("12.50"), (1, 2.0), frozenset("a"))


@pytest.mark.parametrize("target", [Point, Tree, Entry, Visit])
def test_whatever_is_drawn_is_one(target: Any) -> None:
    grammar = Grammar.json_schema(target)
    replies = [reply for seed in range(6) if (reply := walk(grammar, seed)) is not None]
    assert replies
    for reply in replies:
        grammar.decode(reply)


@pytest.mark.parametrize(
    ("target", "text"),
    [(Point, '{"x": 1}'), (Point, '{"x": true, "y": 1}'), (Point, "[1]"), (Color, '"green"'), (int, "1.5"), (int, "{")],
)
def test_what_does_not_fit_is_a_value_error(target: Any, text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        Grammar.json_schema(target).decode(text)


def test_types_have_no_other_properties() -> None:
    assert not accepts(Grammar.json_schema(Point), '{"x": 1, "y": 2, "z": 3}')


def test_an_unknown_annotation_is_told() -> None:
    with pytest.raises(GrammarError, match=r"has no JSON schema|with pydantic installed"):
        Grammar.json_schema(Odd)


def test_a_grammar_of_a_type_can_be_pickled() -> None:
    grammar = pickle.loads(pickle.dumps(Grammar.json_schema(Point)))
    assert grammar.decode('{"x": 1, "y": 2}') == Point(1, 2.0)


def test_pydantic_models_are_validated_by_pydantic() -> None:
    pydantic = pytest.importorskip("pydantic")

    class Cat(pydantic.BaseModel):  # type: ignore[name-defined, misc]
        kind: Literal["cat"]
        lives: int = pydantic.Field(ge=0, le=9)

    class Dog(pydantic.BaseModel):  # type: ignore[name-defined, misc]
        kind: Literal["dog"]
        name: str = pydantic.Field(pattern="^[A-Z][a-z]+$", max_length=8)

    Cat.model_rebuild(_types_namespace={"Literal": Literal})
    Dog.model_rebuild(_types_namespace={"Literal": Literal})
    grammar = Grammar.json_schema(list[Annotated[Cat | Dog, pydantic.Field(discriminator="kind")]])
    assert accepts(grammar, '[{"kind": "cat", "lives": 9}, {"kind": "dog", "name": "Rex"}]')
    assert not accepts(grammar, '[{"kind": "cat", "lives": 10}]')
    pets = grammar.decode('[{"kind": "cat", "lives": 9}]')
    assert pets == [Cat(kind="cat", lives=9)]


def test_own_types_need_no_pydantic() -> None:
    code = (
        "import sys; sys.modules['pydantic'] = None\n"
        "from dataclasses import dataclass\n"
        "from oxillama import Grammar, GrammarError\n"
        "@dataclass\nclass A:\n    x: int\n"
        "print(Grammar.json_schema(A).decode('{\"x\": 1}'))\n"
        "try: Grammar.json_schema(list[complex])\n"
        "except GrammarError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines() == [
        "A(x=1)",
        "complex is no type that a JSON schema can be made of here; with pydantic installed more are",
    ]


def test_members_of_an_enumeration_in_a_literal_are_their_values() -> None:
    @dataclass
    class Paint:
        color: Literal[Color.RED, "none"]

    grammar = Grammar.json_schema(Paint)
    assert accepts(grammar, '{"color":"red"}')
    assert not accepts(grammar, '{"color":"blue"}')
    assert grammar.decode('{"color":"red"}') == Paint(Color.RED)
    assert grammar.decode('{"color":"none"}') == Paint("none")
