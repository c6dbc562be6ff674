"""Templates that would hang the process or eat its memory end as an error; those of real models never notice."""

from __future__ import annotations

import resource
import subprocess
import sys
import textwrap
import time

import pytest

from oxillama import TemplateError
from oxillama.chat import render

TURN = [{"role": "user", "content": "Who are you?"}]

ENDLESS = {
    "nested loops": "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "nested loops that write": "{% for a in range(99999) %}{% for b in range(99999) %}text{% endfor %}{% endfor %}",
    "macros that call themselves twice": (
        "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(40) }}"
    ),
    "a call block": (
        "{% macro f(n) %}{% if n %}{% call f(n - 1) %}{% endcall %}{% call f(n - 1) %}{% endcall %}{% endif %}"
        "{% endmacro %}{{ f(40) }}"
    ),
    "recursive loops": "{% for a in [[1, 1], [1, 1]] recursive %}{{ loop([a, a]) }}{% endfor %}",
    "a range beyond the sandbox": "{{ range(10 ** 7) | list | length }}",
    "slow operations": "{% set s = 'ab' * 500000 %}{% for a in range(99999) %}{% set t = s | upper %}{% endfor %}",
    "a sum of lists": "{{ (([[1] * 1000]) * 1000) | sum(start=[]) }}",
    "a large power": "{{ 9 ** (9 ** 9) }}",
    "a number that doubles its digits": (
        "{% set ns = namespace(n=3) %}{% for a in range(60) %}{% set ns.n = ns.n * ns.n %}{% endfor %}"
    ),
}
DOUBLED = "{{% set ns = namespace(s={start}) %}}{{% for a in range(60) %}}{{% set ns.s = {step} %}}{{% endfor %}}{end}"
HUGE = {
    "a product": "{{ 'a' * 10 ** 10 }}",
    "a product, the other way": "{{ 10 ** 10 * 'a' }}",
    "a list": "{{ [0] * 10 ** 10 }}",
    "sums": DOUBLED.format(start="'a'", step="ns.s + ns.s", end=""),
    "concatenations": DOUBLED.format(start="'a'", step="ns.s ~ ns.s", end=""),
    "sums of lists": DOUBLED.format(start="[1]", step="ns.s + ns.s", end=""),
    "a list of itself, written": DOUBLED.format(start="[1]", step="[ns.s, ns.s]", end="{{ ns.s }}"),
    "a list of itself, as JSON": DOUBLED.format(start="[1]", step="[ns.s, ns.s]", end="{{ ns.s | tojson }}"),
    "a list of itself, joined": DOUBLED.format(start="[1]", step="[ns.s, ns.s]", end="{{ ns.s | join('') }}"),
    "a list of itself, concatenated": DOUBLED.format(start="[1]", step="[ns.s, ns.s]", end="{{ 'a' ~ ns.s }}"),
    "a list of itself, formatted": DOUBLED.format(start="[1]", step="[ns.s, ns.s]", end="{{ '%s' % (ns.s,) }}"),
    "a mapping of itself": DOUBLED.format(start="[1]", step="{'a': ns.s, 'b': ns.s}", end="{{ ns.s }}"),
    "replacements": DOUBLED.format(start="'aa'", step="ns.s.replace('a', ns.s)", end=""),
    "replacements by the filter": DOUBLED.format(start="'aa'", step="ns.s | replace('a', ns.s)", end=""),
    "replacements of nothing": DOUBLED.format(start="'aa'", step="ns.s.replace('', ns.s)", end=""),
    "joined": DOUBLED.format(start="'aa'", step="ns.s.join(ns.s | list)", end=""),
    "joined by the filter": DOUBLED.format(start="'aa'", step="ns.s | list | join(ns.s)", end=""),
    "joined lazily": DOUBLED.format(start="'aa'", step="ns.s.join(ns.s | map('upper'))", end=""),
    "formatted": DOUBLED.format(start="'aa'", step="'%s%s' % (ns.s, ns.s)", end=""),
    "formatted by name": DOUBLED.format(start="'aa'", step="'{0}{0}{0}'.format(ns.s)", end=""),
    "translated": DOUBLED.format(start="'aa'", step="ns.s.translate({97: ns.s})", end=""),
    "a width": "{{ '%999999999d' % 1 }}",
    "a width from a value": "{{ '%*d' % (10 ** 9, 1) }}",
    "a width of format": "{{ '{:999999999}'.format(1) }}",
    "a width of format from a value": "{{ '{:{}}'.format(1, 10 ** 9) }}",
    "a width of a mapping's format": "{{ '{a:999999999}'.format_map({'a': 1}) }}",
    "a width of a safe text": "{{ ('{:999999999}' | safe).format(1) }}",
    "the filter format": "{{ '%999999999d' | format(1) }}",
    "centred": "{{ 'a' | center(10 ** 9) }}",
    "centred when compiled": "{{ 'a' | center(1000000000) }}",
    "centred by the method": "{{ 'a'.center(10 ** 9) }}",
    "padded": "{{ 'a'.ljust(10 ** 9) }}{{ 'a'.zfill(10 ** 9) }}",
    "padded bytes": "{{ 'a'.encode().ljust(10 ** 9) }}",
    "tabs": "{{ 'a\t'.expandtabs(10 ** 9) }}",
    "many tabs": "{{ ('\t' * 100000).expandtabs(100000) }}",
    "indented": "{{ 'a\nb' | indent(10 ** 9) }}",
    "indented JSON": "{{ [[1] * 1000] | tojson(indent=1000) }}",
    "many texts": "{{ (['a' * 900000] * 100000) | map('upper') | list | length }}",
    "a macro that writes": "{% macro f() %}{% for a in range(90000) %}"
    + "x" * 5000
    + "{% endfor %}{% endmacro %}{{ f() }}",
    "a block that is set": "{% set s %}{% for a in range(90000) %}" + "x" * 5000 + "{% endfor %}{% endset %}",
    "bytes of a number": "{{ (1).to_bytes(10 ** 9) }}",
    "a width after a name": "{{ '%(a)999999999d' % {'a': 1} }}",
    "a width after a name, by the filter": "{{ '%(a)999999999d' | format(a=1) }}",
    "a width after a name with parentheses": "{{ '%(a(b))999999999d' % {'a(b)': 1} }}",
    "many widths": "{{ ('{0:\U0001f600>999}' * 100000).format(1) }}",
    "many precisions": "{{ ('%(a).999f' * 90000) % {'a': 1.5} }}",
    "the same long number many times": (
        "{% set ns = namespace(n=3) %}{% for a in range(11) %}{% set ns.n = ns.n * ns.n %}{% endfor %}"
        "{{ [ns.n] * 900000 }}"
    ),
    "a remainder": "{{ '%9999999999d' is odd }}",
    "a remainder of a list's texts": "{{ ['%9999999999d'] | select('divisibleby', 3) | list }}",
    "a list of itself in a test": DOUBLED.format(start="[1]", step="[ns.s, ns.s]", end="{{ ns.s is lower }}"),
    "a text rounded": "{{ 'a' | round(10, 'floor') }}",
    "a list rounded": "{{ [1] | round(9, 'ceil') }}",
    "a number rounded": "{{ 1 | round(9000000, 'ceil') }}",
    "a number that is long": "{{ ('f' * 900000) | int(base=16) }}",
    "a field of a field": DOUBLED.format(start="[1]", step="[ns.s, ns.s]", end="{{ '{0.s}'.format(ns) }}"),
    "what namespaces hold": DOUBLED.format(
        start="[1]", step="[ns.s, ns.s]", end="{{ [namespace(v=ns.s)] | join(attribute='v') }}"
    ),
    "what loops hold": DOUBLED.format(
        start="[1]",
        step="[ns.s, ns.s]",
        end="{% for a in [ns.s, 1] %}{{ [loop] | join(attribute='nextitem') }}{{ [loop] | join(attribute='previtem') }}"
        "{% endfor %}",
    ),
    "what cyclers hold": DOUBLED.format(
        start="[1]", step="[ns.s, ns.s]", end="{{ [cycler(ns.s)] | join(attribute='current') }}"
    ),
    "a view of a mapping": DOUBLED.format(start="[1]", step="[ns.s, ns.s]", end="{{ {'a': ns.s}.items() }}"),
    "another view of a mapping": DOUBLED.format(start="[1]", step="[ns.s, ns.s]", end="{{ {'a': ns.s}.values() }}"),
    "filler": "{{ lipsum(n=10 ** 6) }}",
}
# Two of these are equal, and hold each other so often that nobody can find that out.
TWINS = DOUBLED.format(start="[1], t=[1]", step="[ns.s, ns.s]", end="").replace(
    "{% endfor %}", "{% set ns.t = [ns.t, ns.t] %}{% endfor %}"
)
KEY = {"start": "(1,)", "end": "{{ {ns.s: 1} | length }}"}
COMPARED = {
    "operators": TWINS + "{{ ns.s == ns.t }}",
    "operators in a row": TWINS + "{{ 1 != ns.s == ns.t }}",
    "membership": TWINS + "{{ ns.s in [ns.t] }}",
    "a test": TWINS + "{{ ns.s is eq(ns.t) }}",
    "a test by name": TWINS + "{{ [ns.s] | select('in', [ns.t]) | list | length }}",
    "sorting": TWINS + "{{ [ns.s, ns.t] | sort | length }}",
    "extremes": TWINS + "{{ [ns.s, ns.t] | max | length }}",
    "groups": TWINS + "{{ [{'a': ns.s}, {'a': ns.t}] | groupby('a') | length }}",
    "counting": TWINS + "{{ [ns.s].count(ns.t) }}",
    "a look at what changes": TWINS + "{% for a in [ns.s, ns.t] %}{{ loop.changed(a) }}{% endfor %}",
    "sorting by what namespaces hold": TWINS + "{{ [namespace(v=ns.s), namespace(v=ns.t)] | sort(attribute='v') }}",
    "views": TWINS + "{{ {'a': ns.s}.items().isdisjoint({'a': ns.t} | items) }}",
    "keys": DOUBLED.format(**KEY, step="(ns.s, ns.s)"),
    "sums as keys": DOUBLED.format(**KEY, step="((ns.s,) + (ns.s,))"),
    "products as keys": DOUBLED.format(**KEY, step="(ns.s,) * 2"),
    "arguments as keys": (
        "{% set ns = namespace(s=(1,)) %}{% macro f() %}{% set ns.s = varargs %}{% endmacro %}"
        "{% for a in range(60) %}{{ f(ns.s, ns.s) }}{% endfor %}{{ {ns.s: 1} | length }}"
    ),
}


