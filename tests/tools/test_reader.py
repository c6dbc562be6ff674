"""Replies of every form, read in every cut; and what is no call stays content."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

import pytest

from oxillama.tools.markers import SENTINEL, Markers
from oxillama.tools.probe import probe
from oxillama.tools.reader import ReplyReader, ReplyState
from oxillama.tools.syntax import ReplySyntax
from oxillama.tools.table import SYNTAXES
from tests.tools.conversations import SCHEMAS, Reply, cut, joined, read

HERMES = ReplySyntax(
    name="test",
    codec="json",
    head="<tool_call>\n",
    close="\n</tool_call>",
    separator="\n",
    think_open="<think>",
    think_close="</think>",
)
TAGGED = ReplySyntax(
    name="test",
    codec="tagged",
    head="<tool_call>\n<function={name}>",
    close="\n</function>\n</tool_call>",
    argument_head="\n<parameter={key}>\n",
    argument_close="\n</parameter>",
    separator="\n",
)
CALL = '<tool_call>\n{"name": "f9", "arguments": {"city": "x"}}\n</tool_call>'


def every_cut(syntax: ReplySyntax, text: str, state: ReplyState | None = None) -> Reply:
    replies = [read(ReplyReader(syntax, SCHEMAS, state), cut(text, size)) for size in (1, 2, 3, 5, len(text) or 1)]
    assert all(reply == replies[0] for reply in replies)
    return replies[0]


@pytest.mark.parametrize(
    ("text", "reply"),
    [
        ("plain text \n", Reply(content="plain text \n")),
        (CALL, Reply(calls=[("f9", '{"city": "x"}')], whole=[True])),
        (f"Let me see.\n\n{CALL}", Reply(content="Let me see.", calls=[("f9", '{"city": "x"}')], whole=[True])),
        (
            f"<think>\n a<tool_call> b\n</think>\n\n{CALL}",
            Reply("a<tool_call> b", "", [("f9", '{"city": "x"}')], [True]),
        ),
        (
            '<tool_call>{"arguments":{"a":[1]},"name":"f9"}</tool_call>',
            Reply(calls=[("f9", '{"a":[1]}')], whole=[True]),
        ),
        ('<tool_call>{"name":"f9"}</tool_call>', Reply(calls=[("f9", "{}")], whole=[True])),
        (
            '<tool_call>{"name":"f9","arguments":"{\\"a\\":1}"}</tool_call>',
            Reply(calls=[("f9", '{"a":1}')], whole=[True]),
        ),
        (
            '<tool_call>{"arguments":"{\\"a\\":1}","name":"f9"}</tool_call>',
            Reply(calls=[("f9", '{"a":1}')], whole=[True]),
        ),
        # Cut: what there is.
        ('<tool_call>\n{"name": "f9", "arguments": {"city": "K', Reply(calls=[("f9", '{"city": "K')], whole=[False])),
        ('<tool_call>\n{"name": "f9", "arg', Reply(content='<tool_call>\n{"name": "f9", "arg')),
        # No calls.
        ("<tool_call>\nnothing</tool_call>", Reply(content="<tool_call>\nnothing</tool_call>")),
        ("if a <tool_call", Reply(content="if a <tool_call")),
        (
            '<tool_call>\n{"name": "rm", "arguments": {}}\n</tool_call> ',
            Reply(content='<tool_call>\n{"name": "rm", "arguments": {}}\n</tool_call> '),
        ),
        (f"<tool_call> oh {CALL}", Reply(content="<tool_call> oh", calls=[("f9", '{"city": "x"}')], whole=[True])),
        (
            '<tool_call>{"name":"f9","arguments":{"a":]}} rest',
            Reply(content="]}} rest", calls=[("f9", '{"a":')], whole=[False]),
        ),
    ],
)
def test_json_calls(text: str, reply: Reply) -> None:
    assert every_cut(HERMES, text) == reply


def test_tagged_values_follow_the_schema() -> None:
    def call(key: str, value: str) -> str:
        text = f"<tool_call>\n<function=f9>\n<parameter={key}>\n{value}\n</parameter>\n</function>\n</tool_call>"
        return every_cut(TAGGED, text).calls[0][1]

    assert call("city", "12") == '{"city": "12"}'
    assert call("city", " \nx\n\n") == '{"city": " \\nx\\n\\n"}'
    assert call("city", "a</parameter> b") == '{"city": "a</parameter> b"}'
    assert call("days", "12") == '{"days": 12}'
    assert call("rows", "[True, None, 'x']") == '{"rows": [true, null, "x"]}'
    assert call("days", "many") == '{"days": "many"}'
    assert call("unknown", "12") == '{"unknown": 12}'
    assert call("unknown", "twelve") == '{"unknown": "twelve"}'


def test_a_tagged_call_that_is_cut_has_what_there_is() -> None:
    reply = every_cut(TAGGED, "<tool_call>\n<function=f9>\n<parameter=city>\nKö")
    assert reply.calls == [("f9", '{"city": "Kö')]
    assert reply.whole == [False]


@pytest.mark.parametrize(
    ("name", "text", "reply"),
    [
        (
            "harmony",
            "<|channel|>analysis<|message|>think<|end|><|start|>assistant<|channel|>commentary to=functions.f9 "
            '<|constrain|>json<|message|>{"days":1}<|call|>',
            Reply("think", "", [("f9", '{"days":1}')], [True]),
        ),
        (
            "harmony",
            "<|channel|>analysis<|message|>think<|end|><|start|>assistant<|channel|>final<|message|>Hi.",
            Reply("think", "Hi."),
        ),
        ("muse", " to=self<|message|>hm<|eom|><|start|>assistant to=user<|message|>Hi.", Reply("hm", "Hi.")),
        (
            "muse",
            ' to=f9<|message|><atem:function_calls>\n<atem:invoke name="f9">\n<atem:parameter name="days">3'
            "</atem:parameter>\n</atem:invoke>\n</atem:function_calls>",
            Reply(calls=[("f9", '{"days": 3}')], whole=[True]),
        ),
        ("functionary-3.2", "all\nHello", Reply(content="Hello")),
        ("functionary-3.2", 'f9\n{"days": 2}', Reply(calls=[("f9", '{"days": 2}')], whole=[True])),
        ("functionary-3.2", "never heard", Reply(content="never heard")),
        ("llama-3", '{"name": "f9", "parameters": {"days": 2}}', Reply(calls=[("f9", '{"days": 2}')], whole=[True])),
        ("llama-3", '{"name": "g", "parameters": {}} ', Reply(content='{"name": "g", "parameters": {}} ')),
        ("llama-3", "Hello {", Reply(content="Hello {")),
        (
            "pythonic",
            "[f9(days=2, city='it\\'s'), look-up()]",
            Reply("", "", [("f9", '{"days": 2, "city": "it\'s"}'), ("look-up", "{}")], [True, True]),
        ),
        (
            "command-r",
            'Action:\n```json\n[\n {"tool_name": "f9", "parameters": {}}\n]\n```',
            Reply("", "", [("f9", "{}")], [True]),
        ),
        (
            "kimi-k3",
            "<|open|>think<|sep|>a<|close|>think<|sep|><|open|>response<|sep|>Hi<|close|>response<|sep|>"
            '<|open|>tools<|sep|><|open|>call tool="f9" index="1"<|sep|>'
            '<|open|>argument key="city" type="string"<|sep|>'
            "7<|close|>argument<|sep|><|close|>call<|sep|><|close|>tools<|sep|><|close|>message<|sep|><|end_of_msg|>",
            Reply("a", "Hi", [("f9", '{"city": "7"}')], [True]),
        ),
    ],
)
def test_forms_that_no_template_shows(name: str, text: str, reply: Reply) -> None:
    assert every_cut(SYNTAXES[name], text) == reply


def test_the_prompt_may_have_opened_the_thinking() -> None:
    assert every_cut(HERMES, "hm</think>\nyes", ReplyState(thinking=True)) == Reply("hm", "yes")
    assert every_cut(HERMES, "<think>no", ReplyState(answering=True)) == Reply(content="<think>no")


def test_text_that_looks_like_a_control_token_is_none() -> None:
    markers = Markers.of(HERMES, ["<tool_call>", "</tool_call>", "<other>"])
    assert markers.controls == {"<tool_call>", "</tool_call>"}

    def said(text: str) -> Reply:
        return read(ReplyReader(HERMES, SCHEMAS, markers=markers), cut(text, 4))

    assert said(CALL) == Reply(content=CALL)
    real = CALL.replace("<tool", f"{SENTINEL}<tool").replace("</tool", f"{SENTINEL}</tool")
    assert said(real) == Reply(calls=[("f9", '{"city": "x"}')], whole=[True])
    # What is no call after all is shown without the marks.
    assert said(f"{SENTINEL}<tool_call>x") == Reply(content="<tool_call>x")


def syntaxes() -> Iterator[ReplySyntax]:
    yield from (HERMES, TAGGED, *SYNTAXES.values())
    yield ReplySyntax(codec="braces", head="<|call>call:{name}", close="<call|>", quote='<|"|>')
    yield probe("{% for m in messages %}{{ m.content }}{% endfor %}")


def soup(syntax: ReplySyntax, chance: random.Random) -> str:
    """Pieces of the syntax, of JSON and of anything."""
    marks = [
        word
        for text in (
            syntax.section_open,
            syntax.head,
            syntax.close,
            syntax.argument_head,
            syntax.argument_close,
            syntax.quote,
        )
        for word in [text, *text.split()]
    ]
    pieces = [
        *marks,
        *"\"{}[]:,\\ \n<>()='",
        "name",
        '"name": "f9"',
        "f9",
        '"arguments": {',
        "city",
        "é",
        "\ud800",
        "1",
    ]
    return "".join(chance.choice(pieces) for _ in range(chance.randrange(24)))


def check_soup(count: int, seed: int) -> None:
    chance = random.Random(seed)
    every = list(syntaxes())
    for _ in range(count):
        syntax = chance.choice(every)
        text = soup(syntax, chance)
        size = chance.randrange(1, 12)
        # With no tool declared nothing is a call, so all is content; only what marks the answer goes.
        reader = ReplyReader(syntax, SCHEMAS if chance.random() < 0.5 else {})
        reply = read(reader, cut(text, size))
        assert reply == read(ReplyReader(syntax, reader_tools(reader)), [text]), (syntax.name, text, size)
        if reader_tools(reader) == {}:
            assert not reply.calls
            if not (syntax.answer_open or syntax.answer_close or syntax.ends or syntax.think_close):
                assert reply.content == text.replace(SENTINEL, "")


def reader_tools(reader: ReplyReader) -> dict[str, object]:
    return dict(reader._calls.tools or {}) if reader._calls is not None else {}


def test_random_text_is_content_and_nothing_is_raised() -> None:
    check_soup(10_000, 1)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_million_random_texts() -> None:
    check_soup(500_000, 2)


def seconds_for(syntax: ReplySyntax, text: str, size: int) -> float:
    reader, pieces = ReplyReader(syntax, SCHEMAS), cut(text, size)
    start = time.thread_time()
    events = [event for piece in pieces for event in reader.feed(piece)]
    events += reader.finish()
    spent = time.thread_time() - start
    assert joined(events).whole == [True]
    return spent


def long_calls(n: int) -> dict[str, tuple[ReplySyntax, str]]:
    words = 'some words, "quoted" <b> and so on; '
    json_text = words.replace('"', '\\"') * n
    return {
        "json": (HERMES, f'<tool_call>\n{{"name": "f9", "arguments": {{"city": "{json_text}"}}}}\n</tool_call>'),
        "rows": (
            HERMES,
            '<tool_call>\n{"name": "f9", "arguments": {"rows": ['
            + '{"a": [1, 2], "text": "word"}, ' * n
            + "0]}}\n</tool_call>",
        ),
        "tagged": (
            TAGGED,
            f"<tool_call>\n<function=f9>\n<parameter=city>\n{words * n}\n</parameter>\n</function>\n</tool_call>",
        ),
        "late name": (HERMES, f'<tool_call>\n{{"arguments": {{"city": "{json_text}"}}, "name": "f9"}}\n</tool_call>'),
    }


@pytest.mark.parametrize("kind", ["json", "rows", "tagged", "late name"])
def test_reading_is_linear(kind: str) -> None:
    """Eight times the text takes about eight times the time, where a square would take sixty-four."""
    for size in (4, 4096):
        n = 2_000 if size == 4 else 20_000
        short = min(seconds_for(*long_calls(n)[kind], size) for _ in range(3))
        long = min(seconds_for(*long_calls(8 * n)[kind], size) for _ in range(2))
        assert long < 24 * short + 0.05, (size, short, long)


LOOPS: dict[str, tuple[str, str]] = {
    # What a model repeats that has lost itself, and what stands before it.
    "blanks": ("", " \n\t "),
    "blanks after words": ("So. ", " \n\t "),
    "blanks in thinking": ("<think>So ", "\n \n\n"),
    "blanks before thinking": ("", "\n\n  "),
    "beginnings of a marker": ("", "<too"),
    "markers that begin nothing": ("", "<tool_call> <"),
    "ends of thinking": ("<think>", "</th"),
    "thoughts": ("<think>", "well, "),
    "names of nobody": ("", '<tool_call>{"name": "g"}'),
    "a text": ('<tool_call>\n{"name": "f9", "arguments": {"city": "', 'a\\"b<'),
    "rows": ('<tool_call>\n{"name": "f9", "arguments": {"rows": [', "[],"),
    "blanks in rows": ('<tool_call>\n{"name": "f9", "arguments": {"rows": [', "  \n"),
    "blanks before a call": ("<tool_call>", "  \n "),
}
TAGGED_LOOPS: dict[str, tuple[str, str]] = {
    "values": ("<tool_call>\n<function=f9>\n<parameter=city>\n", "</par\n"),
    "blanks in a value": ("<tool_call>\n<function=f9>\n<parameter=city>\n", "\n \n\n"),
    "ends of a value": ("<tool_call>\n<function=f9>\n<parameter=city>\n", "\n</parameter>x"),
    "numbers": ("<tool_call>\n<function=f9>\n<parameter=days>\n", "1234"),
    "keys": ("<tool_call>\n<function=f9>\n", "<parameter=a>\n1\n</parameter>\n"),
}
# Every few bytes something begins that a reader must look at.
DENSE = {"markers that begin nothing", "names of nobody", "rows", "keys"}


def loop_seconds(syntax: ReplySyntax, loop: tuple[str, str], size: int, length: int) -> tuple[float, int]:
    begin, again = loop
    text = begin + again * (length // len(again))
    reader, pieces = ReplyReader(syntax, SCHEMAS), cut(text, size)
    start = time.thread_time()
    told = [len(event.text) for piece in pieces for event in reader.feed(piece)]
    told += [len(event.text) for event in reader.finish()]
    return time.thread_time() - start, len(pieces)


def check_loop(kind: str, length: int, slack: float) -> None:
    syntax, loop = (HERMES, LOOPS[kind]) if kind in LOOPS else (TAGGED, TAGGED_LOOPS[kind])
    seconds, n_feeds = loop_seconds(syntax, loop, 4, length)
    assert seconds / n_feeds < slack * 10e-6, (kind, seconds, n_feeds)
    seconds, _ = loop_seconds(syntax, loop, 4096, length)
    assert length / seconds > (1e6 if kind in DENSE else 5e6) / slack, (kind, seconds)


@pytest.mark.parametrize("kind", [*LOOPS, *TAGGED_LOOPS])
def test_a_model_that_repeats_itself_is_read_in_linear_time(kind: str) -> None:
    # With room for a loaded machine; a square would take twenty times as long.
    check_loop(kind, 400_000, 6.0)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [*LOOPS, *TAGGED_LOOPS])
def test_two_megabytes_of_it(kind: str) -> None:
    check_loop(kind, 2_000_000, 3.0)
