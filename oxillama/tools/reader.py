"""A reply is read as it is written: reasoning, content and calls. It never raises; what is no call is content."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from oxillama.chat.reasoning import ReasoningSplitter, ThinkTags
from oxillama.tools.call_readers import CALL_READERS, CallReader
from oxillama.tools.events import ReplyEvent, joined_events
from oxillama.tools.markers import SENTINEL, Markers
from oxillama.tools.source import Malformed, Source, Waiting, partial_end, words
from oxillama.tools.syntax import ReplySyntax, pattern

_Role = Literal["opens", "drops", "calls"]


@dataclass(frozen=True)
class ReplyState:
    """Where a prompt leaves the reply: ``thinking`` has been opened; ``answering``: it has been closed again."""

    thinking: bool = False
    answering: bool = False


class ReplyReader:
    """Reads one reply. ``feed`` takes text as a model writes it, in which SENTINEL stands before the text of a control
    token; what all feeds and ``finish`` tell does not depend on how it was cut into pieces.

    ``tools``: the JSON schemas of the arguments by the names of the tools; calls of others are content. None: any name
    is taken. ``split_thinking`` False: thinking stays in the content."""

    def __init__(
        self,
        syntax: ReplySyntax,
        tools: Mapping[str, Any] | None = None,
        state: ReplyState | None = None,
        *,
        markers: Markers | None = None,
        split_thinking: bool = True,
    ) -> None:
        state = state or ReplyState()
        self._syntax = (markers or Markers()).applied(syntax)
        tags = ThinkTags(self._syntax.think_open.strip(), self._syntax.think_close.strip())
        splits = bool(tags.closing) and split_thinking and not state.answering
        self._splitter = ReasoningSplitter(tags, thinking=state.thinking) if splits else None
        self._source = Source()
        self._events: list[ReplyEvent] = []
        self._calls: CallReader | None = None
        if self._syntax.calls:
            self._calls = CALL_READERS[self._syntax.codec](self._syntax, tools, self._source, self._events)
        self._blanks: list[str] = []  # white space that belongs to nobody if a call follows
        self._markers = _content_markers(self._syntax)
        firsts = list(dict.fromkeys(words(marker)[0] for marker, _ in self._markers))
        self._firsts = sorted(firsts, key=len, reverse=True)
        self._search = re.compile("|".join(map(re.escape, self._firsts))) if firsts else None
        self._given_out = self._syntax.starts_open  # what the prompt has said, and the reply does not say again
        self._machine = self._read()
        next(self._machine)

    @property
    def is_thinking(self) -> bool:
        return self._splitter is not None and self._splitter.is_thinking

    @property
    def has_thought(self) -> bool:
        return self._splitter is not None and self._splitter.has_thought

    @property
    def num_calls(self) -> int:
        return 0 if self._calls is None else self._calls.num_started

    def feed(self, text: str) -> list[ReplyEvent]:
        """What has become certain by this piece."""
        if self._splitter is not None:
            reasoning, text = self._splitter.push(text)
            self._think(reasoning)
        if text:
            self._source.feed(text)
            self._machine.send(None)
        return self._told()

    def finish(self) -> list[ReplyEvent]:
        """What is left when no more text comes."""
        if self._source.closed:
            return []
        text = ""
        if self._splitter is not None:
            reasoning, text = self._splitter.finish()
            self._think(reasoning)
        self._source.feed(text)
        self._source.closed = True
        for _ in self._machine:
            pass
        return self._told()

    def _told(self) -> list[ReplyEvent]:
        events = joined_events(self._events)
        self._events.clear()
        return events

    def _think(self, text: str) -> None:
        if text:
            self._events.append(ReplyEvent("reasoning", text.replace(SENTINEL, "")))

    def _say(self, text: str, *, whole: bool = False) -> None:
        """Content. White space at its end waits, unless it is known that no call follows."""
        if self._given_out and text:
            text, self._given_out = text.removeprefix(self._given_out), ""
        kept = len(text) if whole else len(text.rstrip())
        if kept or whole:
            said = ("".join(self._blanks) + text[:kept]).replace(SENTINEL, "")
            self._blanks.clear()
            if said:
                self._events.append(ReplyEvent("content", said))
        if kept < len(text):
            self._blanks.append(text[kept:])

    def _read(self) -> Waiting[None]:
        source = self._source
        yield None
        if self._given_out:
            source.buffer = self._given_out + source.buffer
        elif self._calls is not None and not any(role == "calls" for _, role in self._markers):
            # Nothing announces a call, so only a reply that begins with one is one.
            yield from self._read_calls()
        while not source.closed or source.position < len(source.buffer):
            yield from self._read_content()
        self._say("", whole=True)

    def _read_content(self) -> Waiting[None]:
        """Content up to the next marker, and what that begins."""
        source = self._source
        found = self._search.search(source.buffer, source.position) if self._search else None
        if found is not None:
            self._say(source.take(found.start() - source.position))
            yield from self._read_marker()
            return
        rest = len(source.buffer) - source.position
        if not source.closed:
            rest -= max((partial_end(source.buffer, source.position, first) for first in self._firsts), default=0)
        self._say(source.take(rest))
        if not source.closed:
            yield None

    def _read_marker(self) -> Waiting[None]:
        source = self._source
        for marker, role in self._markers:
            if not (yield from source.stands(words(marker)[0])):
                continue
            if role == "calls":
                yield from self._read_calls()
                return
            source.record()
            if (yield from source.accept_words(marker)):
                source.recorded()
                self._given_out = ""
                if role == "opens":
                    yield from source.skip_space()
            else:
                self._say(source.recorded())
            return
        self._say(source.take(1))

    def _read_calls(self) -> Waiting[None]:
        source, calls = self._source, self._calls
        assert calls is not None
        before = calls.num_started
        source.record()
        try:
            yield from calls.section()
            broken = ""
        except Malformed:
            broken = source.recorded()
        source.recorded()
        if calls.num_started > before:
            self._given_out = ""
            self._blanks.clear()
            broken = broken.lstrip()
        self._say(broken)


def _content_markers(syntax: ReplySyntax) -> list[tuple[str, _Role]]:
    """What may interrupt content; those with the longest first words come first."""
    found: list[tuple[str, _Role]] = [(marker, "opens") for marker in syntax.answer_open]
    found += [(marker, "drops") for marker in (*syntax.answer_close, *syntax.ends)]
    if syntax.calls:
        heads = [pattern(head)[0][0] for head in (syntax.head, *syntax.other_heads)]
        section = syntax.section_open.strip()
        found += [(marker, "calls") for marker in (section.removesuffix("[") if syntax.array else section, *heads)]
    return sorted((one for one in found if one[0].strip()), key=lambda one: -len(words(one[0])[0]))
