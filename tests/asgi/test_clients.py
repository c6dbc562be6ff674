"""Other people's client libraries against a really running server: `make test-clients`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from oxillama import Engine
from oxillama.asgi import create_app
from tests.asgi.chain_model import write_chain_model
from tests.asgi.servers import running

pytestmark = pytest.mark.clients

PYTHON = Path(sys.prefix) / "clients" / "bin" / "python"
MESSAGES = [{"role": "system", "content": "You tell stories."}, {"role": "user", "content": "Tell me one."}]
PERSON = ("```json\n", "{", '"name"', ': "', "Mia", '", ', '"age"', ": ", "7", "}", "\n```")


def drive(library: str, engine: Engine) -> dict[str, Any]:
    """What a library's script, run in the environment of the libraries, tells of its visit."""
    assert PYTHON.exists(), "`make test-clients` installs the libraries"
    script = Path(__file__).with_name(f"drive_{library}.py")
    with running(create_app(engine, api_keys=["key"])) as server:
        command = [str(PYTHON), str(script), f"{server.url}/v1", "key", engine.name]
        # litellm would fetch a list of prices.
        environment = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr[-4000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("library", ["langchain", "litellm"])
def test_it_gets_what_the_engine_gives(demo: Engine, library: str) -> None:
    assert drive(library, demo) == {
        "chat": demo.chat(MESSAGES, max_tokens=12, temperature=0).text,
        "completion": demo.generate("Once upon a time", max_tokens=12, temperature=0).text,
        "embedding": demo.embed("one")[0, :4].tolist(),
    }


def test_pydantic_ai_gets_what_the_engine_gives(demo: Engine) -> None:
    assert drive("pydantic_ai", demo) == {"chat": demo.chat(MESSAGES, max_tokens=12, temperature=0).text}


def test_instructor_reads_an_object(tmp_path: Path) -> None:
    """From a model that writes this one object whatever it is asked."""
    write_chain_model(tmp_path / "person.gguf", PERSON)
    with Engine(tmp_path / "person.gguf", n_threads=1, progress=False) as engine:
        assert drive("instructor", engine) == {"name": "Mia", "age": 7}


def test_shapes_are_held_whatever_the_model_would_write(demo: Engine) -> None:
    """instructor, OpenAI's client, langchain and litellm, with a model that tells stories."""
    found = drive("structured", demo)
    assert sorted(found) == ["instructor", "langchain", "litellm", "openai", "openai responses"]
    for pet in found.values():
        assert pet["kind"] in ("cat", "dog")
        assert 0 <= pet["legs"] <= 4


def test_instructor_s_modes_of_json(tmp_path: Path) -> None:
    write_chain_model(tmp_path / "person.gguf", PERSON[1:-1])
    with Engine(tmp_path / "person.gguf", n_threads=1, progress=False) as engine:
        found: Any = drive("instructor_json", engine)
    assert found == [{"name": "Mia", "age": 7}] * 2


# Cut where a grammar leaves more than one way to go on: what must follow is cut by the grammar itself.
CALL = (
    "<tool_call>\n", '{"name": "Person", "arguments": {"name":', ' "Mia",', ' "age":', " 7}}", "\n</tool_call>",
)  # fmt: skip


def test_tools_are_called(tmp_path: Path) -> None:
    """By a model that makes this one call whatever it is asked."""
    write_chain_model(tmp_path / "caller.gguf", CALL)
    with Engine(tmp_path / "caller.gguf", n_threads=1, progress=False) as engine:
        assert drive("tools", engine) == {"name": "Mia", "age": 7}
