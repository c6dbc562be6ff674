"""Regular expressions as JSON schemas and callers write them, checked and rewritten for the engine.

Dialects differ in what `\\d`, `\\w`, `\\s` and `.` match. What is written here matches only what each of them would, so
that no reader of a reply finds it wrong. Sizes are bounded: `(a{1000}){1000}` is a few bytes and a million states."""

from __future__ import annotations

from dataclasses import dataclass

# Characters of a pattern with every repetition written out.
MAX_SIZE = 20_000
MAX_GROUPS = 100
_SPACES = r"\x{9}-\x{d}\x{20}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}"
_ALL_SPACES = _SPACES + r"\x{1c}-\x{1f}\x{85}\x{feff}"
# What is in every dialect's class, and what is in any.
_IN_ALL = {"d": "0-9", "w": "0-9A-Za-z_", "s": _SPACES}
_IN_ANY = {"d": r"\p{Nd}", "w": r"\p{Alphabetic}\p{M}\p{N}\p{Pc}", "s": _ALL_SPACES}
_CONTROLS = {"t": 9, "n": 10, "v": 11, "f": 12, "r": 13, "0": 0}
_LINE_ENDS = r"\x{a}\x{d}\x{2028}\x{2029}"
_PROPERTY_CHARACTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_=")


class PatternError(Exception):
    """What a pattern has that cannot be held, and at which character."""

    def __init__(self, message: str, at: int) -> None:
        super().__init__(message)
        self.at = at


def search_pattern(pattern: str) -> str:
    """For a pattern that is looked for anywhere in a text, as JSON schemas have it. Raises PatternError."""
    return _Reader(pattern, whole=False).read()


def whole_pattern(pattern: str) -> str:
    """For a pattern that a text matches as a whole; `^` and `$` around it are left out. Raises PatternError."""
    return _Reader(pattern, whole=True).read()


@dataclass
class _Level:
    """A group that is open: the sizes of what it has, and of its last item, which a repetition repeats."""

    size: int = 0
    last: int = 0
    dot_all: bool = False
    is_start: bool = True

    def add(self, size: int) -> None:
        self.size += size
        self.last = size
        self.is_start = False


