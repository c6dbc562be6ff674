"""How wheels are built and published: for what the project says it runs on, by nobody who holds a secret."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tools import try_wheel, wheels

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))


@pytest.fixture(scope="module")
def workflow() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((REPOSITORY / ".github" / "workflows" / "publish.yml").read_text("utf-8"))
    return found


def test_wheels_are_for_the_versions_that_the_project_names(project: dict[str, Any]) -> None:
    named = {each.rpartition(" ")[2] for each in project["project"]["classifiers"] if ":: Python :: 3." in each}
    built = {f"3.{tag.removeprefix('cp3')}" for tag in wheels.wanted_tags()}
    assert {version.removesuffix("t") for version in built} == named
    assert f">={min(named, key=lambda version: int(version[2:]))}" == project["project"]["requires-python"]


def test_this_interpreter_is_found_by_its_tag() -> None:
    assert wheels.tag_of("no-such-python") is None
    found = wheels.interpreters()
    assert set(found) <= set(wheels.wanted_tags())
    assert all(wheels.tag_of(name) == tag for tag, name in found.items())


def test_a_stranger_tries_three_programs() -> None:
    programs = try_wheel.programs()
    assert len(programs) == 3
    assert [word for word, code in zip(["Engine", "Mount", "given"], programs, strict=True) if word in code] == [
        "Engine", "Mount", "given",
    ]  # fmt: skip


def test_only_a_tag_publishes(workflow: dict[str, Any]) -> None:
    on = dict[Any, Any](workflow)[True]
    assert on == {"push": {"tags": ["v*"]}}, "YAML reads `on` as true"


def test_only_the_last_job_may_ask_for_a_token(workflow: dict[str, Any]) -> None:
    assert workflow["permissions"] == {}
    jobs = workflow["jobs"]
    assert [name for name, job in jobs.items() if "id-token" in job["permissions"]] == ["upload"]
    assert set(jobs["upload"]["needs"]) == set(jobs) - {"upload"}
    # It runs nothing of the repository: what it uploads was built by jobs that have no token.
    assert all("run" not in step and "checkout" not in step["uses"] for step in jobs["upload"]["steps"])
    assert "secrets." not in yaml.safe_dump(workflow)


def test_every_architecture_of_linux_is_built(project: dict[str, Any], workflow: dict[str, Any]) -> None:
    built = {entry["arch"] for entry in workflow["jobs"]["wheels"]["strategy"]["matrix"]["include"]}
    assert built == set(project["tool"]["cibuildwheel"]["linux"]["archs"])
