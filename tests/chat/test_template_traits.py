"""What is found out about a chat template by rendering with it."""

from __future__ import annotations

from typing import Any

import pytest

from oxillama.chat.template_traits import TemplateTraits, template_traits


def traits(*, text: bool = True, parts: bool = False, joins: bool = False, developer: bool = False) -> TemplateTraits:
    return TemplateTraits(takes_text=text, takes_parts=parts, joins_arguments=joins, knows_developer=developer)


def each(written: str) -> str:
    return f"{{% for m in messages %}}{written}{{% endfor %}}"


PARTS = "{% for p in m.content %}{{ p.text }}{% endfor %}"
CALLS = "{% for c in m.tool_calls or [] %}{{ WRITTEN }}{% endfor %}"


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        # Contents.
        (each("{{ m.content | trim }}"), traits()),
        (each("{{ m.content }}"), traits()),  # would write a list as Python does
        (each("{{ m.content | tojson }}"), traits()),
        (each(PARTS), traits(text=False, parts=True)),
        (each("{% if m.content is string %}{{ m.content }}{% else %}" + PARTS + "{% endif %}"), traits(parts=True)),
        (each("{{ m.content[0].text }}"), traits()),  # a second part would be lost
        (each("{{ m.content if m.content is string else raise_exception('no') }}"), traits()),
        # Nothing is known of one that writes nothing, and one that cannot be rendered fails where it is used.
        ("", traits()),
        ("{{ raise_exception('never') }}", traits()),
        ("{% if %}", traits()),
        # Arguments of tool calls.
        (each(CALLS.replace("WRITTEN", "c.function.arguments | tojson")), traits()),
        (each("x" + CALLS.replace("WRITTEN", "c.function.arguments.items() | list")), traits()),
        (each("x" + CALLS.replace("WRITTEN", "'' + c.function.arguments")), traits(joins=True)),
        (each("x" + CALLS.replace("WRITTEN", "raise_exception('no tools')")), traits()),
        # The role.
        (each("{{ '<dev>' if m.role == 'developer' }}"), traits(developer=True)),
    ],
)
def test_known_answers(template: str, expected: TemplateTraits) -> None:
    assert template_traits(template) == expected


def test_a_template_is_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []

    def counted(*args: Any, **kwargs: Any) -> str:
        calls.append(args)
        return "x"

    monkeypatch.setattr("oxillama.chat.template_traits.render", counted)
    template = "{# a template of this test alone #}"
    first = template_traits(template)
    tried = len(calls)
    assert template_traits(template) is first
    assert len(calls) == tried > 0
