"""Templates that are only large are refused before anything larger is made of them."""

from __future__ import annotations

from typing import Any

import pytest
from jinja2 import nodes

from oxillama import TemplateError
from oxillama.chat import check_compiles, render
from oxillama.chat.template_limits import MAX_CODE_CHARACTERS, MAX_NODES, MAX_SOURCE_CHARACTERS
from oxillama.chat.template_sandbox import TemplateSandbox

MESSAGES = [{"role": "user", "content": "x"}]


def names(count: int) -> str:
    return "".join(f"{{% set v{index} = 1 %}}" for index in range(count))


def stop(*args: Any, **kwargs: Any) -> Any:
    raise AssertionError("this must not be reached")


def test_a_long_text_is_not_even_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oxillama.chat.template_sandbox.Parser", stop)
    monkeypatch.setattr("jinja2.environment.Parser", stop)
    for template in ("{{a}}" * MAX_SOURCE_CHARACTERS, " " * (MAX_SOURCE_CHARACTERS + 1)):
        for use in (check_compiles, lambda template: render(template, MESSAGES)):
            with pytest.raises(TemplateError, match=f"at most {MAX_SOURCE_CHARACTERS} are compiled"):
                use(template)


@pytest.mark.parametrize(
    "part",
    [
        "{{a}}",
        "{{ 'a'|upper|trim }}",
        "{% set a=1 %}",
        "{% if a %}{% endif %}",
        "{% for b in a %}{% endfor %}",
        "{{[1,1,1,1,1,1]}}",
        "{{ a+a+a+a }}",
        "{% macro m(a,b) %}{% endmacro %}",
    ],
)
def test_many_parts_become_no_code(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TemplateSandbox, "_generate", stop)
    template = part * (MAX_SOURCE_CHARACTERS // len(part))
    with pytest.raises(TemplateError, match=f"more than {MAX_NODES} parts"):
        check_compiles(template)


def test_few_parts_that_become_much_code_are_stopped_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    # Each block's code repeats all names around it.
    monkeypatch.setattr(TemplateSandbox, "_compile", stop)
    template = names(1200) + "".join(f"{{% block b{index} scoped %}}{{% endblock %}}" for index in range(1200))
    assert len(template) < MAX_SOURCE_CHARACTERS
    with pytest.raises(TemplateError, match=f"more than {MAX_CODE_CHARACTERS} characters"):
        check_compiles(template)


def test_nothing_is_computed_while_a_template_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodes.Filter, "as_const", stop)
    monkeypatch.setattr(nodes.Concat, "as_const", stop)
    assert render("{{ 'a' | upper }}{{ 'b' ~ 'c' }}{% if 'a' | upper == 'A' %}d{% endif %}", MESSAGES) == "Abcd"


def test_a_template_of_several_times_the_largest_known_is_taken() -> None:
    turn = "{% for m in messages %}{% if m.role == 'user' %}{{ m.content | trim }}{% endif %}{% endfor %} "
    assert render(turn * 400, MESSAGES) == "x " * 400
