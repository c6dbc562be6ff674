"""The shape a reply is held to, as a caller names it. What a worker makes of it is the compiler's."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from oxillama.errors import GrammarError
from oxillama.structured.gbnf_lark import gbnf_to_lark
from oxillama.structured.json_schema import JsonSchema
from oxillama.structured.lark import checked_lark, lark_text
from oxillama.structured.patterns import PatternError, whole_pattern
from oxillama.structured.schema_document import loaded
from oxillama.structured.typed_schema import TypedSchema, is_type

if TYPE_CHECKING:
    from oxillama.structured.session import GrammarSession
    from oxillama.tokenizer import Tokenizer

GrammarKind = Literal["json_schema", "regex", "lark"]

MAX_CHOICES = 10_000
MAX_CHOICE_CHARACTERS = 1 << 20
# One space at most, where people put one: models that may write blanks go on with them.
_COMPACT = {"whitespace_flexible": False, "item_separator": ", ?", "key_separator": ": ?"}
_PRETTY = {"whitespace_pattern": r"\n {0,40}| "}
# A key has one spelling, so that none can stand beside itself as "\u0061" and escape its schema.
_ESCAPES = {"json_allowed_escapes": 'nrbtf\\"'}


@dataclass(frozen=True, slots=True, repr=False)
class Grammar:
    """What every reply of a request must look like. Immutable and hashable; equal ones share one compiled form.

    ``kind`` and ``text`` are what the engine takes: a JSON schema made ready, as JSON; a regular expression; or a
    grammar in llguidance's Lark dialect. ``is_json`` says that it is JSON, ``target`` which type ``decode`` makes of
    it, and ``warnings`` where a reply is held to less than was asked.

    >>> Grammar.choice(["yes", "no"])
    Grammar(kind='lark', length=19)
    """

    kind: GrammarKind
    text: str
    is_json: bool = False
    target: TypedSchema | None = field(default=None, compare=False)
    warnings: tuple[str, ...] = field(default=(), compare=False)
    is_made: bool = field(default=False, compare=False)  # Lark that was written here, of choices or GBNF

    @classmethod
    def json_schema(cls, schema: Any, *, strict: bool = True, pretty: bool = False) -> Grammar:
        """JSON that a schema accepts: a mapping, a JSON text, a pydantic model, dataclass, TypedDict or other type.

        A keyword that cannot be held is a GrammarError that names it. With ``strict=False`` only `oneOf` whose
        alternatives are not told apart is not: it is held as `anyOf`, and ``warnings`` says so. ``pretty`` allows line
        breaks with indentation; else there is at most one space after a comma or a colon. Types allow no properties but
        their own. Keys come in the order of the schema."""
        typed = TypedSchema(schema) if is_type(schema) else None
        if typed is not None:
            schema = typed.schema
        elif isinstance(schema, str):
            schema = loaded(schema)
        options = (_PRETTY if pretty else _COMPACT) | _ESCAPES
        ready = JsonSchema(schema, relaxed=not strict, closed=typed is not None, options=options)
        return cls("json_schema", ready.text, True, typed, tuple(ready.warnings))

    @classmethod
    def json_object(cls, *, pretty: bool = False) -> Grammar:
        """Any JSON object."""
        return cls.json_schema({"type": "object"}, pretty=pretty)

    @classmethod
    def regex(cls, pattern: str) -> Grammar:
        """Text that a regular expression matches as a whole. There is no looking around and no reference to a group;
        `\\d` and `\\w` are ASCII, `.` is no line end (but with `(?s)`)."""
        if not isinstance(pattern, str):
            raise GrammarError(f"a pattern must be a text, found a {type(pattern).__name__}", param="grammar")
        try:
            return cls("regex", whole_pattern(pattern))
        except PatternError as error:
            message = f"the pattern {error}, at character {error.at + 1}"
            raise GrammarError(message, param="grammar", code="unsupported_pattern") from None

    @classmethod
    def choice(cls, choices: Iterable[str]) -> Grammar:
        """One of a list of texts."""
        texts = list(choices) if not isinstance(choices, str) else [choices]
        if not texts or not all(isinstance(text, str) for text in texts) or "" in texts:
            raise GrammarError("a choice needs a list of texts that are not empty", param="grammar")
        if len(texts) > MAX_CHOICES or sum(map(len, texts)) > MAX_CHOICE_CHARACTERS:
            message = f"a choice has {len(texts)} texts, at most {MAX_CHOICES} of 1 MiB in all are allowed"
            raise GrammarError(message, param="grammar")
        return cls("lark", "start: " + " | ".join(map(lark_text, dict.fromkeys(texts))), is_made=True)

    @classmethod
    def gbnf(cls, text: str) -> Grammar:
        """A grammar in llama.cpp's notation; `<[7]>` and `<think>` are tokens. Errors tell line and column."""
        return cls("lark", checked_lark(gbnf_to_lark(text)), is_made=True)

    @classmethod
    def lark(cls, text: str) -> Grammar:
        """A grammar in llguidance's Lark dialect; `<|name|>` is a special token, `%json {...}` a schema.

        It goes to the engine as it is: a schema inside has the engine's guarantees, which are fewer than those of
        ``json_schema``. Put ``Grammar.json_schema(x).text`` after `%json` to have these."""
        return cls("lark", checked_lark(text))

    def decode(self, text: str) -> Any:
        """The value of a reply: decoded JSON, or an instance of the type passed. ValueError for one that is none."""
        if not self.is_json:
            raise ValueError("the grammar's replies are text, not JSON")
        try:
            value = json.loads(text)
        except RecursionError:
            raise ValueError("the reply has too many values inside one another") from None
        return value if self.target is None else self.target.decode(value)

    def session(self, tokenizer: Tokenizer | None = None, *, n_vocab: int | None = None) -> GrammarSession:
        """A text in the making, for `Sampler.probs(mask=)` and tests of one's own; see `GrammarSession`."""
        from oxillama.structured.session import GrammarSession

        return GrammarSession(self, tokenizer, n_vocab=n_vocab)

    def __repr__(self) -> str:
        return f"Grammar(kind={self.kind!r}, length={len(self.text)})"
