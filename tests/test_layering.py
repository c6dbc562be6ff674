"""The shape of the source tree as a test: imports go one way, C stays free of Python, files stay readable."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGE = REPOSITORY / "oxillama"
CORE = PACKAGE / "_core"

# Higher layers import lower ones, never the other way round.
LAYERS = {"_core": 0, "api": 1, "asgi": 2}
LAYERS |= dict.fromkeys(("clients", "compat", "integrations", "ray", "cli", "__main__"), 3)

SOURCE_FOLDERS = ("oxillama", "tests", "tools", "benchmarks", "examples")
SOURCE_SUFFIXES = {".py", ".pyx", ".pxd", ".pyi", ".c", ".h"}
DOCUMENT_SUFFIXES = {".md", ".toml", ".in", ".sh", ".svg"}
MAX_LINES = 800
DISCUSSED_LINES = 500
# A file above DISCUSSED_LINES, and why it is one file all the same.
LONG_FILES: dict[str, str] = {
    "oxillama/_core/scheduling/worker.pyx": "one thread's loop and its owner, which share one struct",
    "tests/asgi/test_page_browser.py": "one page in one browser, whose start all its tests share",
}

# `import x`, `cimport x, y as z`, `from x cimport y` of Cython, which Python's own parser cannot read.
CYTHON_IMPORT = re.compile(r"^\s*(?:from\s+(?P<source>[\w.]+)\s+c?import\s|c?import\s+(?P<modules>[\w., ]+))")
CYTHON_INCLUDE = re.compile(r"^\s*include\s+[\"']", re.MULTILINE)
C_INCLUDE = re.compile(r"^\s*#\s*include\s+[<\"](?P<header>[^>\"]+)[>\"]", re.MULTILINE)

# The rooms of the C headers; one includes only its own and those that stand lower.
C_ROOMS = {".": 0, "vec": 1, "pack": 1, "matmul": 2, "rows": 2, "sampling": 2, "attention": 3, "levels": 4}

# What the compiled core may use besides itself: the C side of Cython, the standard library, and the error tree.
CORE_MAY_IMPORT = ("oxillama._core", "oxillama.errors")


def package_files(*suffixes: str) -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*") if path.suffix in suffixes)


def source_files() -> list[Path]:
    files = [REPOSITORY / "setup.py"]
    for folder in SOURCE_FOLDERS:
        files += [path for path in (REPOSITORY / folder).rglob("*") if path.suffix in SOURCE_SUFFIXES]
    return sorted(files)


def relative(path: Path) -> str:
    return path.relative_to(REPOSITORY).as_posix()


def module_name(path: Path) -> str:
    parts = path.relative_to(REPOSITORY).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def layer(module: str) -> str:
    """The layer of a module of the package, by its dotted name."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in LAYERS else "api"


def absolute(name: str, level: int, importer: str, *, importer_is_package: bool) -> str:
    """The dotted name that `from <level dots><name> import` means inside ``importer``."""
    if level == 0:
        return name
    parents = importer.split(".")[: (None if importer_is_package else -1)]
    parents = parents[: len(parents) - level + 1]
    return ".".join([*parents, name] if name else parents)


