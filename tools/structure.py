"""The drawn structure of the package: rooms, arrows between them, arrows back up, circles, long files.

Usage: python -m tools.structure

A room is a folder of modules; `.` are the modules that users import. An arrow is an import of one room by another. One
leads back up where a lower layer imports a higher one. A circle is of modules that cannot be loaded one after the
other: imports in functions come later, those for type checkers never. Of Cython a module's contract (.pxd) is one thing
and its body (.pyx) another, which imports contracts and is imported by nobody. Rooms that import each other are told
besides."""

from __future__ import annotations

import ast
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGE = REPOSITORY / "oxillama"
LONG = 400
# Layers from below; what is not named belongs to the api.
LAYERS = {"_core": 0, "asgi": 2, "clients": 3, "compat": 3, "ray": 3, "integrations": 3, "cli": 3, "__main__": 3}
API = 1
FOR_ALL = "oxillama.errors"  # the tree of errors, which the core raises too
_CIMPORT = re.compile(r"^\s*(?:from\s+(?P<source>oxillama[\w.]*)\s+c?import\s|c?import\s+(?P<module>oxillama[\w.]*))")

Modules = dict[str, set[str]]  # what each imports


@dataclass
class Structure:
    """loaded: what each module imports when it is loaded; later: in functions; for_types: what is never loaded."""

    loaded: Modules = field(default_factory=dict)
    later: Modules = field(default_factory=dict)
    for_types: Modules = field(default_factory=dict)
    lengths: dict[str, int] = field(default_factory=dict)

    @property
    def arrows(self) -> Counter[tuple[str, str]]:
        """Between rooms, with the number of imports of each."""
        pairs = [(room(one), room(other)) for one, other in self._pairs(self.loaded, self.later)]
        return Counter((one, other) for one, other in pairs if one != other)

    @property
    def upward(self) -> list[tuple[str, str]]:
        """Imports that lead from a lower layer to a higher one, of any kind."""
        pairs = self._pairs(self.loaded, self.later, self.for_types)
        return sorted((one, other) for one, other in pairs if layer(one) < layer(other) and other != FOR_ALL)

    @property
    def circles(self) -> list[list[str]]:
        """Modules that cannot be loaded one after the other."""
        return circles(self.loaded)

    @property
    def mutual_rooms(self) -> list[list[str]]:
        """Rooms of which each imports the others, on whatever way; the flat one, which is above and below, left out."""
        tables: Modules = {}
        for one, other in self.arrows:
            if "." not in (one, other):
                tables.setdefault(one, set()).add(other)
        return circles(tables)

    @staticmethod
    def _pairs(*tables: Modules) -> list[tuple[str, str]]:
        return sorted({(one, other) for table in tables for one, others in table.items() for other in others})


def read(package: Path = PACKAGE) -> Structure:
    """Of the package in that folder, whose name is oxillama."""
    found = Structure()
    files = sorted(path for path in package.rglob("*") if path.suffix in {".py", ".pyx", ".pxd"})
    names = {name_of(path, package) for path in files}
    for path in files:
        name, source = name_of(path, package), path.read_text("utf-8")
        imports = python_imports(source) if path.suffix == ".py" else (cython_imports(source), set(), set())
        if path.suffix == ".pyx" and path.with_suffix(".pxd").exists():
            imports = (set(), imports[0], set())  # of the body
        for table, some in zip((found.loaded, found.later, found.for_types), imports, strict=True):
            own = {known for known in (known_as(each, names) for each in some) if known not in (None, name)}
            table.setdefault(name, set()).update(known for known in own if known is not None)
        if path.suffix != ".pxd":
            found.lengths[path.relative_to(package.parent).as_posix()] = len(source.splitlines())
    return found


def name_of(path: Path, package: Path) -> str:
    parts = path.relative_to(package.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def known_as(imported: str, names: set[str]) -> str | None:
    """The module that an import means: `package.module.name` is the module's."""
    while imported and imported not in names:
        imported = imported.rpartition(".")[0]
    return imported or None


def room(module: str) -> str:
    """The folder of a module: `requests`, `_core/output`; `.` for what users import."""
    parts = module.split(".")[1:]
    folder = parts if (PACKAGE.joinpath(*parts)).is_dir() else parts[:-1]
    return "/".join(folder) or "."


def layer(module: str) -> int:
    return LAYERS.get(module.split(".")[1] if "." in module else "", API)


def python_imports(source: str) -> tuple[set[str], set[str], set[str]]:
    """What is imported when a module is loaded, in functions, and for type checkers."""
    tree = ast.parse(source)
    later: set[str] = set()
    typed: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            typed |= set(_named(node.body))
            node.body = [ast.Pass()]
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            later |= set(_named(node.body))
            node.body = [ast.Pass()]
    return set(_named(tree.body)), later, typed


def _named(body: Iterable[ast.stmt]) -> Iterator[str]:
    for statement in body:
        for node in ast.walk(statement):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                yield from (f"{node.module}.{alias.name}" for alias in node.names)


def cython_imports(source: str) -> set[str]:
    found = (_CIMPORT.match(line) for line in source.splitlines())
    return {match["source"] or match["module"] for match in found if match is not None}


def circles(modules: Modules) -> list[list[str]]:
    """Tarjan's: what reaches itself, each circle once."""
    order: dict[str, int] = {}
    lowest: dict[str, int] = {}
    path: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        order[name] = lowest[name] = len(order)
        path.append(name)
        for other in sorted(modules.get(name, ())):
            if other not in order:
                visit(other)
                lowest[name] = min(lowest[name], lowest[other])
            elif other in path:
                lowest[name] = min(lowest[name], order[other])
        if lowest[name] == order[name]:
            circle = path[path.index(name) :]
            del path[path.index(name) :]
            if len(circle) > 1:
                found.append(sorted(circle))

    for name in sorted(modules):
        if name not in order:
            visit(name)
    return found


def main() -> int:
    sys.setrecursionlimit(10_000)
    structure = read()
    arrows = structure.arrows
    rooms = Counter(room(name) for name in structure.loaded)
    for name in sorted(rooms, key=lambda each: (-layer(f"oxillama.{each.replace('/', '.')}"), each)):
        to = ", ".join(f"{other} {n}" for (one, other), n in sorted(arrows.items()) if one == name)
        print(f"{name:24} {rooms[name]:3} modules  -> {to}")
    long = {name: n for name, n in structure.lengths.items() if n > LONG}
    print(f"\nrooms {len(rooms)}, arrows {len(arrows)}, arrows back up {len(structure.upward)}, ", end="")
    print(f"circles {len(structure.circles)}, files above {LONG} lines {len(long)}")
    for one, other in structure.upward:
        print(f"up: {one} -> {other}")
    for circle in structure.circles:
        print(f"circle: {', '.join(circle)}")
    for group in structure.mutual_rooms:
        print(f"import each other: {', '.join(group)}")
    for name, n in sorted(long.items(), key=lambda entry: -entry[1]):
        print(f"{n:4} {name}")
    return 1 if structure.upward or structure.circles else 0


if __name__ == "__main__":
    sys.exit(main())
