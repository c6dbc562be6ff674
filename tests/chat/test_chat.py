"""Chat templates against what transformers renders, and against templates that misbehave."""

from __future__ import annotations

import json
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from oxillama import Engine, TemplateError
from oxillama.chat import render

TURN = [{"role": "user", "content": "Who are you?"}]


def dated(text: str) -> str:
    """Recorded texts have the date's format where the date was."""
    return re.sub("\u2983(.*?)\u2984", lambda found: datetime.now().strftime(found[1]), text)


def test_recorded_templates(fixtures_dir: Path) -> None:
    folder = fixtures_dir / "chat_templates"
    conversations: dict[str, Any] = json.loads((folder / "conversations.json").read_text())["conversations"]
    compared = 0
    for path in sorted(folder.glob("*.jinja")):
        template = path.read_text()
        for case in json.loads(path.with_suffix(".json").read_text())["cases"]:
            if case.get("skip"):
                continue
            conversation = conversations[case["conv"]]

            def rendered(case: Any = case, conversation: Any = conversation, template: str = template) -> str:
                return render(
                    template,
                    conversation["messages"],
                    tools=conversation.get("tools"),
                    add_generation_prompt=case["add_generation_prompt"],
                    bos_token="<s>",
                    eos_token="</s>",
                )

            if "out" in case:
                assert rendered() == dated(case["out"]), (path.name, case["conv"])
                compared += 1
            elif case["error"].startswith("TemplateError"):
                with pytest.raises(TemplateError):
                    rendered()
                compared += 1
    assert compared > 100


def test_the_demo_model_answers_a_turn() -> None:
    with Engine.demo(progress=False) as engine:
        assert engine.chat_template is not None
        assert engine.tokenizer is not None
        text = render(engine.chat_template, TURN, bos_token="<s>", eos_token="</s>")
        prompt = engine.tokenize(text, add_special=False, parse_special=True)
        assert engine.tokenizer.bos_id == prompt[0]
        answer = engine.generate(prompt, max_tokens=100, temperature=0)
        assert answer.finish_reason == "stop"
        assert len(answer.text.split()) >= 3
        assert "<|" not in answer.text
        follow = [*TURN, {"role": "assistant", "content": answer.text}, {"role": "user", "content": "Thank you!"}]
        again = render(engine.chat_template, follow, bos_token="<s>", eos_token="</s>")
        assert again.startswith(text)
        second = engine.generate(engine.tokenize(again, add_special=False, parse_special=True), max_tokens=100)
        assert second.finish_reason == "stop"


def test_a_refusal_of_the_template_is_raised_with_its_words() -> None:
    with pytest.raises(TemplateError, match="only users, please"):
        render("{{ raise_exception('only users, please') }}", TURN)


@pytest.mark.parametrize(
    "template",
    ["{% if %}", "{{ messages[7].content }}", "{{ 1 / 0 }}", "{{ messages.append(1) }}", "{{ ''.__class__.__mro__ }}"],
)
def test_a_template_that_fails_or_pries_is_an_error(template: str) -> None:
    with pytest.raises(TemplateError):
        render(template, TURN)


def test_json_keeps_characters() -> None:
    assert render("{{ messages[0].content | tojson }}", [{"role": "user", "content": "é<&"}]) == '"é<&"'


def test_generation_blocks_and_loop_controls_are_known() -> None:
    template = (
        "{% for m in messages %}{% if loop.index > 1 %}{% break %}{% endif %}"
        "{% generation %}x{% endgeneration %}{% endfor %}"
    )
    assert render(template, [*TURN, *TURN]) == "x"


def test_keywords_reach_the_template() -> None:
    assert render("{{ enable_thinking }}", TURN, enable_thinking=True) == "True"