def python_imports(source: str, importer: str, *, importer_is_package: bool = False) -> set[str]:
    """Every module that Python source imports, at any depth of nesting, as `module` and `module.name`."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = absolute(node.module or "", node.level, importer, importer_is_package=importer_is_package)
            found |= {f"{base}.{alias.name}" for alias in node.names}
    return found


def cython_imports(source: str, importer: str) -> set[str]:
    """Every module that Cython source imports or cimports; for `from x cimport y` it is x."""
    found = set()
    for line in source.splitlines():
        match = CYTHON_IMPORT.match(line)
        if match is None:
            continue
        if match["source"]:
            name = match["source"].lstrip(".")
            level = len(match["source"]) - len(name)
            found.add(absolute(name, level, importer, importer_is_package=False))
        else:
            found |= {part.split()[0] for part in match["modules"].split(",") if part.strip()}
    return found


def upward_imports(importer: str, imported: set[str]) -> list[str]:
    """The imports that go from a lower layer to a higher one."""
    own = LAYERS[layer(importer)]
    return sorted(name for name in imported if name.split(".")[0] == "oxillama" and LAYERS[layer(name)] > own)


@pytest.mark.parametrize("path", package_files(".py"), ids=relative)
def test_python_imports_go_down(path: Path) -> None:
    module = module_name(path)
    imported = python_imports(path.read_text("utf-8"), module, importer_is_package=path.name == "__init__.py")
    assert upward_imports(module, imported) == []


@pytest.mark.parametrize("path", package_files(".pyx", ".pxd"), ids=relative)
def test_the_core_imports_only_itself_and_the_errors(path: Path) -> None:
    imported = cython_imports(path.read_text("utf-8"), module_name(path))
    ours = {name for name in imported if name.split(".")[0] == "oxillama"}
    assert {name for name in ours if not name.startswith(CORE_MAY_IMPORT)} == set()


@pytest.mark.parametrize("path", package_files(".pyx", ".pxd"), ids=relative)
def test_cython_is_composed_by_cimport(path: Path) -> None:
    assert CYTHON_INCLUDE.search(path.read_text("utf-8")) is None


@pytest.mark.parametrize("path", package_files(".c", ".h"), ids=relative)
def test_c_knows_nothing_of_python(path: Path) -> None:
    room = path.parent.relative_to(CORE / "csrc").as_posix()
    for header in C_INCLUDE.findall(path.read_text("utf-8")):
        assert not header.lower().startswith(("python", "numpy", "cython"))
        if (CORE / "csrc" / header).is_file():
            other = Path(header).parent.as_posix()
            assert other == room or C_ROOMS[other] < C_ROOMS[room], f"{header}: no way goes up"
        else:
            assert "/" not in header or header.startswith(("sys/", "linux/", "asm/")), header


@pytest.mark.parametrize("path", package_files(".pyx"), ids=relative)
def test_every_compiled_module_has_a_stub(path: Path) -> None:
    assert path.with_suffix(".pyi").is_file()


def test_files_stay_readable() -> None:
    lengths = {relative(path): len(path.read_text("utf-8").splitlines()) for path in source_files()}
    assert {name: lines for name, lines in lengths.items() if lines > MAX_LINES} == {}
    discussed = {name for name, lines in lengths.items() if lines > DISCUSSED_LINES}
    assert discussed == set(LONG_FILES), "LONG_FILES names each file above 500 lines, with its reason, and no other"


@pytest.mark.parametrize("path", [path for path in source_files() if path.suffix in {".c", ".h"}], ids=relative)
def test_lines_of_c_fit(path: Path) -> None:
    """Those of Python and Cython are held by their linters."""
    too_long = [number for number, line in enumerate(path.read_text("utf-8").splitlines(), 1) if len(line) > 120]
    assert not too_long, f"lines above 120 columns: {too_long}"


def test_no_path_of_one_machine_is_written_down() -> None:
    home = re.compile(r"(?<![\w.])/(?:home/\w+|Users/\w+|root)/")
    own = {str(REPOSITORY) + "/", str(Path.home()) + "/"} - {"//"}
    files = [path for path in source_files() if path != Path(__file__)]
    files += [REPOSITORY / "Makefile", REPOSITORY / ".ci" / "run"]
    for document in REPOSITORY.glob("*"), *((REPOSITORY / name).rglob("*") for name in ("docs", *SOURCE_FOLDERS)):
        files += [path for path in document if path.suffix in DOCUMENT_SUFFIXES and path.is_file()]
    for path in files:
        text = path.read_text("utf-8")
        assert home.search(text) is None, path
        assert not [name for name in own if name in text], path


class TestTheTestsOwnReader:
    """The rules above are only as good as what reads the imports."""

    def test_python_imports_are_found_at_any_depth(self) -> None:
        source = "import a.b\nfrom .c import d\ndef f():\n    from ..e import g\n    from . import h\n"
        assert python_imports(source, "p.q.r") == {"a.b", "p.q.c.d", "p.e.g", "p.q.h"}
        assert python_imports("from .c import d", "p.q", importer_is_package=True) == {"p.q.c.d"}

    def test_cython_imports_are_found(self) -> None:
        source = "cimport a, b.c as d\nfrom libc.math cimport exp\nimport e\n    from oxillama.f import g\nx = 1\n"
        assert cython_imports(source, "p.q") == {"a", "b.c", "libc.math", "e", "oxillama.f"}
        assert cython_imports("from .ring cimport Ring", "oxillama._core.kv") == {"oxillama._core.ring"}

    def test_an_upward_import_is_reported(self) -> None:
        assert upward_imports("oxillama._core.kv", {"oxillama._core.ring", "numpy"}) == []
        assert upward_imports("oxillama.engine", {"oxillama.asgi.app", "oxillama.errors"}) == ["oxillama.asgi.app"]
        assert upward_imports("oxillama.asgi.app", {"oxillama.engine", "oxillama.cli"}) == ["oxillama.cli"]
