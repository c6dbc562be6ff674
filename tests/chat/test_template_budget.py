"""What a rendering may do, told before it is done: whatever is allowed stays within the budget."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2.exceptions import SecurityError

from oxillama.chat.template_budget import (
    BASE_CHARACTERS,
    GROWTH,
    MADE,
    MAX_SECONDS,
    Budget,
    current_budget,
    rendering,
    size_held,
    weight,
)

LIMIT = 40  # small enough that examples lie on both sides of it

numbers = st.integers(-(2**70), 2**70) | st.integers(0, 2**4000)
plain = st.recursive(
    st.none() | st.booleans() | numbers | st.floats() | st.text("aé\n", max_size=9),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.text("ab", max_size=3), inner, max_size=4)
    ),
    max_leaves=12,
)
texts = st.text("ab", max_size=12)


def small_budget() -> Budget:
    budget = Budget()
    budget.max_characters = LIMIT
    return budget


def allows(check: str, *values: Any) -> bool:
    try:
        getattr(small_budget(), check)(*values)
    except SecurityError:
        return False
    return True


# Sizes


@given(plain)
def test_the_weight_tells_how_long_a_text_becomes(value: Any) -> None:
    views = [{"a": value}.values(), {"a": value}.items()] if value else []
    for one in (value, [value] * 3, *views):
        # At most a separator, quotes and the digits of a float for each value, and an escape for each character.
        assert len(str(one)) <= 40 * weight(one, limit=1 << 40)


@given(plain)
def test_both_sizes_of_a_value_count_its_characters(value: Any) -> None:
    def characters(one: Any) -> int:
        if isinstance(one, dict):
            return sum(characters(key) + characters(item) for key, item in one.items())
        return len(one) if isinstance(one, str) else sum(map(characters, one)) if isinstance(one, list | tuple) else 0

    assert size_held(value) >= characters(value)
    assert weight(value, limit=1 << 40) >= characters(value)


def test_what_is_given_counts_once_and_may_contain_itself() -> None:
    value: list[Any] = ["four"]
    value.append(value)
    assert size_held([value, value]) < 20
    assert weight([["four"]] * 100, limit=10**6) > 500
    assert 1000 < weight(value, limit=1000) < 1010


def test_a_budget_grows_with_what_is_given() -> None:
    given_text = ["a" * 10**6]
    assert Budget().max_characters == BASE_CHARACTERS + GROWTH
    assert Budget(given_text).max_characters == BASE_CHARACTERS + GROWTH * size_held(given_text)


# What is counted


def test_what_is_written_adds_up() -> None:
    budget = small_budget()
    budget.write(LIMIT - 1)
    budget.write(1)
    with pytest.raises(SecurityError, match=f"writes more than {LIMIT} characters"):
        budget.write(1)


@pytest.mark.parametrize("value", ["a" * LIMIT, b"a" * LIMIT, [0] * LIMIT, (0,) * LIMIT])
def test_what_is_made_adds_up(value: Any) -> None:
    budget = small_budget()
    for _ in range(MADE):
        budget.make(value)
    budget.make(10**50)  # has no length
    with pytest.raises(SecurityError, match="makes too much text"):
        budget.make(value[:1])


@pytest.mark.parametrize("spend", [lambda budget: budget.write(0), lambda budget: budget.make(0)])
def test_only_the_threads_own_time_counts(spend: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = 100.0
    monkeypatch.setattr(time, "thread_time", lambda: clock)
    budget = Budget()
    clock += MAX_SECONDS
    spend(budget)
    clock += 0.01
    with pytest.raises(SecurityError, match="takes too long"):
        spend(budget)


def test_a_rendering_inside_another_has_its_own_budget() -> None:
    outer, inner = Budget(), Budget()
    with rendering(outer):
        with rendering(inner):
            assert current_budget() is inner
        assert current_budget() is outer
    assert current_budget() not in (outer, inner)


# What is looked at before it is done


@given(values=st.lists(plain, max_size=3))
def test_texts_are_weighed_together(values: list[Any]) -> None:
    assert allows("check_text", *values) == (sum(weight(value, limit=LIMIT) for value in values) <= LIMIT)


@given(st.integers(-60, 60))
def test_integers_are_bounded_on_both_sides(value: int) -> None:
    assert allows("check_integers", ["a" * 99, value]) == (abs(value) <= LIMIT)


@given(left=texts | st.lists(st.none(), max_size=30), times=st.integers(-60, 60))
def test_a_product_is_allowed_where_it_fits(left: Any, times: int) -> None:
    for pair in ((left, times), (times, left)):
        assert allows("check_operation", "*", *pair) == (len(left * times) <= LIMIT)


@given(left=st.integers(1, 60).map("a".__mul__), right=st.integers(1, 60).map("a".__mul__))
def test_a_sum_is_allowed_where_it_fits(left: str, right: str) -> None:
    assert allows("check_operation", "+", left, right) == (len(left + right) <= LIMIT)


def test_a_tuple_counts_with_all_that_it_holds() -> None:
    held = ((None,) * 30,)
    assert allows("check_operation", "*", held, 1)
    assert not allows("check_operation", "*", held, 2)
    assert not allows("check_operation", "+", held, held)
    assert allows("check_operation", "+", list(held), list(held))


@pytest.mark.parametrize(
    ("operator", "left", "right", "fine"),
    [
        ("**", 2, 64, True),
        ("**", 2, 65, False),
        ("**", 2**64 - 1, 2, True),
        ("**", 2**64, 2, False),
        ("**", 2, -1, True),
        ("**", 2.0, 999, True),
        ("*", 2**2047, 2**2047, True),
        ("*", 2**2047, 2**2048, False),
        ("*", "a", 2.5, True),  # Python refuses it
        ("+", 10**99, 1, True),
        ("%", 10**99, 7, True),
        ("-", "a" * 99, "a" * 99, True),
    ],
)
def test_numbers_stay_short(operator: str, left: Any, right: Any, fine: bool) -> None:
    assert allows("check_operation", operator, left, right) is fine


@given(text=texts, old=texts.map(lambda text: text[:2]), new=texts)
def test_a_replacement_that_is_allowed_fits(text: str, old: str, new: str) -> None:
    # What is replaced counts too, so some are refused that would fit.
    made = len(text.replace(old, new))
    fine = allows("check_method", text, "replace", (old, new), {})
    assert made <= LIMIT or not fine
    assert fine or made + text.count(old) * len(old) > LIMIT


@given(separator=texts, items=st.lists(texts, max_size=8))
def test_a_join_that_is_allowed_fits(separator: str, items: list[str]) -> None:
    fine = allows("check_method", separator, "join", (items,), {})
    assert len(separator.join(items)) <= 2 * LIMIT or not fine
    assert fine or sum(1 + len(separator) + 1 + len(item) for item in items) >= LIMIT


@given(text=st.text("a\t\n", max_size=12), size=st.integers(-2, 60))
def test_tabs_that_are_allowed_fit(text: str, size: int) -> None:
    for args, kwargs in (((), {}), ((size,), {}), ((), {"tabsize": size})):
        fine = allows("check_method", text, "expandtabs", args, kwargs)
        assert len(text.expandtabs(*args, **kwargs)) <= LIMIT or not fine


@given(text=texts, table=st.dictionaries(st.sampled_from([97, 98]), texts))
def test_a_translation_that_is_allowed_fits(text: str, table: dict[int, str]) -> None:
    assert len(text.translate(table)) <= LIMIT or not allows("check_method", text, "translate", (table,), {})


def test_other_methods_and_wrong_arguments_are_left_to_the_method() -> None:
    for name, args in (("upper", ()), ("replace", ("a",)), ("replace", (1, 2)), ("join", ())):
        assert allows("check_method", "a" * 2 * LIMIT, name, args, {})


fields = st.lists(
    st.sampled_from(["%s", "%d", "%5s", "%-30d", "%.30f", "%%", "%(a)s", "%(a)30d", "text ", "{}", "{{", "2024 "]),
    max_size=5,
).map("".join)
places = st.lists(st.sampled_from(["{}", "{:30}", "{:>9}", "{!r:^30}", "{{", "}}", "text ", "%", "%9s"]), max_size=5)


@given(template=fields, one=st.text(max_size=30), numbers=st.lists(st.integers(0, 2**200), max_size=4))
def test_texts_formatted_by_percent_that_are_allowed_fit(template: str, one: str, numbers: list[int]) -> None:
    for values in (tuple(numbers), (one, *numbers), one, {"a": 10**30}):
        try:
            made = template % values
        except (TypeError, ValueError):
            continue
        assert len(made) <= 2 * LIMIT or not allows("check_operation", "%", template, values)


@given(template=places.map("".join), values=st.lists(st.text(max_size=30) | st.integers(0, 2**200), max_size=5))
def test_texts_formatted_by_braces_that_are_allowed_fit(template: str, values: list[Any]) -> None:
    try:
        made = template.format(*values)
    except (IndexError, ValueError):
        return
    # `!r` writes a character with up to ten.
    assert len(made) <= 11 * LIMIT or not allows("check_format", template, *values)


def test_what_is_written_several_times_counts_as_often() -> None:
    assert allows("check_format", "{0}{0}", "a" * 9)
    assert not allows("check_format", "{0}{0}{0}{0}{0}", "a" * 9)
    assert not allows("check_format", "%(a)s%(a)s%(a)s", {"a": "b" * 9})


@pytest.mark.parametrize(
    ("template", "fine"),
    [
        ("%s and %d, 2024", True),
        ("2024 %s", True),
        ("{{2024: {}}}", True),
        ("%30s", True),
        ("{:30}", True),
        ("%(name)30s", True),
        (b"%s", True),
        ("%(key_90000000)s", True),
        ("{key_2024}", True),
        ("%d%% 2024", True),
        ("%5%%(a)1000d", False),
        ("%5%%1000d", False),
        ("%%%(a)1000d", False),
        ("%50s", False),
        ("{:50}", False),
        ("%(name)50s", False),
        ("%1000s", False),
        ("%-01000d", False),
        ("%.1000f", False),
        ("%*d", False),
        ("%.*f", False),
        ("%(name)1000d", False),
        ("%(name)*d", False),
        ("%(a(b))1d", False),
        ("{:1000}", False),
        ("{name:>1000}", False),
        ("{:{}}", False),
        ("{{{:1000}}}", False),
        (b"%1000d", False),
        ("%\u0661\u0660\u0660\u0660d", False),  # digits of other scripts are digits for Python
    ],
)
def test_widths_are_bounded(template: Any, fine: bool) -> None:
    assert allows("check_format", template, 1) is fine
