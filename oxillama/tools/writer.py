"""Calls as a syntax writes them: into texts of templates that know no tools."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from oxillama.tools.syntax import ReplySyntax, pattern

_FILL = {"id": "000000000", "number": "0", "skip": " json"}


def written_calls(syntax: ReplySyntax, calls: Sequence[tuple[str, Any]]) -> str:
    """A reply that makes these calls, each a name and arguments (a mapping or JSON text)."""
    texts = [written_call(syntax, name, arguments) for name, arguments in calls]
    return syntax.section_open + syntax.separator.join(texts) + syntax.section_close


def written_call(syntax: ReplySyntax, name: str, arguments: Any) -> str:
    text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    match syntax.codec:
        case "json" if syntax.name_key is None:
            return f"{{{_quoted(name)}: {text}}}"
        case "json":
            key, value = _quoted(syntax.name_key or ""), _quoted(syntax.arguments_key)
            return f"{syntax.head}{{{key}: {_quoted(name)}, {value}: {text}}}{syntax.close}"
        case "arguments":
            return filled(syntax.head, name=name) + text + syntax.close
        case "tagged":
            return filled(syntax.head, name=name) + _tagged(syntax, arguments) + syntax.close
        case _:
            return f"{name}({text})"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def filled(marker: str, **slots: str) -> str:
    """A marker with its slots filled."""
    values = {**_FILL, **slots}
    return "".join(literal + (values.get(slot, "") if slot else "") for literal, slot in pattern(marker))


def _tagged(syntax: ReplySyntax, arguments: Any) -> str:
    given = arguments if isinstance(arguments, Mapping) else {}
    texts = []
    for key, value in given.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        head = filled(syntax.argument_head, key=key, kind=kind_word(syntax, isinstance(value, str)))
        texts.append(head + text + filled(syntax.argument_close, key=key))
    return syntax.argument_separator.join(texts)


def kind_word(syntax: ReplySyntax, is_text: bool, json_type: str = "") -> str:
    """What a template calls the kind of an argument."""
    words = dict(syntax.kinds)
    if json_type in words:
        return json_type
    return next((word for word, kind in syntax.kinds if (kind == "string") == is_text), "")
