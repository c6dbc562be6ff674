"""What a reply must look like from its first token, so that its calls are calls of the tools: a grammar in llguidance's
Lark dialect, written by the same record that replies are read by."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from oxillama.errors import GrammarError, InvalidRequestError
from oxillama.structured.grammar import Grammar
from oxillama.structured.keywords import ANNOTATIONS
from oxillama.structured.lark import lark_text
from oxillama.tools.choice import ToolChoice
from oxillama.tools.definitions import Tool
from oxillama.tools.reader import ReplyState
from oxillama.tools.schemas import kinds_of
from oxillama.tools.syntax import ReplySyntax, pattern
from oxillama.tools.writer import kind_word

# So that a reply ends even where the model would go on calling.
MAX_CALLS = 32
_SPACE = "/[ \\t\\r\\n]{0,4}/"
_ANY = "/(?s:.*)/"
_IDS = {"nine": "/[A-Za-z0-9]{9}/", "model": "/[A-Za-z0-9_-]{1,40}/", "none": "/[A-Za-z0-9_-]{1,40}/"}


# What a schema may say where its values are not JSON; anything else would be left out without a word.
_PLAIN = ANNOTATIONS | {"type"}
_OBJECT = _PLAIN | {"properties", "required", "additionalProperties"}


class CallGrammar:
    """``controls``: the ids of the control tokens in the syntax's markers by their texts; these only are reached by
    their ids. ``other``: what a reply without calls must look like, where that was asked for too."""

    def __init__(
        self,
        syntax: ReplySyntax,
        choice: ToolChoice,
        state: ReplyState,
        controls: Mapping[str, int],
        *,
        parallel: bool = True,
        other: object = None,
    ) -> None:
        self._syntax = syntax
        self._other = other
        self._choice = choice
        self._state = state
        self._controls = controls
        self._parallel = parallel and syntax.parallel
        self._rules: list[str] = []
        pieces = sorted(controls, key=len, reverse=True)
        self._cut = re.compile("(" + "|".join(map(re.escape, pieces)) + ")") if pieces else None

    def text(self) -> str | None:
        """The grammar; None where nothing is to be held. Raises InvalidRequestError naming a schema by its path."""
        required = self._choice.mode == "required"
        strict = any(tool.strict for tool in self._choice.tools)
        one_call = self._choice.mode == "auto" and not self._parallel and self._syntax.parallel
        if not required and not strict and not one_call and self._other is None:
            return None
        thinking, calls = self._thinking(), self._calls()
        if required:
            start = [*thinking, _SPACE, *calls]
            if self._syntax.starts_open:
                start = [*thinking, *calls]
        elif self._other is not None:
            start = [*thinking, _SPACE, f"({' '.join(calls)} | {self._answer()})"]
        else:
            start = [*thinking, *self._free(calls)]
        return "\n".join([f"start: {' '.join(start)}", *self._rules])

    def _answer(self) -> str:
        """The content that was asked for besides calls."""
        grammar = self._other
        if not isinstance(grammar, Grammar) or grammar.kind != "json_schema":
            why = "tools may stand beside a response_format of JSON, not beside another grammar"
            raise InvalidRequestError(why, param="grammar")
        opening = self._syntax.answer_open[:1]
        return self._rule("answer", [*map(self._literal, opening), f"%json {grammar.text}"])

    # --- thinking and free text

    def _thinking(self) -> list[str]:
        syntax = self._syntax
        if not syntax.think_close or self._state.answering:
            return []
        rest = self._until(syntax.think_close.strip())
        if self._state.thinking:
            return [rest]
        return [f"({self._literal(syntax.think_open)} {rest})?"]

    def _free(self, calls: list[str]) -> list[str]:
        """Text without calls, or with calls in it."""
        opening = (self._syntax.section_open or pattern(self._syntax.head)[0][0]).split()
        if not opening:
            # Nothing announces a call: the reply is one, or it does not begin like one.
            self._rules.append("WORDS: /[^{\\s](?s:.*)/")
            return [f"({' '.join(calls)} | WORDS)"]
        first = opening[0]
        again = "*" if self._parallel else "?"
        call = self._rule("free_call", self._until_call(first, calls))
        if self._starts_with_control(first):
            self._rules.append(f"TAIL: {_ANY}")
        else:
            marker = re.escape(first).replace("/", "\\/")
            self._rules.append(f"TAIL: {_ANY} & ~/(?s:.*){marker}(?s:.*)/")
        return [f"{call}{again}", "TAIL"]

    def _until_call(self, first: str, calls: list[str]) -> list[str]:
        """Text up to the first word of a call, which is left out of what follows."""
        if self._starts_with_control(first):
            return [_ANY, *calls]
        # The word ends the text before it.
        word = lark_text(first)
        literal = self._literal_parts(self._opening())
        rest = literal[0][len(first) :] if literal else ""
        name = self._rule_with(f"[suffix={word}]", "words", _ANY)
        return [name, *([lark_text(rest)] if rest else []), *self._joined(literal[1:]), *calls[1:]]

    def _starts_with_control(self, text: str) -> bool:
        return any(text.startswith(control) for control in self._controls)

    # --- calls

    def _opening(self) -> str:
        """What every sequence of calls begins with."""
        return self._syntax.section_open or pattern(self._syntax.head)[0][0]

    def _calls(self) -> list[str]:
        """The opening, and what follows it."""
        syntax = self._syntax
        section = bool(syntax.section_open)
        begins = _plain(pattern(syntax.head)[0][0])
        alternatives = [self._call(tool, begins if section else "") for tool in self._choice.tools]
        opening = self._opening().removeprefix(syntax.starts_open) if syntax.starts_open else self._opening()
        first = self._alternatives("first_call", alternatives)
        parts = [self._literal(opening) if opening else '""', first]
        if self._parallel:
            # In one text with what stands before it: the lexer takes the longest and does not go back.
            others = [self._call(tool, syntax.separator + begins) for tool in self._choice.tools]
            parts.append(f"{self._alternatives('next_call', others)}{{0,{MAX_CALLS - 1}}}")
        if syntax.section_close:
            parts.append(self._literal(syntax.section_close))
        return parts

    def _call(self, tool: Tool, lead: str) -> str:
        """One call of a tool. ``lead``: what stands for the text before the first slot of the head."""
        syntax = self._syntax
        match syntax.codec:
            case "json":
                body = self._object(tool)
            case "arguments":
                body = [*self._head(tool), f"%json {self._schema(tool, tool.parameters)}"]
            case "tagged":
                body = [*self._head(tool), *self._tagged(tool)]
            case "python":
                body = [lark_text(f"{tool.name}("), *self._named(tool, "=", ", "), '")"']
            case _:
                body = [*self._head(tool), '"{"', *self._named(tool, ":", ","), '"}"']
        if lead:
            body.insert(0, self._literal(lead))
        if syntax.close:
            body.append(self._literal(syntax.close))
        return self._rule("call", [part for part in body if part])

    def _object(self, tool: Tool) -> list[str]:
        syntax = self._syntax
        schema = f"%json {self._schema(tool, tool.parameters)}"
        if syntax.name_key is None:
            return [lark_text(f"{{{json.dumps(tool.name)}: "), schema, '"}"']
        name = f"{json.dumps(syntax.name_key)}: {json.dumps(tool.name)}, {json.dumps(syntax.arguments_key)}: "
        if syntax.id_key is None:
            return [lark_text(f"{{{name}"), schema, '"}"']
        key, value = json.dumps(syntax.id_key), _IDS[syntax.ids]
        if syntax.id_first:
            return [lark_text(f'{{{key}: "'), value, lark_text(f'", {name}'), schema, '"}"']
        return [lark_text(f"{{{name}"), schema, lark_text(f', {key}: "'), value, '"\\"}"']

    def _head(self, tool: Tool) -> list[str]:
        """The head without the text before its first slot."""
        parts: list[str] = []
        for index, (literal, slot) in enumerate(pattern(self._syntax.head)):
            if literal and index:
                parts.append(self._literal(literal))
            match slot:
                case "name":
                    parts.append(lark_text(tool.name))
                case "id":
                    parts.append(_IDS[self._syntax.ids])
                case "number":
                    parts.append("/[0-9]{1,4}/")
                case "skip":
                    parts.append(
                        self._literal(" <|constrain|>json") if "<|constrain|>" in self._controls else '" json"'
                    )
        return parts

    # --- arguments between markers

    def _tagged(self, tool: Tool) -> list[str]:
        syntax = self._syntax
        properties = self._properties(tool)
        if properties is None:
            return []
        required = tool.parameters.get("required", [])
        parts = []
        for key, schema in properties.items():
            kinds = kinds_of(tool.parameters, key)
            word = kind_word(syntax, kinds == {"string"}, next(iter(kinds), ""))
            head = "".join(
                literal + {"key": key, "kind": word}.get(slot or "", "")
                for literal, slot in pattern(syntax.argument_head)
            )
            close = "".join(literal + (key if slot else "") for literal, slot in pattern(syntax.argument_close))
            if kinds == {"string"}:
                value = self._text(schema, close, f"{tool.path}.function.parameters.properties.{key}")
            else:
                value = f"%json {self._schema(tool, schema, key)} {self._literal(close)}"
            argument = self._rule("argument", [self._literal(head), value])
            parts.append(argument if key in required else f"{argument}?")
        return parts

    def _properties(self, tool: Tool) -> Mapping[str, Any] | None:
        properties = tool.parameters.get("properties", {})
        required = tool.parameters.get("required", [])
        path = f"{tool.path}.function.parameters"
        if not isinstance(properties, Mapping) or not all(isinstance(one, Mapping) for one in properties.values()):
            raise InvalidRequestError(f"{path}.properties must be an object of schemas", param=f"{path}.properties")
        if not isinstance(required, list | tuple):
            message = f"{path}.required must be a list of names, found a {type(required).__name__}"
            raise InvalidRequestError(message, param=f"{path}.required")
        if any(not isinstance(key, str) or key not in properties for key in required):
            raise InvalidRequestError(f"{path}.required names what is no property", param=f"{path}.required")
        _only(tool.parameters, _OBJECT, path, "where arguments are written one by one")
        self._schema(tool, tool.parameters)  # whether it can be held at all
        return properties

    def _named(self, tool: Tool, equals: str, comma: str) -> list[str]:
        """`key=value, key=value`, in the order of the schema."""
        properties = self._properties(tool) or {}
        required = tool.parameters.get("required", [])
        arguments = []
        # Templates that write braces sort the keys.
        order = sorted(properties.items()) if self._syntax.codec == "braces" else properties.items()
        for key, schema in order:
            value = self._value(tool, schema, key)
            arguments.append((self._rule("argument", [lark_text(f"{key}{equals}"), value]), key in required))
        if not arguments:
            return []
        # From the last one on: what may follow an argument, with the comma before it.
        rest = ""
        for argument, needed in reversed(arguments[1:]):
            one = f"{lark_text(comma)} {argument}"
            rest = f"{one} {rest}".strip() if needed else f"({one})? {rest}".strip()
        if all(needed for _, needed in arguments) or arguments[0][1]:
            return [f"{arguments[0][0]} {rest}".strip()]
        # Where the first may be missing, any of the following may be the first.
        alternatives = []
        for index, (argument, needed) in enumerate(arguments):
            tail = ""
            for other, other_needed in reversed(arguments[index + 1 :]):
                one = f"{lark_text(comma)} {other}"
                tail = f"{one} {tail}".strip() if other_needed else f"({one})? {tail}".strip()
            alternatives.append(f"{argument} {tail}".strip())
            if needed:
                return [f"({' | '.join(alternatives)})"]
        return [f"({' | '.join(alternatives)})?"]

    def _value(self, tool: Tool, schema: Mapping[str, Any], key: str) -> str:
        kinds = kinds_of(tool.parameters, key)
        written = f"%json {self._schema(tool, schema, key)}"
        path = f"{tool.path}.function.parameters.properties.{key}"
        if self._syntax.codec == "python":
            if kinds == {"boolean"}:
                _only(schema, _PLAIN, path, "of a Python truth value")
                return self._rule("truth", ['("True" | "False")'])
            return self._rule("value", [written])
        quote = self._syntax.quote
        if kinds == {"string"}:
            return self._rule("value", [self._literal(quote), self._text(schema, quote, path)])
        if kinds & {"array", "object"} or not kinds:
            return self._rule("value", [self._nested(tool, schema, path, 0)])
        return self._rule("value", [written])

    def _text(self, schema: Mapping[str, Any], end: str, path: str) -> str:
        """A text as it is, up to its end and with it: one of some, or any. A text has no escapes there, so that nothing
        else that a schema says of it can be held."""
        if "const" not in schema and "enum" not in schema:
            _only(schema, _PLAIN, path, "of a text that is written without quotes")
            return self._until(end)
        chosen = "const" if "const" in schema else "enum"
        _only(schema, _PLAIN | {chosen}, path, f"beside {chosen}")
        texts = [schema["const"]] if chosen == "const" else schema["enum"]
        if not all(isinstance(text, str) for text in texts):
            raise InvalidRequestError(f"{path}.{chosen} is not all texts", param=f"{path}.{chosen}")
        return f"({' | '.join(map(lark_text, texts))}) {self._literal(end)}"

    def _nested(self, tool: Tool, schema: Any, path: str, depth: int) -> str:
        """A value in braces; keys and texts have the dialect's own quotes."""
        quote = self._syntax.quote
        kind = schema.get("type") if isinstance(schema, Mapping) else None
        if depth > 8 or not isinstance(kind, str):
            why = "has a value of no single type, which cannot be held in this model's way to call"
            raise InvalidRequestError(f"{path} {why}", param=path)
        if kind == "string":
            return f"{self._literal(quote)} {self._text(schema, quote, path)}"
        if kind == "array":
            _only(schema, _PLAIN | {"items"}, path, "of a list in braces")
            inner = self._nested(tool, schema.get("items", {"type": "string"}), f"{path}.items", depth + 1)
            item = self._rule("item", [inner])
            return f'"[" ({item} ("," {item})*)? "]"'
        if kind == "object":
            _only(schema, _OBJECT, path, "of an object in braces")
            properties = schema.get("properties", {})
            if missing := sorted(set(schema.get("required", ())) - set(properties)):
                raise InvalidRequestError(f"{path}.required names {missing[0]!r}, which is no property", param=path)
            parts = [
                f"{lark_text(f'{name}:')} {self._nested(tool, value, f'{path}.properties.{name}', depth + 1)}"
                for name, value in properties.items()
            ]
            return '"{" ' + ' "," '.join(parts) + ' "}"'
        return f"%json {self._schema(tool, schema)}"

    def _schema(self, tool: Tool, schema: Mapping[str, Any], key: str | None = None) -> str:
        """A schema made ready for the engine. Raises InvalidRequestError where it cannot be held."""
        path = f"{tool.path}.function.parameters"
        definitions = {word: tool.parameters[word] for word in ("$defs", "definitions") if word in tool.parameters}
        whole = {**definitions, **schema} if key is not None else {"type": "object", **schema}
        try:
            return Grammar.json_schema(whole, strict=tool.strict).text
        except GrammarError as error:
            where = f"{path}.properties.{key}" if key is not None else path
            detail = (error.param or "").partition(".")[2] if "." in (error.param or "") else ""
            raise InvalidRequestError(
                f"{where}: {error}", param=f"{where}.{detail}" if detail else where, code="invalid_function_parameters"
            ) from None

    # --- pieces

    def _literal(self, text: str) -> str:
        return " ".join(self._joined(self._literal_parts(text)))

    def _literal_parts(self, text: str) -> list[str]:
        return [part for part in (self._cut.split(text) if self._cut else [text]) if part]

    def _joined(self, parts: list[str]) -> list[str]:
        return [f"<[{self._controls[part]}]>" if part in self._controls else lark_text(part) for part in parts]

    def _until(self, marker: str) -> str:
        """Any text up to a marker, and the marker."""
        parts = self._literal_parts(marker)
        if not parts:
            return _ANY
        if parts[0] in self._controls:
            return " ".join([_ANY, *self._joined(parts)])
        name = self._rule_with(f"[suffix={lark_text(parts[0])}]", "text", _ANY)
        return " ".join([name, *self._joined(parts[1:])])

    def _alternatives(self, name: str, rules: list[str]) -> str:
        return self._rule(name, [" | ".join(rules)]) if len(rules) > 1 else rules[0]

    def _rule(self, name: str, parts: list[str]) -> str:
        return self._rule_with("", name, " ".join(parts))

    def _rule_with(self, options: str, name: str, body: str) -> str:
        named = f"{name}_{len(self._rules)}"
        self._rules.append(f"{named}{options}: {body}")
        return named


def _plain(text: str) -> str:
    return "".join(literal for literal, _ in pattern(text))


def _only(schema: Mapping[str, Any], held: frozenset[str], path: str, where: str) -> None:
    """Raises InvalidRequestError for a keyword that is not among those which can be held."""
    for word in schema:
        if word not in held and not str(word).startswith("x-"):
            raise InvalidRequestError(
                f"{path}.{word} cannot be held {where}", param=f"{path}.{word}", code="invalid_function_parameters"
            )
