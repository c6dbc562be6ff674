"""The table of docs/integrations.md says what the tests show, no more and no less."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path
from typing import get_args

from tests.integrations.shown import Column

REPOSITORY = Path(__file__).resolve().parent.parent
PAGE = (REPOSITORY / "docs" / "integrations.md").read_text("utf-8")
TABLE = re.compile(r"<!-- adapters: .*? -->\n(.*?)<!-- end -->", re.DOTALL)


def shown() -> dict[str, set[str]]:
    """What the decorators of the tests say: the libraries need not be there to read them."""
    found: dict[str, set[str]] = defaultdict(set)
    for path in sorted((*REPOSITORY.glob("tests/integrations/*.py"), *REPOSITORY.glob("tests/clients/*.py"))):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            for call in node.decorator_list:
                if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "shows":
                    assert node.name.startswith("test_"), f"{node.name} is no test"
                    library, *columns = (ast.literal_eval(argument) for argument in call.args)
                    found[library] |= set(columns)
    return found


def told() -> dict[str, set[str]]:
    match = TABLE.search(PAGE)
    assert match is not None
    header, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in match[1].strip().splitlines()]
    assert header == ["library", *get_args(Column)]
    assert rows == sorted(rows)
    return {row[0]: {name for name, mark in zip(header[1:], row[1:], strict=True) if mark == "✓"} for row in rows}


def test_the_table_is_what_the_tests_show() -> None:
    assert told() == shown()


def test_every_module_is_on_the_page() -> None:
    modules = {path.stem for path in (REPOSITORY / "oxillama" / "integrations").glob("*.py")} - {"__init__"}
    named = set(re.findall(r"oxillama\.integrations\.(\w+)", PAGE)) | {"llm", "inspect_ai"}
    assert modules <= named


def test_code_on_the_page_is_python_and_imports_what_there_is() -> None:
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("oxillama.integrations."):
                source = (REPOSITORY / f"{(node.module or '').replace('.', '/')}.py").read_text("utf-8")
                classes = {each.name for each in ast.parse(source).body if isinstance(each, ast.ClassDef)}
                assert {alias.name for alias in node.names} <= classes
