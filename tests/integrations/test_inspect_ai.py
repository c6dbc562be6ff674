"""inspect-ai over an engine in this process."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("inspect_ai", reason="`make test-clients` installs inspect-ai")

from inspect_ai import Task
from inspect_ai import eval as evaluate
from inspect_ai.dataset import Sample
from inspect_ai.model import (
    ChatMessageSystem,
    ChatMessageUser,
    GenerateConfig,
    Model,
    ResponseSchema,
    get_model,
)
from inspect_ai.scorer import includes
from inspect_ai.tool import ToolFunction, ToolInfo, ToolParams
from inspect_ai.util import JSONSchema

from oxillama import Engine, InvalidRequestError
from tests.integrations.conftest import MIA, PERSON, PET
from tests.integrations.shown import shows

pytestmark = pytest.mark.clients

INPUT = [ChatMessageSystem(content="You tell stories."), ChatMessageUser(content="Tell me one.")]
SHORT: dict[str, Any] = {"max_tokens": 12, "temperature": 0.0}


def model(engine: Engine) -> Model:
    return get_model("oxillama/any", engine=engine, memoize=False)


def asked(engine: Engine, *, tools: list[Any] | None = None, tool_choice: Any = None, **config: Any) -> Any:
    return asyncio.run(
        model(engine).generate(INPUT, tools=tools or [], tool_choice=tool_choice, config=GenerateConfig(**config))
    )


@shows("inspect-ai", "async")
def test_it_says_what_the_engine_says(demo: Engine, told: str) -> None:
    output = asked(demo, **SHORT)
    assert output.completion == told
    assert output.stop_reason == "max_tokens"
    assert output.usage.output_tokens == 12
    assert output.model == demo.name


@shows("inspect-ai", "async")
def test_an_evaluation_runs(demo: Engine, told: str, tmp_path: Path) -> None:
    task = Task(
        dataset=[Sample(input="Tell me one.", target=told) for _ in range(4)],
        scorer=includes(),
        config=GenerateConfig(system_message="You tell stories.", **SHORT),
    )
    (log,) = evaluate(task, model=model(demo), log_dir=str(tmp_path), display="none", log_level="warning")
    assert log.status == "success", log.error
    assert log.results is not None
    assert log.results.scores[0].metrics["accuracy"].value == 1


@shows("inspect-ai", "async", "tools")
def test_tools_are_called(caller: Engine) -> None:
    tool = ToolInfo(
        name="Person",
        description="Somebody.",
        parameters=ToolParams(
            properties={name: JSONSchema(**schema) for name, schema in PERSON["properties"].items()},
            required=PERSON["required"],
        ),
    )
    for choice in ("auto", "any", ToolFunction(name="Person")):
        output = asked(caller, tools=[tool], tool_choice=choice)
        (call,) = output.choices[0].message.tool_calls
        assert (call.function, call.arguments) == ("Person", MIA)
        assert output.stop_reason == "tool_calls"


@shows("inspect-ai", "async", "schema")
def test_a_schema_holds(demo: Engine) -> None:
    schema = ResponseSchema(name="pet", json_schema=JSONSchema.model_validate(PET))
    found = json.loads(asked(demo, response_schema=schema, temperature=0.0).completion)
    assert found["kind"] in ("cat", "dog")
    assert isinstance(found["legs"], int)


def test_seeds_choices_and_log_probabilities_are_the_engine_s(demo: Engine) -> None:
    output = asked(demo, max_tokens=8, seed=7, num_choices=2, logprobs=True, top_logprobs=2, extra_body={"min_p": 0.02})
    messages = [{"role": "system", "content": INPUT[0].content}, {"role": "user", "content": INPUT[1].content}]
    expected = demo.chat(messages, max_tokens=8, seed=7, n=2, logprobs=2, min_p=0.02)
    assert [choice.message.text for choice in output.choices] == [each.message.content for each in expected.choices]
    assert expected.logprobs is not None
    assert [entry.logprob for entry in output.choices[0].logprobs.content] == [
        entry.logprob for entry in expected.logprobs.content
    ]


def test_a_prompt_that_is_too_long_ends_as_with_other_providers(demo: Engine) -> None:
    output = asyncio.run(model(demo).generate("word " * 5000))
    assert output.stop_reason == "model_length"


def test_tokens_are_counted_by_the_model_s_vocabulary(demo: Engine) -> None:
    count = asyncio.run(model(demo).count_tokens("Once upon a time"))
    assert count == len(demo.tokenize("Once upon a time", add_special=False))


def test_a_file_is_opened_and_closed() -> None:
    opened = get_model("oxillama/demo", n_threads=1, progress=False, memoize=False)
    output = asyncio.run(opened.generate("Tell me one.", config=GenerateConfig(**SHORT)))
    assert output.completion
    opened.api.close()
    assert opened.api.engine.state == "closed"


@pytest.mark.parametrize("config", [{"reasoning_effort": "high"}, {"verbosity": "low"}, {"extra_headers": {"a": "b"}}])
def test_settings_that_mean_nothing_are_refused_by_name(demo: Engine, config: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError, match=next(iter(config))):
        asked(demo, **config)
