"""Where the JSON-Schema-Test-Suite is kept, from an archive made here: no network."""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
from pathlib import Path

import pytest

from tools import json_schema_suite as suite


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(suite.VARIABLE, str(tmp_path))
    folder = f"jsonschema-{suite.VERSION}/json/tests"
    with tarfile.open(suite.path(), "w:gz") as file:
        for name in ("draft7/type.json", "draft7/optional/format/date.json", "draft7/optional/bignum.json", "x.json"):
            content = json.dumps([{"description": name, "schema": True, "tests": []}]).encode()
            info = tarfile.TarInfo(f"{folder}/{name}")
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return suite.path()


def test_groups_come_with_the_name_of_their_file(archive: Path) -> None:
    assert [name for name, _ in suite.cases("draft7")] == ["optional/format/date.json", "type.json"]


def test_what_is_there_is_not_fetched_again(archive: Path) -> None:
    assert suite.provide() == archive


def test_what_cannot_be_had_is_an_exit_status(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(suite.VARIABLE, str(tmp_path / "none"))

    def refuse(*args: object, **options: object) -> object:
        raise OSError("no network")

    monkeypatch.setattr(subprocess, "run", refuse)
    assert suite.main() == 1
