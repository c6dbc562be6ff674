"""The tables of fields: complete for every client, true to the Structs, and what they do to a request."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from openai.types import chat as openai_chat
from openai.types.chat import ChatCompletionStreamOptionsParam

from oxillama.asgi.app import FIELD_TABLES
from oxillama.asgi.errors import HTTPError
from oxillama.asgi.fields import FieldTable, harmless, implemented, refused
from oxillama.asgi.operations import OPERATIONS
from oxillama.asgi.stream_options import StreamOptions
from oxillama.chat.messages import _KEYS
from tests.asgi.openai_fields import PARAMETERS, installed_fields, installed_version

TABLES = {table.route: table for table in FIELD_TABLES}
RECORDED: dict[str, dict[str, str]] = json.loads(Path(__file__).with_name("openai_fields.json").read_text("utf-8"))


@pytest.mark.parametrize("version", [*RECORDED, "installed"])
@pytest.mark.parametrize("route", sorted(PARAMETERS.keys() & TABLES.keys()))
def test_every_field_of_the_official_client_is_in_the_table(version: str, route: str) -> None:
    fields = installed_fields()[route] if version == "installed" else RECORDED[version][route].split()
    assert len(fields) >= 5
    missing = set(fields) - TABLES[route].fields.keys()
    assert not missing, "the table does not say what becomes of these"


def test_two_majors_are_recorded_as_they_are() -> None:
    assert len({version.partition(".")[0] for version in RECORDED}) == 2
    if installed_version() in RECORDED:
        recorded = {route: names.split() for route, names in RECORDED[installed_version()].items()}
        assert recorded == installed_fields()


def test_the_chat_s_own_routes_are_all_there() -> None:
    assert {"/v1/chat/completions", "/v1/completions", "/v1/embeddings"} <= TABLES.keys()


def test_every_stream_option_of_the_client_is_known() -> None:
    assert set(StreamOptions.__struct_fields__) == set(ChatCompletionStreamOptionsParam.__annotations__)


@pytest.mark.parametrize("role", ["system", "developer", "user", "assistant", "tool"])
def test_every_key_of_the_client_s_messages_is_known(role: str) -> None:
    param = getattr(openai_chat, f"ChatCompletion{role.title()}MessageParam")
    assert set(param.__annotations__) <= _KEYS[role]


@pytest.mark.parametrize(
    "operation", [each for each in OPERATIONS if each.body and each.fields], ids=lambda each: each.path
)
def test_the_struct_has_what_the_table_says_is_implemented(operation: Any) -> None:
    known = set(operation.body.__struct_fields__)
    assert operation.fields.names("implemented") <= known
    assert not known & (operation.fields.names("harmless") | operation.fields.names("refused"))
    assert operation.fields.route == operation.path


def table() -> FieldTable:
    return FieldTable(
        "/x",
        implemented("a b", "works"),
        harmless("c", "no matter"),
        refused("d", "cannot be", neutral=(False, [], {"type": "text"})),
    )


def check(**given: Any) -> None:
    table().check(msgspec.json.decode(msgspec.json.encode(given), type=dict[str, msgspec.Raw]))


@pytest.mark.parametrize("value", [None, False, [], {"type": "text"}])
def test_a_refused_field_that_asks_for_nothing_is_accepted(value: Any) -> None:
    check(a=1, c="anything", d=value)


@pytest.mark.parametrize("value", [0, True, "", {}, [1], {"type": "text", "more": 1}, {"type": "json"}])
def test_a_refused_field_is_named_with_its_reason(value: Any) -> None:
    with pytest.raises(HTTPError) as caught:
        check(a=1, d=value)
    assert (caught.value.status, caught.value.param, caught.value.code) == (400, "d", "unsupported_field")
    assert "cannot be" in caught.value.message


def test_a_field_in_no_table_is_named() -> None:
    with pytest.raises(HTTPError) as caught:
        check(a=1, e=0)
    assert (caught.value.status, caught.value.param, caught.value.code) == (400, "e", "unknown_field")


def test_null_leaves_any_field_out() -> None:
    check(a=None, c=None, d=None, e=None)


@pytest.mark.parametrize("value", [{"type": "text", "schema": None}, {"type": "text", "more": None, "": None}])
def test_null_leaves_out_inside_of_a_neutral_value_too(value: Any) -> None:
    check(d=value)


def test_only_some_values_may_be_supported() -> None:
    some = FieldTable("/x", implemented("a", "works", only=("auto", 1)))
    for value in (b'"auto"', b"1", b"null"):
        some.check({"a": msgspec.Raw(value)})
    for value in (b'"required"', b"true", b"{}"):
        with pytest.raises(HTTPError) as caught:
            some.check({"a": msgspec.Raw(value)})
        assert (caught.value.param, caught.value.code) == ("a", "unsupported_field")


def test_a_field_is_in_a_table_once() -> None:
    with pytest.raises(ValueError, match="twice"):
        FieldTable("/x", implemented("a", ""), harmless("a", ""))


def test_every_field_says_why() -> None:
    for each in FIELD_TABLES:
        for field in each.fields.values():
            assert len(field.why) > 2, (each.route, field.name)