@pytest.mark.parametrize("template", ENDLESS.values(), ids=ENDLESS.keys())
def test_what_would_never_end_ends(template: str) -> None:
    started = time.thread_time()
    with pytest.raises(TemplateError):
        render(template, TURN)
    assert time.thread_time() - started < 6


def test_comparisons_that_would_never_end_are_refused() -> None:
    # In a process of its own, which the system ends: nothing of Python's own interrupts a comparison.
    script = textwrap.dedent("""
        from oxillama.chat import render
        from oxillama import TemplateError
        from tests.chat.test_template_sandbox import COMPARED, TURN
        for name, template in COMPARED.items():
            print(name, end=": ", flush=True)
            try:
                print("rendered", render(template, TURN))
            except TemplateError as error:
                print(error)
    """)
    result = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (60, 60)),
    )
    lines = result.stdout.splitlines()
    assert len(lines) == len(COMPARED), result.stdout + result.stderr
    assert [line for line in lines if "makes a value of more than" not in line] == []


def test_a_namespace_does_not_write_what_it_holds() -> None:
    assert render("{% set ns = namespace(a='held') %}{{ ns }}", TURN) == "<Namespace>"


def test_time_runs_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oxillama.chat.template_budget.MAX_SECONDS", 0.05)
    with pytest.raises(TemplateError, match="takes too long"):
        render(ENDLESS["nested loops"], TURN)