class _Reader:
    def __init__(self, pattern: str, *, whole: bool) -> None:
        self._pattern = pattern
        self._whole = whole
        self._at = 0
        self._levels = [_Level()]
        self._written: list[str] = []

    def read(self) -> str:
        if len(self._pattern) > MAX_SIZE:
            raise self._error(f"has {len(self._pattern)} characters, at most {MAX_SIZE} are allowed")
        while self._at < len(self._pattern):
            self._item()
        if len(self._levels) > 1:
            raise self._error("has a group that is not closed")
        self._check_size()
        return "".join(self._written)

    def _item(self) -> None:
        start, character = self._at, self._pattern[self._at]
        self._at += 1
        level = self._levels[-1]
        match character:
            case "(":
                self._open()
            case ")":
                if len(self._levels) == 1:
                    raise self._error("closes a group that is not open", start)
                closed = self._levels.pop()
                self._levels[-1].add(closed.size + 1)
                self._written.append(")")
            case "|":
                level.size, level.last, level.is_start = level.size + 1, 0, True
                self._written.append("|")
            case "^" | "$":
                self._anchor(character, start)
            case "*" | "+" | "?":
                self._repeat(character, 1 if character == "?" else 2, start)
            case "{" if (bounds := self._bounds()) is not None:
                text, most = bounds
                self._repeat(text, most, start)
            case "[":
                self._add(self._class())
            case ".":
                self._add(r"(?s:.)" if level.dot_all else f"[^{_LINE_ENDS}]")
            case "\\":
                self._add(self._escape())
            case _:
                self._add(self._literal(ord(character)))

    def _add(self, text: str) -> None:
        self._levels[-1].add(1)
        self._written.append(text)

    def _open(self) -> None:
        start = self._at - 1
        dot_all = self._levels[-1].dot_all
        opening = "(?:"
        if self._take("?"):
            rest = self._pattern[self._at :]
            if rest.startswith(("=", "!", "<=", "<!")):
                raise self._error("looks ahead or behind, which cannot be held", start)
            flags = ""
            while self._at < len(self._pattern) and self._pattern[self._at] in "is":
                flags += self._pattern[self._at]
                self._at += 1
            dot_all = dot_all or "s" in flags
            if flags and self._take(")"):
                if not self._levels[-1].is_start:
                    raise self._error("changes its flags after its beginning", start)
                self._levels[-1].dot_all = dot_all
                self._written.append("(?i)" if "i" in flags else "")
                return
            if flags:
                opening = "(?i:" if "i" in flags else "(?:"
            elif rest.startswith(("<", "P<")):
                end = self._pattern.find(">", self._at)
                if end < 0 or not self._pattern[self._at : end].removeprefix("P").removeprefix("<").isidentifier():
                    raise self._error("names a group in a way that is not known", start)
                self._at = end + 1
            if not rest.startswith(("<", "P<")) and not self._take(":"):
                raise self._error("has a group of a kind that cannot be held", start)
        if len(self._levels) > MAX_GROUPS:
            raise self._error(f"has groups inside one another, more than {MAX_GROUPS}", start)
        self._levels.append(_Level(dot_all=dot_all))
        self._written.append(opening)

    def _anchor(self, character: str, start: int) -> None:
        level = self._levels[-1]
        if not self._whole:
            self._written.append(character)
            level.last = 0
            return
        at_edge = level.is_start if character == "^" else self._pattern[self._at : self._at + 1] in ("", "|")
        if len(self._levels) > 1 or not at_edge:
            raise self._error(f"has {character} inside, which cannot be held: it matches a text as a whole", start)

    def _repeat(self, text: str, times: int, start: int) -> None:
        level = self._levels[-1]
        if level.last == 0:
            raise self._error("repeats nothing", start)
        level.size += level.last * max(times - 1, 0)
        # Only once: x{9}{9} is a mistake in every dialect.
        level.last = 0
        self._check_size(start)
        self._written.append(text)
        self._take("?")  # what is matched does not depend on how much of it is tried first

    def _check_size(self, at: int | None = None) -> None:
        if sum(level.size for level in self._levels) > MAX_SIZE:
            message = f"is too large: with its repetitions written out it has more than {MAX_SIZE} characters"
            raise self._error(message, at)

    def _bounds(self) -> tuple[str, int] | None:
        end = self._pattern.find("}", self._at)
        low, comma, high = self._pattern[self._at : max(end, self._at)].partition(",")
        if end < 0 or not _is_number(low) or not (high == "" or _is_number(high)):
            return None
        start, self._at = self._at - 1, end + 1
        if (high and int(high) < int(low)) or max(len(low), len(high)) > 9:
            raise self._error(f"has a repetition that cannot be, {{{low}{comma}{high}}}", start)
        return f"{{{int(low)}{comma}{high}}}", max(int(high or low), 1) + (comma != "" and not high)

    def _escape(self) -> str:
        character = self._next("ends in a backslash")
        if character in _IN_ALL:
            return f"[{_IN_ALL[character]}]"
        if character in "DWS":
            return f"[^{_IN_ANY[character.lower()]}]"
        if character in "pP":
            return f"\\{character}{self._property()}"
        return self._literal(self._code(character))

    def _code(self, character: str) -> int:
        """The character that an escape stands for."""
        start = self._at - 2
        if character == "0" and self._pattern[self._at : self._at + 1].isdecimal():
            raise self._error("has an octal escape, which dialects read differently", start)
        if character in _CONTROLS:
            return _CONTROLS[character]
        if character == "x":
            return self._hexadecimal(2, start)
        if character == "u":
            return self._unicode(start)
        if character == "c":
            letter = self._next("ends in \\c")
            if not (letter.isascii() and letter.isalpha()):
                raise self._error("has a control escape that is none", start)
            return ord(letter) % 32
        if character.isdecimal() or character == "k":
            raise self._error("refers to what a group has matched, which cannot be held", start)
        if character in "bB":
            raise self._error("asks for the edge of a word, which cannot be held", start)
        if character.isalpha():
            raise self._error(f"has an escape that is not known, \\{character}", start)
        return ord(character)

    def _unicode(self, start: int) -> int:
        if self._take("{"):
            end = self._pattern.find("}", self._at)
            digits = self._pattern[self._at : max(end, self._at)]
            if not 0 < len(digits) <= 6 or not _is_hexadecimal(digits) or int(digits, 16) > 0x10FFFF:
                raise self._error("has a \\u{...} that is no character", start)
            self._at = end + 1
            code = int(digits, 16)
        else:
            code = self._hexadecimal(4, start)
            if 0xD800 <= code < 0xDC00 and self._pattern.startswith("\\u", self._at):
                self._at += 2
                low = self._hexadecimal(4, start)
                if 0xDC00 <= low < 0xE000:
                    return 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00)
        if 0xD800 <= code < 0xE000:
            raise self._error("has half of a character, which no text can have", start)
        return code

    def _hexadecimal(self, n_digits: int, start: int) -> int:
        digits = self._pattern[self._at : self._at + n_digits]
        if len(digits) < n_digits or not _is_hexadecimal(digits):
            raise self._error(f"has an escape without its {n_digits} hexadecimal digits", start)
        self._at += n_digits
        return int(digits, 16)

    def _property(self) -> str:
        start = self._at - 2
        if not self._take("{"):
            raise self._error("has a \\p without the name of a property", start)
        end = self._pattern.find("}", self._at)
        name = self._pattern[self._at : max(end, self._at)]
        if not name or not _PROPERTY_CHARACTERS.issuperset(name):
            raise self._error("has a \\p without the name of a property", start)
        self._at = end + 1
        return f"{{{name}}}"

    def _class(self) -> str:
        start = self._at - 1
        negated = self._take("^")
        # Of a class that is taken away everything any dialect has must go.
        inside, outside = (_IN_ANY, _IN_ALL) if negated else (_IN_ALL, _IN_ANY)
        items: list[str] = []
        while not self._take("]"):
            low = self._class_item(inside, outside)
            is_range = self._pattern[self._at : self._at + 1] == "-" and self._pattern[self._at + 1 :][:1] != "]"
            if isinstance(low, str) or not is_range:
                items.append(low if isinstance(low, str) else self._literal(low))
                continue
            self._at += 1
            high = self._class_item(inside, outside)
            if isinstance(high, str):
                items += [self._literal(low), _literal(ord("-")), high]
            elif high == low:
                items.append(self._literal(low))
            elif high < low:
                raise self._error("has a range that runs backwards", start)
            else:
                items.append(f"{_literal(low)}-{_literal(high)}")
        if not items:
            raise self._error("has a class that begins with its end, which dialects read in different ways", start)
        return f"[{'^' if negated else ''}{''.join(items)}]"

    def _class_item(self, inside: dict[str, str], outside: dict[str, str]) -> int | str:
        character = self._next("has a class that is not closed")
        if character != "\\":
            return ord(character)
        character = self._next("ends in a backslash")
        if character in inside:
            return inside[character]
        if character in "DWS":
            return f"[^{outside[character.lower()]}]"
        if character in "pP":
            return f"\\{character}{self._property()}"
        return 8 if character == "b" else self._code(character)

    def _literal(self, code: int) -> str:
        """A single character. JSON writes some only as \\u0000, which the engine does not."""
        if not self._whole and (code < 0x20 or code == 0x7F) and code not in (8, 9, 10, 12, 13):
            raise self._error("has a control character, which cannot be held")
        return _literal(code)

    def _next(self, problem: str) -> str:
        if self._at >= len(self._pattern):
            raise self._error(problem)
        self._at += 1
        return self._pattern[self._at - 1]

    def _take(self, character: str) -> bool:
        found = self._pattern.startswith(character, self._at)
        self._at += found
        return found

    def _error(self, message: str, at: int | None = None) -> PatternError:
        return PatternError(message, self._at if at is None else at)


def _literal(code: int) -> str:
    character = chr(code)
    return character if character.isascii() and character.isalnum() else f"\\x{{{code:x}}}"


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal()


def _is_hexadecimal(text: str) -> bool:
    return all(character in "0123456789abcdefABCDEF" for character in text)
