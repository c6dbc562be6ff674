"""The plugin for `llm`: found by its entry point, and used as llm's own commands and calls use it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("llm", reason="`make test-clients` installs llm")

import llm
from click.testing import CliRunner
from llm.cli import cli
from llm.plugins import load_plugins, pm

from oxillama import Engine
from oxillama.demo import demo_path
from oxillama.integrations.llm import AsyncOxillamaModel, ModelFile, OxillamaEmbeddings, OxillamaModel
from tests.integrations.conftest import MIA, PERSON, PET
from tests.integrations.shown import shows

pytestmark = pytest.mark.clients

SYSTEM, QUESTION = "You tell stories.", "Tell me one."
SHORT: dict[str, Any] = {"max_tokens": 12, "temperature": 0}


class Opened(ModelFile):
    """An engine that is open already."""

    def __init__(self, engine: Engine) -> None:
        super().__init__("", {})
        self._engine = engine


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LLM_USER_PATH", str(tmp_path))
    load_plugins()
    return tmp_path


def model(engine: Engine) -> Any:
    return OxillamaModel("story", Opened(engine))


@shows("llm", "sync", "stream")
def test_it_says_what_the_engine_says(demo: Engine, told: str) -> None:
    response = model(demo).prompt(QUESTION, system=SYSTEM, **SHORT)
    assert len(list(response)) > 1
    assert response.text() == told
    assert response.usage().output == 12
    assert model(demo).prompt(QUESTION, system=SYSTEM, stream=False, **SHORT).text() == told


@shows("llm", "sync")
def test_a_conversation_goes_on(demo: Engine) -> None:
    conversation = model(demo).conversation()
    first = conversation.prompt(QUESTION, system=SYSTEM, **SHORT).text()
    second = conversation.prompt("Another.", **SHORT).text()
    history = [
        {"role": "system", "content": SYSTEM},
        {"role": "user", "content": QUESTION},
        {"role": "assistant", "content": first},
        {"role": "user", "content": "Another."},
    ]
    assert second == demo.chat(history, **SHORT).text


@shows("llm", "async", "stream")
def test_it_is_awaited_and_streams(demo: Engine, told: str) -> None:
    async def main() -> None:
        later: Any = AsyncOxillamaModel("story", Opened(demo))
        pieces = [piece async for piece in later.prompt(QUESTION, system=SYSTEM, **SHORT)]
        assert "".join(pieces) == told
        assert await later.prompt(QUESTION, system=SYSTEM, **SHORT).text() == told

    asyncio.run(main())


@shows("llm", "sync", "schema")
def test_a_schema_holds(demo: Engine) -> None:
    found = json.loads(model(demo).prompt(QUESTION, schema=PET, temperature=0).text())
    assert found["kind"] in ("cat", "dog")
    assert 0 <= found["legs"] <= 4


@shows("llm", "sync", "async", "tools")
def test_tools_are_called(caller: Engine) -> None:
    tool = llm.Tool(name="Person", description="Somebody.", input_schema=PERSON, implementation=lambda **_: "known")
    (call,) = model(caller).prompt("Who is it?", tools=[tool]).tool_calls()
    assert (call.name, call.arguments) == ("Person", MIA)

    async def main() -> None:
        response = AsyncOxillamaModel("caller", Opened(caller)).prompt("Who is it?", tools=[tool])
        (again,) = await response.tool_calls()
        assert again.arguments == MIA

    asyncio.run(main())


def test_results_of_tools_are_told_to_the_model(caller: Engine) -> None:
    asked = []

    def person(name: str, age: int) -> str:
        asked.append((name, age))
        return "known"

    tool = llm.Tool(name="Person", description="Somebody.", input_schema=PERSON, implementation=person)
    chain = model(caller).conversation().chain("Who is it?", tools=[tool], chain_limit=2)
    with pytest.raises(ValueError, match="limit"):
        chain.text()  # a model that calls for ever
    assert asked
    assert set(asked) == {("Mia", 7)}


@shows("llm", "sync", "embeddings")
def test_it_embeds(demo: Engine) -> None:
    vectors = OxillamaEmbeddings("story", Opened(demo))
    assert list(vectors.embed_multi(["one", "two"])) == demo.embed(["one", "two"]).tolist()
    assert vectors.embed("one") == demo.embed("one")[0].tolist()


def test_the_plugin_is_found_and_its_models_listed() -> None:
    assert "oxillama" in {name for name, _ in pm.list_name_plugin()}
    assert isinstance(llm.get_model("oxillama/demo"), OxillamaModel)
    assert isinstance(llm.get_async_model("oxillama/demo"), AsyncOxillamaModel)
    assert isinstance(llm.get_embedding_model("oxillama/demo"), OxillamaEmbeddings)


def test_files_are_added_asked_and_removed(home: Path, told: str) -> None:
    runner = CliRunner()

    def run(*words: str) -> str:
        done = runner.invoke(cli, words, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.output

    assert run("oxillama", "add", "story", str(demo_path()), "-o", "n_threads", "1").strip() == "oxillama/story"
    assert json.loads((home / "oxillama.json").read_text())["story"]["options"] == {"n_threads": 1}
    assert "oxillama/story" in run("oxillama", "list")
    assert "oxillama/story" in run("models")
    options = ["-o", "max_tokens", "12", "-o", "temperature", "0"]
    assert run("-m", "oxillama/story", "--no-stream", "-s", SYSTEM, *options, QUESTION).strip() == told.strip()
    run("oxillama", "remove", "story")
    assert "oxillama/story" not in run("oxillama", "list")
    assert runner.invoke(cli, ["oxillama", "remove", "story"]).exit_code == 1
    assert runner.invoke(cli, ["oxillama", "add", "demo", str(demo_path())]).exit_code == 1
