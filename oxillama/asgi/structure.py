"""How a request asks for the shape of its reply: the fields of three servers, as one grammar."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import msgspec

from oxillama.asgi.errors import refusal
from oxillama.asgi.fields import implemented
from oxillama.asgi.request_log import RequestRecord
from oxillama.errors import InvalidRequestError
from oxillama.structured.grammar import Grammar
from oxillama.structured.response_format import response_grammar, schema_grammar

HEADER = "x-oxillama-warning"
MAX_HEADER_CHARACTERS = 1000

RESPONSE_FORMAT = implemented(
    "response_format",
    "`text`, `json_object` or `json_schema`; what a schema has that cannot be held is refused by its path. Without "
    f"`strict: true`, `oneOf` may be held as `anyOf`, and the header `{HEADER}` says so",
)
STRUCTURE_FIELDS = [
    *implemented("grammar", "a grammar in GBNF, with `root`", "llama-server"),
    *implemented("json_schema", "a JSON schema of the reply", "llama-server"),
    *implemented("guided_json guided_regex guided_choice", "a JSON schema, a pattern, a list of texts", "vllm"),
    *implemented("guided_grammar", "GBNF where it has `::=`, else Lark", "vllm"),
    *implemented(
        "structured_outputs", "one of `json`, `json_object`, `regex`, `choice` and `grammar`, as the four above", "vllm"
    ),
]


class StructuredOutputs(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """vLLM's newer way to say it; its other members choose among backends or ask for what there is not."""

    json: Any = None
    json_object: bool | None = None
    regex: str | None = None
    choice: list[str] | None = None
    grammar: str | None = None


@dataclass(frozen=True)
class Shape:
    """What a reply must look like, or None, and the path of the field that says so."""

    grammar: Grammar | None
    path: str

    def tell(self, record: RequestRecord) -> None:
        """Lets the reply's header say where the grammar holds less than was asked."""
        if self.grammar is not None and self.grammar.warnings:
            text = "; ".join(self.grammar.warnings)
            shown = "".join(one if one.isascii() and one.isprintable() else "?" for one in text)
            record.headers[HEADER] = shown[:MAX_HEADER_CHARACTERS]

    @contextmanager
    def errors(self) -> Iterator[None]:
        """What is wrong with the grammar is told by the client's own field."""
        try:
            yield
        except InvalidRequestError as error:
            if error.param == "grammar":
                error.param = self.path
            raise


class StructureFields(msgspec.Struct, kw_only=True):
    """The fields that chats, responses and completions share. At most one may be given."""

    grammar: str | None = None
    json_schema: Any = None
    guided_json: Any = None
    guided_regex: str | None = None
    guided_choice: list[str] | None = None
    guided_grammar: str | None = None
    structured_outputs: StructuredOutputs | None = None

    def shape(self, response_format: Any = None, param: str = "response_format") -> Shape:
        """What the reply must look like. A schema may take its time: never on the event loop.

        Raises HTTPError or GrammarError with the path of what is wrong."""
        given = self._given()
        shaped = response_grammar(response_format, param)
        if shaped is not None:
            given = [(param, "shaped", shaped), *given]
        if len(given) > 1:
            names = " and ".join(path for path, _, _ in given)
            raise refusal(f"{names} each say what the reply looks like; give one", given[1][0])
        if not given:
            return Shape(None, param)
        path, kind, value = given[0]
        with Shape(None, path).errors():
            return Shape(_grammar(kind, value, path), path)

    @property
    def is_structured(self) -> bool:
        """Whether any of these was given."""
        return bool(self._given())

    def _given(self) -> list[tuple[str, str, Any]]:
        """(where, what kind, what) of each that was given."""
        nested = self.structured_outputs
        asked = [
            ("grammar", "gbnf", self.grammar),
            ("json_schema", "json", self.json_schema),
            ("guided_json", "json", self.guided_json),
            ("guided_regex", "regex", self.guided_regex),
            ("guided_choice", "choice", self.guided_choice),
            ("guided_grammar", "grammar", self.guided_grammar),
        ]
        if nested is not None:
            names = ("json", "json_object", "regex", "choice", "grammar")
            asked += [(f"structured_outputs.{name}", name, getattr(nested, name)) for name in names]
        # An empty text is what some clients fill the field with.
        return [one for one in asked if one[2] is not None and one[2] is not False and one[2] != ""]


def _grammar(kind: str, value: Any, path: str) -> Grammar:
    match kind:
        case "shaped":
            return cast(Grammar, value)
        case "json":
            return schema_grammar(value, path, strict=True)
        case "json_object":
            return Grammar.json_object()
        case "regex":
            return Grammar.regex(value)
        case "choice":
            return Grammar.choice(value)
        case "gbnf":
            return Grammar.gbnf(value)
    return Grammar.gbnf(value) if "::=" in value else Grammar.lark(value)
