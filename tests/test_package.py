"""The package as an import sees it: its names, what importing it costs, what it was built from."""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

import oxillama

REPOSITORY = Path(__file__).resolve().parent.parent

# Slow to import, or needed by a minority: they are imported where they are used.
HEAVY = {
    "starlette",
    "uvicorn",
    "hypothesis",
    "tokenizers",
    "sentencepiece",
    "jinja2",
    "tqdm",
    "huggingface_hub",
    "torch",
    "msgspec",
    "prometheus_client",
}


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))


def python(code: str) -> str:
    """What a fresh interpreter prints when it runs ``code`` with warnings as errors."""
    command = [sys.executable, "-W", "error", "-c", code]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60, cwd=REPOSITORY).stdout


def test_all_lists_exactly_what_is_exported() -> None:
    names = oxillama.__all__
    assert sorted(names) == sorted(set(names)) == sorted(name for name in dir(oxillama) if name in names)
    for name in names:
        assert getattr(oxillama, name).__module__.startswith("oxillama."), name
    ours = {
        name
        for name, value in vars(oxillama).items()
        if not name.startswith("_") and getattr(value, "__module__", "").startswith("oxillama.")
    }
    assert ours <= set(names)


def test_what_is_exported_was_made_public_by_its_own_module() -> None:
    """A reader who follows a name finds it where its ``__module__`` says."""
    for name in oxillama.__all__:
        value = getattr(oxillama, name)
        assert getattr(importlib.import_module(value.__module__), name) is value


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        oxillama.no_such_name  # type: ignore[attr-defined]  # noqa: B018


def test_importing_is_cheap() -> None:
    modules = set(json.loads(python("import json, sys, oxillama; print(json.dumps(sorted(sys.modules)))")))
    assert "oxillama" in modules
    assert modules & HEAVY == set()


def test_generating_imports_nothing_for_chats_and_servers() -> None:
    code = "with oxillama.Engine.demo(progress=False) as engine: engine.generate('Once', max_tokens=1)"
    modules = set(json.loads(python(f"import json, sys, oxillama\n{code}\nprint(json.dumps(sorted(sys.modules)))")))
    assert modules & HEAVY == {"sentencepiece"}, "the tokenizer of the demo is one"


@pytest.mark.parametrize("name", ["os", "threading", "logging"])
def test_importing_changes_nothing_of_the_host(name: str) -> None:
    state = {
        "os": "sorted(os.environ.items())",
        "threading": "threading.active_count()",
        "logging": "(logging.root.level, logging.root.handlers, logging.getLogger('oxillama').level)",
    }[name]
    assert python(f"import {name}; before = {state}; import oxillama; print(before == {state})") == "True\n"


def test_every_name_survives_a_star_import() -> None:
    assert python("from oxillama import *; print('OxillamaError' in globals())") == "True\n"


def test_the_installed_version_is_the_project_s(project: dict[str, Any]) -> None:
    try:
        installed = importlib.metadata.version("oxillama-engine")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("built in place, not installed")
    assert installed == project["project"]["version"]


def test_build_requirements_are_told_once(project: dict[str, Any]) -> None:
    assert sorted(project["dependency-groups"]["build"]) == sorted(project["build-system"]["requires"])


def test_the_server_s_requirements_are_told_once(project: dict[str, Any]) -> None:
    extra = project["project"]["optional-dependencies"]["server"]
    assert sorted(project["dependency-groups"]["server"]) == sorted(extra)


def test_the_typing_marker_is_shipped() -> None:
    assert (Path(oxillama.__file__).parent / "py.typed").is_file()
