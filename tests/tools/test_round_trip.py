"""What templates write is read back: the calls of every recorded template, in every cut."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oxillama.tools.probe import probe
from oxillama.tools.reader import ReplyReader
from tests.tools.conversations import SCHEMAS, Call, calls_of, cut, read, written

# They know no tools; the generic form is used.
WITHOUT_CALLS = {"google-gemma-2-2b-it", "llama-cpp-rwkv-world", "microsoft-Phi-3.5-mini-instruct"}


@pytest.fixture(scope="module")
def templates(fixtures_dir: Path) -> dict[str, str]:
    return {path.stem: path.read_text() for path in sorted((fixtures_dir / "chat_templates").glob("*.jinja"))}


def same(one: Any, other: Any) -> bool:
    # As JSON: 1 and 1.0 and True are not the same.
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def failures(template: str, calls: list[Call], sizes: list[int]) -> str | None:
    text = written(template, calls)
    replies = [read(ReplyReader(probe(template), SCHEMAS, split_thinking=False), cut(text, size)) for size in sizes]
    if any(reply != replies[0] for reply in replies):
        return f"the cut matters: {text!r}"
    if not same(replies[0].parsed(), calls) or not all(replies[0].whole):
        return f"{text!r} was read as {replies[0]}"
    return None


SIMPLE: list[Call] = [
    ("get_weather", {"city": "Köln 😀", "days": 3, "loud": True, "rows": [1, None, {"x": 1.5}], "more": {"k": "v"}}),
    ("look-up", {"city": 'a "quoted" text', "ratio": 0.25}),
    ("f9", {}),
]


def test_every_template_that_writes_calls_is_read_back(templates: dict[str, str]) -> None:
    """The share of templates: all that render calls."""
    told: dict[str, str | None] = {}
    for name, template in templates.items():
        syntax = probe(template)
        assert syntax.calls == (name not in WITHOUT_CALLS), name
        if syntax.calls:
            calls = SIMPLE if syntax.parallel else SIMPLE[:1]
            told[name] = failures(template, calls, [1, 2, 7, 1 << 20])
    assert {name: why for name, why in told.items() if why} == {}
    assert len(told) == len(templates) - len(WITHOUT_CALLS)


def check_any(templates: dict[str, str], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(set(templates) - WITHOUT_CALLS)))
    calls = data.draw(calls_of(probe(templates[name])))
    assert failures(templates[name], calls, [data.draw(st.integers(1, 9)), 1 << 20]) is None, name


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(data=st.data())
def test_any_calls_are_read_back(templates: dict[str, str], data: st.DataObject) -> None:
    check_any(templates, data)


@pytest.mark.slow
@settings(max_examples=5000, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_many_calls_are_read_back(templates: dict[str, str], data: st.DataObject) -> None:
    check_any(templates, data)