def test_what_would_eat_the_memory_is_stopped() -> None:
    # In a process of its own with little memory: there even one attempt to allocate all that would show.
    script = textwrap.dedent("""
        import sys
        from pathlib import Path
        from oxillama.chat import render
        from oxillama import TemplateError
        from tests.chat.test_template_sandbox import HUGE, TURN
        failed = []
        for name, template in HUGE.items():
            try:
                render(template, TURN)
                failed.append(f"{name}: rendered")
            except TemplateError as error:
                if "MemoryError" in str(error):
                    failed.append(f"{name}: no memory")
        # Not ru_maxrss, which begins with what the forking process held.
        status = Path("/proc/self/status").read_text()
        peak = int(status.split("VmHWM:")[1].split()[0]) // 1024
        print(peak, failed)
        sys.exit(bool(failed) or peak > 300)
    """)
    result = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=100,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30)),
    )
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{ 'a' * 3 ~ 'b' + 'c' }}", "aaabc"),
        ("{{ 2 ** 10 }} {{ 7 % 3 }}", "1024 1"),
        ("{{ '%s is 2024 %%' % 'x' }}", "x is 2024 %"),
        ("{{ '{{\"year 2024\": {}}}'.format(1) }}", '{"year 2024": 1}'),
        ("{{ 'a-b'.replace('-', '+') | replace('+', '=') }}", "a=b"),
        ("{{ ['a', 'b'] | map('upper') | join(', ') }}", "A, B"),
        ("{{ ', '.join(['a', 'b'] | map('upper')) }}", "A, B"),
        ("{{ {'a': [1]} | tojson(indent=2) }}", '{\n  "a": [\n    1\n  ]\n}'),
        ("{{ 'a\nb' | indent(2, true) }}", "  a\n  b"),
        ("{{ [1, 2, 3] | sum }} {{ [{'n': 2}] | sum(attribute='n') }}", "6 2"),
        ("{{ messages | selectattr('role', 'equalto', 'user') | list | length }}", "1"),
        ("{% for a in [1, [2]] recursive %}{{ loop(a) if a is iterable else a }}{% endfor %}", "12"),
        (
            "{% macro f(a) %}<{{ a }}{{ caller() if caller }}>{% endmacro %}{% call f(1) %}x{% endcall %}{{ f(2) }}",
            "<1x><2>",
        ),
        ("{{ none }} {{ missing }} {{ true }}", "None  True"),
        ("{{ 1 < 2 < 3 }} {{ 1 < 3 < 2 }} {{ 'a' in {'a': 1} }} {{ missing == 1 }}", "True False True False"),
        ("{{ [[1], [2]].index([2]) }} {{ (1, 2) + (3,) }} {{ (1,) * 2 }} {{ ('a',)[0] }}", "1 (1, 2, 3) (1, 1) a"),
        ("{% for a, b in {'x': 1}.items() %}{{ a }}{{ b }}{% endfor %}{% set a, b = 1, 2 %}{{ a }}{{ b }}", "x112"),
        (
            "{{ [2, 1, 2] | sort | unique | list }} {{ [1, 2] | max }} {{ 1 is in [1] }} {{ 1 is ne 2 }}",
            "[1, 2] 2 True True",
        ),
        ("{% for a in [1, 1, 2] %}{{ a if loop.changed(a) }}{% endfor %}", "12"),
        ("{{ 'b,a'.split(',') | sort | first | center(3) }}", " a "),
    ],
)
def test_ordinary_operations_are_what_they_were(template: str, expected: str) -> None:
    assert render(template, TURN) == expected


def test_a_long_conversation_is_no_attack() -> None:
    template = (
        "{% set ns = namespace(text='') %}{% for m in messages %}{% set ns.text = ns.text + m.content | trim + '\\n' %}"
        "{{ '<|' ~ m.role ~ '|>' ~ m.content | trim }}{% endfor %}{{ messages | tojson }}{{ ns.text }}"
    )
    messages = [{"role": "user", "content": "word " * 800} for _ in range(500)]
    rendered = render(template, messages)
    assert len(rendered) > 3 * 500 * 4000
    messages = [{"role": "user", "content": "word " * 400_000}]
    assert len(render(template, messages)) > 3 * 1_990_000
