"""Grammars accept what templates write and the reader reads, and refuse what are no calls of the tools."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import llguidance
import pytest

from oxillama.errors import InvalidRequestError
from oxillama.tools.choice import tool_choice
from oxillama.tools.definitions import tool_set
from oxillama.tools.grammar import CallGrammar
from oxillama.tools.probe import probe
from oxillama.tools.reader import ReplyReader, ReplyState
from oxillama.tools.syntax import ReplySyntax
from oxillama.tools.table import SYNTAXES
from tests.tools.conversations import Call, cut, read, written

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "days": {"type": "integer"},
        "unit": {"enum": ["C", "F"]},
        "rows": {"type": "array", "items": {"type": "integer"}},
    },
    "required": ["city"],
    "additionalProperties": False,
}
TOOLS = tool_set(
    [
        {"type": "function", "function": {"name": name, "description": "d", "parameters": SCHEMA}}
        for name in ("get_weather", "look-up")
    ]
)
CALLS: list[Call] = [
    ("get_weather", {"city": "Bonn", "days": 3, "unit": "C", "rows": [1, 2]}),
    ("look-up", {"city": "Rome"}),
]
TOKENIZER = llguidance.LLTokenizer("byte")


def lark(syntax: ReplySyntax, choice: object = "required", state: ReplyState | None = None, **options: Any) -> str:
    text = CallGrammar(syntax, tool_choice(choice, TOOLS), state or ReplyState(answering=True), {}, **options).text()
    assert text is not None
    return text


def accepts(grammar: str, text: str) -> bool:
    matcher = llguidance.LLMatcher(TOKENIZER, llguidance.LLMatcher.grammar_from_lark(grammar))
    assert not matcher.get_error(), matcher.get_error()
    tokens = TOKENIZER.tokenize_str(text)
    return bool(
        matcher.validate_tokens(tokens) == len(tokens) and matcher.consume_tokens(tokens) and matcher.is_accepting()
    )


def turn(template: str, calls: list[Call], end: str) -> str:
    """What a template writes, without what ends the turn."""
    text = written(template, calls).lstrip()
    return text[: text.rindex(end) + len(end)] if end else text


@pytest.fixture(scope="module")
def templates(fixtures_dir: Path) -> dict[str, str]:
    return {path.stem: path.read_text() for path in sorted((fixtures_dir / "chat_templates").glob("*.jinja"))}


def test_what_a_template_writes_is_accepted_and_other_calls_are_not(templates: dict[str, str]) -> None:
    tried = 0
    for name, template in templates.items():
        syntax = probe(template)
        # The grammar leaves thinking to the prompt's state; a template writes it empty.
        if not syntax.calls or syntax.codec == "python":
            continue
        calls = CALLS if syntax.parallel else CALLS[:1]
        end = (syntax.section_close or syntax.close).strip() or "}"
        text = turn(template, calls, end)
        opening = (syntax.section_open or syntax.head).split("{name}")[0].strip() or "{"
        text = text[text.index(opening) :] if not syntax.starts_open else text
        if "DSML" in text or "<|open|>" in text:
            text = text.lstrip()
        grammar = lark(syntax)
        assert accepts(grammar, text), (name, text, grammar)
        assert not accepts(grammar, text.replace("get_weather", "get_whether")), name
        assert not accepts(grammar, text.replace("city", "town")), name
        assert not accepts(grammar, text[: len(text) // 2]), name
        tried += 1
    assert tried >= 28


@pytest.mark.parametrize(
    "name", ["hermes", "harmony", "functionary-3.2", "muse", "kimi-k3", "llama-3", "pythonic", "command-r"]
)
def test_named_syntaxes_have_grammars_that_the_engine_takes(name: str) -> None:
    grammar = lark(SYNTAXES[name])
    assert not accepts(grammar, "Hello")


def test_python_calls_are_held() -> None:
    grammar = lark(SYNTAXES["pythonic"])
    assert accepts(grammar, '[get_weather(city="x", days=3), look-up(city="y")]')
    assert accepts(grammar, '[get_weather(city="x")]')
    assert not accepts(grammar, "[get_weather(days=3)]")
    assert not accepts(grammar, '[get_weather(city="x", days="3")]')


HERMES = SYNTAXES["hermes"]
THINKING = ReplySyntax(**{**HERMES.to_dict(), "think_open": "<think>", "think_close": "</think>"})
CALL = '<tool_call>\n{"name": "look-up", "arguments": {"city": "x"}}\n</tool_call>'


def test_thinking_is_a_part_of_the_grammar() -> None:
    opened = lark(THINKING, state=ReplyState(thinking=True))
    assert accepts(opened, f"hm <tool_call> hm</think>\n\n{CALL}")
    assert not accepts(opened, CALL)
    free = lark(THINKING, state=ReplyState())
    assert accepts(free, f"<think>hm</think>\n\n{CALL}")
    assert accepts(free, CALL)
    closed = lark(THINKING, state=ReplyState(answering=True))
    assert not accepts(closed, f"<think>hm</think>\n\n{CALL}")


def test_a_named_tool_and_allowed_tools() -> None:
    assert not accepts(lark(HERMES, {"name": "get_weather"}), CALL)
    assert accepts(lark(HERMES, {"type": "function", "function": {"name": "look-up"}}), CALL)
    allowed = {
        "type": "allowed_tools",
        "allowed_tools": {"mode": "required", "tools": [{"type": "function", "name": "look-up"}]},
    }
    assert accepts(lark(HERMES, allowed), CALL)


def test_one_call_or_several() -> None:
    assert accepts(lark(HERMES), f"{CALL}\n{CALL}")
    assert not accepts(lark(HERMES, parallel=False), f"{CALL}\n{CALL}")


def strict(syntax: ReplySyntax, **options: Any) -> str:
    tools = tool_set(
        [
            {
                "type": "function",
                "function": {
                    "name": "look-up",
                    "parameters": SCHEMA | {"required": list(SCHEMA["properties"])},
                    "strict": True,
                },
            }
        ]
    )
    text = CallGrammar(syntax, tool_choice("auto", tools), ReplyState(answering=True), {}, **options).text()
    assert text is not None
    return text


def test_with_auto_a_strict_tool_is_held_where_it_is_called() -> None:
    whole = CALL.replace('"x"', '"x", "days": 1, "unit": "C", "rows": []')
    for text in ("Just words.", whole, f"Let me see.\n{whole}", f"a {whole} b {whole}\nc"):
        assert accepts(strict(HERMES), text), text
    for text in (CALL, f"words {CALL}", "<tool_call> words"):
        assert not accepts(strict(HERMES), text), text


def test_without_strict_auto_needs_no_grammar() -> None:
    assert CallGrammar(HERMES, tool_choice("auto", TOOLS), ReplyState(), {}).text() is None
    assert CallGrammar(HERMES, tool_choice("none", TOOLS), ReplyState(), {}).text() is None


def test_a_schema_that_cannot_be_held_is_named() -> None:
    tools = tool_set(
        [
            {
                "type": "function",
                "function": {"name": "f", "parameters": {"type": "object", "properties": {"a": {"type": "no"}}}},
            }
        ]
    )
    with pytest.raises(InvalidRequestError) as caught:
        CallGrammar(HERMES, tool_choice("required", tools), ReplyState(), {}).text()
    assert str(caught.value.param).startswith("tools[0].function.parameters")


def test_what_is_accepted_is_read() -> None:
    for syntax in (HERMES, SYNTAXES["pythonic"], SYNTAXES["llama-3"]):
        text = (
            CALL
            if syntax is HERMES
            else '[look-up(city="x")]'
            if syntax.codec == "python"
            else '{"name": "look-up", "parameters": {"city": "x"}}'
        )
        assert accepts(lark(syntax), text)
        assert read(ReplyReader(syntax, TOOLS.schemas), cut(text, 2)).parsed() == [("look-up", {"city": "x"})]


def strict_tools(schema: dict[str, Any]) -> Any:
    parameters = {"type": "object", "properties": {"x": schema}, "required": ["x"]}
    function = {"name": "f", "description": "d", "parameters": parameters, "strict": True}
    return tool_set([{"type": "function", "function": function}])


@pytest.mark.parametrize("codec", ["tagged", "braces"])
@pytest.mark.parametrize(
    ("schema", "word"),
    [
        ({"type": "string", "pattern": "^a+$"}, "pattern"),
        ({"type": "string", "minLength": 3}, "minLength"),
        ({"type": "string", "maxLength": 3}, "maxLength"),
        ({"type": "string", "format": "date"}, "format"),
        ({"enum": ["a", "b"], "pattern": "a"}, "pattern"),
        ({"type": "string", "const": "a", "enum": ["a", "b"]}, "enum"),
    ],
)
def test_what_a_text_between_markers_cannot_hold_is_refused_by_its_path(
    templates: dict[str, str], codec: str, schema: dict[str, Any], word: str
) -> None:
    syntax = next(found for found in map(probe, templates.values()) if found.codec == codec)
    with pytest.raises(InvalidRequestError) as caught:
        CallGrammar(syntax, tool_choice("required", strict_tools(schema)), ReplyState(answering=True), {}).text()
    assert caught.value.param == f"tools[0].function.parameters.properties.x.{word}"


@pytest.mark.parametrize(
    ("schema", "word"),
    [
        ({"type": "array", "items": {"type": "string"}, "minItems": 2}, "minItems"),
        ({"type": "array", "items": {"type": "string", "pattern": "a"}}, "items.pattern"),
        ({"type": "object", "properties": {}, "maxProperties": 1}, "maxProperties"),
    ],
)
def test_lists_and_objects_in_braces_hold_what_they_can(
    templates: dict[str, str], schema: dict[str, Any], word: str
) -> None:
    syntax = next(found for found in map(probe, templates.values()) if found.codec == "braces")
    with pytest.raises(InvalidRequestError) as caught:
        CallGrammar(syntax, tool_choice("required", strict_tools(schema)), ReplyState(answering=True), {}).text()
    assert caught.value.param == f"tools[0].function.parameters.properties.x.{word}"


@pytest.mark.parametrize("word", ["maxProperties", "dependentSchemas", "minProperties", "anyOf"])
def test_what_arguments_one_by_one_cannot_hold_is_refused(templates: dict[str, str], word: str) -> None:
    syntax = next(found for found in map(probe, templates.values()) if found.codec == "tagged")
    parameters = {"type": "object", "properties": {"x": {"type": "string"}}, word: 1}
    tools = tool_set([{"type": "function", "function": {"name": "f", "description": "d", "parameters": parameters}}])
    with pytest.raises(InvalidRequestError) as caught:
        CallGrammar(syntax, tool_choice("required", tools), ReplyState(answering=True), {}).text()
    assert caught.value.param == f"tools[0].function.parameters.{word}"
