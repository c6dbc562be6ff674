"""Each format's pattern, against values and against the validator's own checks."""

from __future__ import annotations

import json

import pytest

from oxillama import Grammar
from oxillama.structured.formats import STRING_FORMATS
from tests.structured.walks import accepts, walk

jsonschema = pytest.importorskip("jsonschema")

RIGHT = {
    "date-time": "2024-02-29T23:59:59.5+01:00",
    "time": "00:00:00Z",
    "duration": "P1Y2M3DT4H5M6S",
    "email": "a.b-c@mail.example.org",
    "hostname": "www.example-site.org",
    "ipv4": "192.168.0.255",
    "ipv6": "2001:db8::8a2e:370:7334",
    "uuid": "123e4567-e89b-12d3-a456-426614174000",
    "uri": "https://example.org:8080/a/b?q=1#top",
    "uri-reference": "../a/b?q",
    "json-pointer": "/a~1b/0",
    "regex": "^[abc]+$",
    "byte": "aGVsbG8=",
}
WRONG = {
    "date-time": ["2024-02-30T00:00:00Z", "2024-01-01T24:00:00Z", "2024-01-01 00:00:00Z"],
    "time": ["23:59:60Z", "12:00Z"],
    "duration": ["P", "PT", "P1YT"],
    "email": ["a", "a@", "@b"],
    "hostname": ["-a.org", "a..b"],
    "ipv4": ["256.1.1.1", "1.2.3", "01.2.3.4"],
    "ipv6": [":::", "1:2:3:4:5:6:7", "12345::"],
    "uuid": ["123e4567-e89b-12d3-a456-42661417400"],
    "uri": ["//example.org/a", "http://a b"],
    "json-pointer": ["a", "/a~2"],
    "byte": ["a", "aGVsbG9="],
}


@pytest.mark.parametrize("name", RIGHT)
def test_values_are_told_apart(name: str) -> None:
    grammar = Grammar.json_schema({"type": "string", "format": name})
    assert accepts(grammar, json.dumps(RIGHT[name]))
    for value in WRONG.get(name, ()):
        assert not accepts(grammar, json.dumps(value)), value


@pytest.mark.parametrize("name", sorted(STRING_FORMATS))
def test_what_is_drawn_validates(name: str) -> None:
    schema = {"type": "string", "format": name}
    grammar = Grammar.json_schema(schema)
    validator = jsonschema.Draft202012Validator
    checker = validator(schema, format_checker=validator.FORMAT_CHECKER)
    for seed in range(15):
        reply = walk(grammar, seed)
        assert reply is None or checker.is_valid(json.loads(reply)), reply
