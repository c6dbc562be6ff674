"""The calls of a reply, read as they are written: one reader for each way to write them."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Generator, Mapping
from typing import Any

from oxillama.tools import literals
from oxillama.tools.events import ReplyEvent
from oxillama.tools.json_scan import raw_value, read_raw, read_string
from oxillama.tools.markers import SENTINEL
from oxillama.tools.schemas import kinds_of
from oxillama.tools.source import Malformed, Source, Waiting, partial_end, words
from oxillama.tools.syntax import Codec, ReplySyntax, pattern

_MAX_SLOT = 512
_NAME = re.compile(r"[\w.:/-]+")
_NUMBER = re.compile(r"\d+")
_CDATA = "<![CDATA["
# White space that is looked over between the words of what ends a value.
_MAX_GAP = 64


class CallReader(ABC):
    """Reads what a section of calls holds and tells of it in ``events``. ``tools``: schemas of arguments by name."""

    def __init__(
        self, syntax: ReplySyntax, tools: Mapping[str, Any] | None, source: Source, events: list[ReplyEvent]
    ) -> None:
        self.syntax = syntax
        self.tools = tools
        self.source = source
        self.events = events
        self.num_started: int = 0
        self._is_open = False  # the present call has been told of
        self._is_whole = False  # and all of its arguments
        self.section_open: str = syntax.section_open.strip()
        self.section_close: str = syntax.section_close.strip()
        if syntax.array:
            self.section_open = self.section_open.removesuffix("[")
            self.section_close = self.section_close.removeprefix("]")
        self.heads: tuple[str, ...] = (syntax.head, *syntax.other_heads)
        self.firsts: list[str] = [words(literal)[0] for head in self.heads if (literal := pattern(head)[0][0]).strip()]

    def section(self) -> Waiting[None]:
        """Reads one call, and those that follow it. Raises Malformed, with what belongs to no call recorded."""
        source, syntax = self.source, self.syntax
        opened = bool(self.section_open) and (yield from source.accept_words(self.section_open))
        in_array = False
        if syntax.array:
            yield from source.skip_space()
            in_array = yield from source.accept("[")
        while True:
            yield from source.skip_space()
            yield from self._one()
            source.record()
            yield from source.skip_space()
            if in_array:
                if (yield from source.accept(",")):
                    continue
                if not (yield from source.accept("]")):
                    raise Malformed
                in_array = False
                source.record()
                yield from source.skip_space()
            if opened and self.section_close and (yield from source.accept_words(self.section_close)):
                yield from source.skip_space()
                return
            if not syntax.parallel or syntax.array or not (yield from self._begins(opened)):
                return

    def _begins(self, opened: bool) -> Waiting[bool]:
        """Whether another call stands here."""
        for first in self.firsts:
            if (yield from self.source.stands(first)):
                return True
        return opened and not self.firsts and (yield from self.source.peek()) == "{"

    def _one(self) -> Waiting[None]:
        self._is_open = self._is_whole = False
        try:
            yield from self.call()
        except Malformed:
            if self._is_open:
                self._end(ok=self._is_whole)
                self.source.record()
            raise
        if self._is_open:
            self._end(ok=True)

    @abstractmethod
    def call(self) -> Waiting[None]:
        """Reads one call, and tells of it. Raises Malformed."""

    # --- telling

    def _begin(self, name: str, call_id: str | None = None) -> None:
        """Raises Malformed for a name that nobody has declared."""
        if not name or (self.tools is not None and name not in self.tools):
            raise Malformed
        self.events.append(ReplyEvent("call", name, self.num_started, call_id))
        self.num_started += 1
        self._is_open = True

    def _add(self, text: str) -> None:
        if SENTINEL in text:
            text = text.replace(SENTINEL, "")
        if text:
            self.events.append(ReplyEvent("arguments", text, self.num_started - 1))

    def _end(self, *, ok: bool) -> None:
        self._is_open = False
        self.events.append(ReplyEvent("end", call=self.num_started - 1, ok=ok))

    def _pass_on(self, pieces: Generator[str | None, None, None]) -> Waiting[None]:
        for piece in pieces:
            if piece is None:
                yield None
            else:
                self._add(piece)

    # --- markers with slots

    def _head(self) -> Waiting[dict[str, str]]:
        """What stands in the slots of what begins a call."""
        for head in self.heads:
            first = words(pattern(head)[0][0])
            if not first or (yield from self.source.stands(first[0])):
                return (yield from self._slots(head))
        raise Malformed

    def _slots(self, marker: str) -> Waiting[dict[str, str]]:
        source = self.source
        found: dict[str, str] = {}
        parts = pattern(marker)
        for index, (literal, slot) in enumerate(parts):
            if literal.strip() and not (yield from source.accept_words(literal)):
                raise Malformed
            if slot is None:
                break
            yield from source.skip_space()
            after, following = parts[index + 1]
            if slot == "number":
                found[slot] = yield from source.word(_NUMBER, _MAX_SLOT)
            elif slot == "skip":
                yield from source.until(words(after)[0], _MAX_SLOT)
            elif slot == "name" and (not after or following == "skip"):
                found[slot] = yield from source.word(_NAME, _MAX_SLOT)
            else:
                end = words(after)[0] if after.strip() else after[:1]
                found[slot] = (yield from source.until(end, _MAX_SLOT)).strip()
        return found

    def _close(self) -> Waiting[None]:
        if self.syntax.close.strip():
            yield from self.source.accept_words(self.syntax.close)


class JsonCalls(CallReader):
    """One object holds everything; or its one key is the name."""

    def call(self) -> Waiting[None]:
        source, syntax = self.source, self.syntax
        if syntax.head.strip() and not (yield from source.accept_words(syntax.head)):
            raise Malformed
        yield from source.skip_space()
        if not (yield from source.accept("{")):
            raise Malformed
        name, call_id, arguments = "", None, None
        while True:
            yield from source.skip_space()
            if (yield from source.accept("}")):
                break
            key = yield from read_string(source)
            yield from source.skip_space()
            if not (yield from source.accept(":")):
                raise Malformed
            yield from source.skip_space()
            if syntax.name_key is None:
                self._begin(key)
                yield from self._arguments()
            elif key == syntax.name_key and not name:
                name = yield from read_string(source)
                if self.tools is not None and name not in self.tools:
                    raise Malformed
            elif key in (syntax.arguments_key, "arguments", "parameters") and arguments is None:
                arguments = ""
                # Ids that come first are told with the call.
                if name and not self._is_open:
                    self._begin(name, call_id)
                    yield from self._arguments()
                elif (yield from source.peek()) == '"':
                    arguments = yield from read_string(source)
                else:
                    arguments = yield from read_raw(source)
            elif key in (syntax.id_key, "id"):
                call_id = (yield from read_raw(source)).strip('"')
            else:
                yield from read_raw(source)
            yield from source.skip_space()
            if (yield from source.accept(",")):
                continue
            if not (yield from source.accept("}")):
                raise Malformed
            break
        if not self._is_open:
            self._begin(name, call_id)
            self._add(arguments or "{}")
        yield from self._close()

    def _arguments(self) -> Waiting[None]:
        if (yield from self.source.peek()) == '"':
            self._add((yield from read_string(self.source)))
        else:
            yield from self._pass_on(raw_value(self.source))
        self._is_whole = True


class ArgumentsCalls(CallReader):
    """The name in a marker, then the arguments as an object."""

    def call(self) -> Waiting[None]:
        found = yield from self._head()
        yield from self.source.skip_space()
        if (yield from self.source.peek()) != "{":
            raise Malformed
        self._begin(found.get("name", ""), found.get("id"))
        yield from self._pass_on(raw_value(self.source))
        self._is_whole = True
        yield from self._close()


class TaggedCalls(CallReader):
    """The name in a marker, and every argument between markers."""

    def call(self) -> Waiting[None]:
        source, syntax = self.source, self.syntax
        found = yield from self._head()
        name = found.get("name", "")
        first = words(pattern(syntax.argument_head)[0][0])[0]
        ending = words(syntax.close or syntax.section_close)[:1]
        yield from source.skip_space()
        # Not before something of a call stands here: names that are only mentioned are none.
        if not (yield from source.stands(first)) and not (ending and (yield from source.stands(ending[0]))):
            raise Malformed
        self._begin(name, found.get("id"))
        schema = None if self.tools is None else self.tools.get(name)
        opening = "{"
        while True:
            yield from source.skip_space()
            if not (yield from source.stands(first)):
                break
            slots = yield from self._slots(syntax.argument_head)
            self._add(f"{opening}{_quoted(slots.get('key', ''))}: ")
            opening = ", "
            yield from self._value(slots, schema)
            if syntax.argument_separator.strip():
                yield from source.skip_space()
                yield from source.accept_words(syntax.argument_separator)
        if syntax.close.strip() and not (yield from source.accept_words(syntax.close)):
            raise Malformed
        self._add("{}" if opening == "{" else "}")
        self._is_whole = True

    def _value(self, slots: dict[str, str], schema: Any) -> Waiting[None]:
        syntax = self.syntax
        kind = dict(syntax.kinds).get(slots.get("kind", ""), "")
        kinds = kinds_of(schema, slots.get("key", ""))
        if kind:
            kinds = frozenset({"string"}) if kind == "string" else kinds - {"string"}
        head = syntax.argument_head
        if padding := head[len(head.rstrip()) :]:
            # The white space that the template writes before a value.
            yield from self.source.accept(padding)
        before = ""
        if syntax.cdata and (yield from self.source.accept(_CDATA)):
            kinds, before = frozenset({"string"}), "]]>"
        closing = _Closing(syntax, slots.get("key", ""), before)
        if kinds == {"string"}:
            self._add('"')
            for piece in closing.pieces(self.source):
                if piece is None:
                    yield None
                else:
                    self._add(literals.json_text(piece.replace(SENTINEL, "")))
            self._add('"')
            return
        pieces = []
        for piece in closing.pieces(self.source):
            if piece is None:
                yield None
            else:
                pieces.append(piece)
        self._add(literals.whole_value("".join(pieces).replace(SENTINEL, ""), kinds))


class _Closing:
    """What ends a value: a marker after which another argument or the end of the call stands. Without that it is a
    part of the value."""

    def __init__(self, syntax: ReplySyntax, key: str, before: str) -> None:
        closing = before + syntax.argument_close.replace("{key}", key)
        self._marker = closing.strip()
        self._padding = closing[: len(closing) - len(closing.lstrip())]
        argument = words(syntax.argument_separator)[:1] + words(pattern(syntax.argument_head)[0][0])[:1]
        end = words(syntax.close) or words(syntax.section_close)
        self._follows = [chain for chain in (argument, end) if chain]

    def pieces(self, source: Source) -> Generator[str | None, None, None]:
        """Takes a value and its end; yields the text of the value, and None where more is needed."""
        held = ""  # of the value: may be the template's white space before the end
        while True:
            buffer, start = source.buffer, source.position
            place = buffer.find(self._marker, start)
            verdict: bool | None = False
            while place >= 0:
                verdict = self._stands(buffer, place + len(self._marker), closed=source.closed)
                if verdict is not False:
                    break
                place = buffer.find(self._marker, place + 1)
            if place >= 0:
                until = place
            else:
                until = len(buffer) - (0 if source.closed else partial_end(buffer, start, self._marker))
            text = held + source.take(until - start)
            held = ""
            if verdict:
                source.take(len(self._marker))
                yield text.removesuffix(self._padding)
                return
            if self._padding and not source.closed:
                size = len(self._padding) if text.endswith(self._padding) else partial_end(text, 0, self._padding)
                text, held = text[: len(text) - size], text[len(text) - size :]
            if text:
                yield text
            if source.closed:
                raise Malformed
            yield None

    def _stands(self, buffer: str, place: int, *, closed: bool) -> bool | None:
        """Whether what follows a value stands at a place; None where that is not known yet."""
        verdicts = [_chain_stands(buffer, place, chain, closed=closed) for chain in self._follows]
        if True in verdicts or not verdicts:
            return True
        return None if None in verdicts else False


def _chain_stands(buffer: str, place: int, chain: tuple[str, ...], *, closed: bool) -> bool | None:
    for word in chain:
        limit = place + _MAX_GAP
        while place < min(limit, len(buffer)) and buffer[place].isspace():
            place += 1
        if buffer.startswith(word, place):
            place += len(word)
        elif len(buffer) - place < len(word) and word.startswith(buffer[place:]):
            return True if closed else None
        else:
            return False
    return True


class PythonCalls(CallReader):
    """`[name(key='value', n=7), other()]`."""

    def call(self) -> Waiting[None]:
        source = self.source
        name = yield from source.word(_NAME, _MAX_SLOT)
        yield from source.skip_space()
        if not (yield from source.accept("(")):
            raise Malformed
        self._begin(name)
        opening = "{"
        while True:
            yield from source.skip_space()
            if (yield from source.accept(")")):
                break
            key = yield from source.word(_NAME, _MAX_SLOT)
            yield from source.skip_space()
            if not (yield from source.accept("=")):
                raise Malformed
            self._add(f"{opening}{_quoted(key)}: ")
            opening = ", "
            yield from self._pass_on(literals.value(source))
            yield from source.skip_space()
            if not (yield from source.accept(",")) and (yield from source.peek()) != ")":
                raise Malformed
        self._add("{}" if opening == "{" else "}")
        self._is_whole = True
        yield from self._close()


class BracesCalls(CallReader):
    """`name{key:value}` with quotes of its own around strings."""

    def call(self) -> Waiting[None]:
        found = yield from self._head()
        yield from self.source.skip_space()
        if (yield from self.source.peek()) != "{":
            raise Malformed
        self._begin(found.get("name", ""), found.get("id"))
        yield from self._pass_on(literals.value(self.source, self.syntax.quote))
        self._is_whole = True
        yield from self._close()


def _quoted(key: str) -> str:
    return f'"{literals.json_text(key.replace(SENTINEL, ""))}"'


CALL_READERS: Mapping[Codec, type[CallReader]] = {
    "json": JsonCalls,
    "arguments": ArgumentsCalls,
    "tagged": TaggedCalls,
    "python": PythonCalls,
    "braces": BracesCalls,
}
