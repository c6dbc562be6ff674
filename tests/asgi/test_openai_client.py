"""OpenAI's own client, in its current majors, against a really running server."""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from oxillama import Engine
from oxillama.asgi import create_app
from tests.asgi.servers import RunningServer, running

REPOSITORY = Path(__file__).resolve().parent.parent.parent
SCRIPT = Path(__file__).with_name("drive_openai.py")
INSTALLED = int(importlib.metadata.version("openai").split(".")[0])


@pytest.fixture(scope="module")
def server(demo: Engine) -> Iterator[RunningServer]:
    with running(create_app(demo, api_keys=["key"])) as server:
        yield server


def client_folder(major: int) -> Path:
    """Where a major of the client is that is not the installed one; it is put there once, beside the environment."""
    folder = Path(sys.prefix) / f"openai-{major}"
    if not (folder / "openai").is_dir():
        wanted = f"openai>={major},<{major + 1}"
        begun = folder.with_suffix(".begun")  # what an interrupted installation leaves is not taken for a whole one
        shutil.rmtree(begun, ignore_errors=True)
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(begun), wanted]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            begun.rename(folder)
        if done.returncode:
            if os.environ.get("OXILLAMA_REQUIRE_FIXTURES") == "1":
                pytest.fail(done.stderr)
            pytest.skip(f"pip could not install {wanted}")
    return folder


@pytest.mark.parametrize("major", sorted({2, 3, INSTALLED}))
def test_the_client_drives_every_route(server: RunningServer, demo: Engine, major: int) -> None:
    paths = [] if major == INSTALLED else [str(client_folder(major))]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), f"{server.url}/v1", "key", demo.name],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["client"].split(".")[0] == str(major)
    assert found["completion"] == demo.generate("Once upon a time", max_tokens=12, temperature=0).text
    assert found["embedding"] == demo.embed("one")[0, :4].tolist()
    messages = [{"role": "system", "content": "You tell stories."}, {"role": "user", "content": "Tell me one."}]
    assert found["chat"] == demo.chat(messages, max_tokens=12, temperature=0).text
