"""What probing finds is recorded in reply_syntaxes.json; `python -m tests.tools.test_probe` writes it anew."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from oxillama.chat import render
from oxillama.tools.probe import probe
from oxillama.tools.table import SYNTAXES
from tests.conftest import fixtures_folder

RECORD = Path(__file__).with_name("reply_syntaxes.json")


def found(folder: Path) -> dict[str, Any]:
    syntaxes = {path.stem: probe(path.read_text()).to_dict() for path in sorted(folder.glob("*.jinja"))}
    made: dict[str, Any] = json.loads(json.dumps(syntaxes))
    return made


def test_recorded_templates_have_the_recorded_syntax(fixtures_dir: Path) -> None:
    recorded = json.loads(RECORD.read_text())
    assert found(fixtures_dir / "chat_templates") == recorded


def test_a_template_that_fails_everywhere_has_no_syntax() -> None:
    syntax = probe("{{ raise_exception('never') }}")
    assert not syntax.calls
    assert syntax.think_close == ""


def test_calls_between_other_marks_than_anybody_uses() -> None:
    template = (
        "{% for m in messages %}[{{ m.role }}] {{ m.content }}"
        "{% for c in m.tool_calls or [] %}@@do {{ c.function.name }} with {{ c.function.arguments | tojson }} done@@"
        "{% endfor %}<end>\n{% endfor %}{% if add_generation_prompt %}[assistant] {% endif %}"
    )
    syntax = probe(template)
    assert (syntax.codec, syntax.head, syntax.close) == ("arguments", "@@do {name} with ", " done@@")
    assert syntax.parallel
    assert not syntax.declares


def test_a_queue_in_a_list_is_allowed_and_the_callers_lists_are_not_touched() -> None:
    queue = "{% set n = namespace(q=[]) %}{% for m in messages %}{% set _ = n.q.append(m.content) %}{% endfor %}"
    assert render(queue + "{{ n.q.pop(0) }}{{ n.q | length }}", [{"role": "user", "content": "hi"}]) == "hi0"
    messages = [{"role": "user", "content": "hi"}]
    assert probe("{% set _ = messages.append('x') %}").codec == "none"
    assert len(messages) == 1


def test_names_are_those_of_the_table() -> None:
    assert all(name == syntax.name for name, syntax in SYNTAXES.items())


if __name__ == "__main__":
    RECORD.write_text(json.dumps(found(fixtures_folder() / "chat_templates"), indent=1, ensure_ascii=False) + "\n")
