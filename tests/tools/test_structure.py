"""The drawn structure: nothing leads back up, nothing goes in a circle. `python -m tools.structure` draws it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.structure import circles, cython_imports, python_imports, read, room


def test_no_arrow_leads_back_up() -> None:
    assert read().upward == []


def test_no_module_imports_itself_by_others() -> None:
    assert read().circles == []


def test_rooms_are_told_by_their_folders() -> None:
    assert room("oxillama.engine") == "."
    assert room("oxillama.requests.request") == "requests"
    assert room("oxillama.requests") == "requests"
    assert room("oxillama._core.output.handle") == "_core/output"
    arrows = read().arrows
    assert arrows["requests", "_core/output"] > 3
    assert arrows["asgi", "requests"] > 3
    assert not [one for one, other in arrows if one == other]


def test_circles_are_found_once() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}, "e": set()}) == [["a", "b", "c"]]
    assert circles({"a": {"b", "c"}, "b": {"d"}, "c": {"d"}, "d": set()}) == []


def test_imports_are_told_apart_by_when_they_happen() -> None:
    source = (
        "import a.b\nif TYPE_CHECKING:\n    from c import d\n"
        "try:\n    import e\nexcept ImportError:\n    pass\ndef f():\n    from g import h\n"
    )
    assert python_imports(source) == ({"a.b", "e"}, {"g.h"}, {"c.d"})
    assert cython_imports("from oxillama.a cimport b\ncimport oxillama.c\nfrom libc.math cimport exp\n") == {
        "oxillama.a",
        "oxillama.c",
    }


@pytest.mark.parametrize(
    ("file", "source", "upward", "n_circles"),
    [
        ("low.py", "import oxillama.high\n", [], 1),
        ("low.py", "def f():\n    import oxillama.high\n", [], 0),
        ("low.py", "from oxillama.asgi import app\n", [("oxillama.low", "oxillama.asgi.app")], 0),
        ("_core/ring.pyx", "from oxillama.errors import x\n", [], 0),
        ("_core/ring.pyx", "from oxillama.low import x\n", [("oxillama._core.ring", "oxillama.low")], 0),
    ],
)
def test_what_must_not_be_is_seen(
    tmp_path: Path, file: str, source: str, upward: list[tuple[str, str]], n_circles: int
) -> None:
    package = tmp_path / "oxillama"
    files = {"high.py": "from oxillama import low\n", "low.py": "", "errors.py": "", "asgi/app.py": "", file: source}
    for name, text in files.items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(text)
    found = read(package)
    assert found.upward == upward
    assert len(found.circles) == n_circles
