"""What notebooks show: every text escaped, and nothing of it where no log-probabilities were asked for."""

from __future__ import annotations

import math
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oxillama import Engine
from oxillama.results.completion import Logprobs, TokenLogprob
from oxillama.results.pictures import table, token_strip


class Reader(HTMLParser):
    """What a browser would see."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.titles: list[str] = []
        self.texts: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.titles += [value or "" for name, value in attrs if name == "title"]
        assert {name for name, _ in attrs} <= {"style", "title"}

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def entry(text: str, logprob: float = -0.5, *others: TokenLogprob) -> TokenLogprob:
    return TokenLogprob(token_id=7, token_bytes=text.encode("utf-8", "replace"), logprob=logprob, top=others)


@given(st.lists(st.text(max_size=8), max_size=6))
def test_no_text_becomes_markup(texts: list[str]) -> None:
    read = Reader(token_strip(Logprobs(content=tuple(entry(text, -1.0, entry(text)) for text in texts))))
    assert read.tags == ["div"] + ["span"] * len(texts)
    assert len(read.titles) == len(texts)


def test_what_would_break_out_is_text() -> None:
    hostile = '"><script>alert(1)</script>&amp;'
    read = Reader(token_strip(Logprobs(content=(entry(hostile, -1.0, entry(hostile)),))))
    assert read.tags == ["div", "span"]
    assert "".join(read.texts) == hostile


def test_a_token_tells_its_probability_and_what_else_there_was() -> None:
    page = token_strip(Logprobs(content=(entry("sure", 0.0, entry("sure", 0.0)), entry("odd", math.log(0.01)))))
    read = Reader(page)
    assert read.titles[0].startswith("100.00%, token 7\n'sure' 100.00%")
    assert read.titles[1].startswith("1.00%")
    assert "hsl(120," in page
    assert "hsl(1," in page


def test_ends_of_lines_are_seen_and_what_nothing_predicted_has_no_colour() -> None:
    read = Reader(token_strip(Logprobs(content=(entry("a", math.nan), entry("\n\t\x00")))))
    assert read.texts == ["a", "\u23ce\n\u21e5\ufffd"]
    assert len(read.titles) == 1


def test_a_table_is_escaped() -> None:
    read = Reader(table([("<b>", "1 & 2")]))
    assert read.tags == ["table", "tr", "th", "td"]
    assert read.texts == ["<b>", "1 & 2"]


def test_completions_have_a_strip_where_log_probabilities_were_asked_for(demo: Engine) -> None:
    completion = demo.generate("Once upon a time", max_tokens=8, temperature=0, logprobs=2)
    page = completion._repr_html_()
    assert page is not None
    read = Reader(page)
    assert "".join(read.texts[:8]) == completion.text
    assert read.texts[-1] == "[length, 8 tokens]"
    assert demo.generate("Once upon a time", max_tokens=8)._repr_html_() is None
    reply = demo.chat([{"role": "user", "content": "Hello"}], max_tokens=6, temperature=0, logprobs=0)
    assert reply._repr_html_() is not None
    assert demo.chat([{"role": "user", "content": "Hello"}], max_tokens=2)._repr_html_() is None


def test_stats_are_a_small_table(demo: Engine) -> None:
    read = Reader(demo.stats()._repr_html_())
    assert read.tags.count("tr") == 12
    assert "tokens written" in read.texts


@pytest.mark.parametrize("logprob", [-math.inf, -1000.0])
def test_the_unlikeliest_token_has_a_colour_too(logprob: float) -> None:
    assert "hsl(0," in token_strip(Logprobs(content=(entry("a", logprob),)))
