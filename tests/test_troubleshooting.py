"""docs/troubleshooting.md has every error and every code, and quotes messages that the program really says."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from oxillama import errors
from oxillama.asgi.served_model import NOT_READY
from oxillama.errors import OxillamaError

REPOSITORY = Path(__file__).resolve().parent.parent
PAGE = (REPOSITORY / "docs" / "troubleshooting.md").read_text("utf-8")
CODE_ROW = re.compile(r"^\| `(\w+)` \|", re.MULTILINE)
# The first column of tables that begin with a message: what differs is written as an ellipsis.
MESSAGE_ROW = re.compile(r"^\| `([^`]*[ …][^`]*)`", re.MULTILINE)
CODE_ARGUMENT = re.compile(r'(?:\bcode(?::[^=]*)? ?= ?|\b_overdue\()"(\w+)"')
# Said by Python and by a shell script.
NOT_OURS = {"got an unexpected keyword argument", "missing: …"}

KINDS = [kind.__name__ for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, OxillamaError)]


def sources() -> Iterator[str]:
    for path in sorted((REPOSITORY / "oxillama").rglob("*.py")):
        yield path.read_text("utf-8")


def codes() -> set[str]:
    """Those that are passed by name, those of a server that is not ready, and the two of asgi/errors.py's tables."""
    passed = {code for source in sources() for code in CODE_ARGUMENT.findall(source)}
    return passed | set(NOT_READY) | {"internal_error", "method_not_allowed"}


@cache
def said() -> tuple[str, ...]:
    """Every text in the sources; values that are put into one are an ellipsis."""
    found = [text for source in sources() for text in texts(ast.parse(source))]
    core = "".join(path.read_text("utf-8") for path in sorted((REPOSITORY / "oxillama").rglob("*.pyx")))
    return (*found, re.sub(r"\{[^}]*\}", "…", core))


def texts(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)


def is_said(message: str) -> bool:
    """Whether a text in the sources has all parts of the message, in order. An ellipsis may also be nothing."""
    pattern = re.compile(".*".join(re.escape(part.strip(" ")) for part in message.split("…")), re.DOTALL)
    return any(pattern.search(text) for text in said())


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_is_explained(kind: str) -> None:
    assert re.search(rf"`{kind}`", PAGE), f"{kind} is not on the page"


def test_every_code_is_explained_once() -> None:
    listed = CODE_ROW.findall(PAGE.partition("## Codes")[2])
    assert listed == sorted(listed)
    assert set(listed) == codes()
    assert len(listed) == len(set(listed))


def test_the_page_quotes_what_is_said() -> None:
    messages = [message for message in MESSAGE_ROW.findall(PAGE) if message not in NOT_OURS]
    assert len(messages) > 20
    assert [message for message in messages if not is_said(message)] == []
