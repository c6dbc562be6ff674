"""The typed options say what the objects behind them take: one set of names, held together here."""

from __future__ import annotations

import inspect
import re
import typing
from dataclasses import fields
from typing import Any

import pytest

from oxillama import Engine, SamplingParams
from oxillama.requests import options
from oxillama.sampling import params as params_module
from oxillama.sampling.params import EmbeddingParams


def types_of(kind: Any, module: Any = options) -> dict[str, Any]:
    return typing.get_type_hints(kind, vars(params_module) | vars(options) | vars(module))


@pytest.mark.parametrize(
    ("typed", "behind"),
    [(options.SamplingOptions, SamplingParams), (options.EmbeddingOptions, EmbeddingParams)],
    ids=lambda kind: kind.__name__,
)
def test_names_and_types_are_the_dataclass_s(typed: Any, behind: Any) -> None:
    assert types_of(typed) == {name: kind for name, kind in types_of(behind).items() if name in names(behind)}
    assert set(types_of(typed)) == set(names(behind))


def names(kind: Any) -> list[str]:
    return [field.name for field in fields(kind)]


def test_an_engine_s_options_are_its_constructor_s() -> None:
    signature = inspect.signature(Engine.__init__)
    keywords = [name for name, one in signature.parameters.items() if one.kind is one.KEYWORD_ONLY]
    assert list(types_of(options.EngineOptions)) == keywords


@pytest.mark.parametrize(
    ("typed", "method"),
    [
        (options.RequestOptions, Engine.submit),
        (options.ChatOptions, Engine.prepare_chat),
        (options.RenderingOptions, Engine.render_chat),
        (options.RankingOptions, Engine.prepare_ranking),
    ],
    ids=lambda value: value.__name__,
)
def test_options_of_calls_are_those_of_the_call_under_them(typed: Any, method: Any) -> None:
    keywords = {name for name, one in inspect.signature(method).parameters.items() if one.kind is one.KEYWORD_ONLY}
    inner = {"submit": SamplingParams, "prepare_chat": SamplingParams}.get(method.__name__)
    rest = set(names(inner)) if inner else set(types_of(options.RankOptions)) if "ranking" in method.__name__ else set()
    assert set(types_of(typed)) == keywords | rest


def test_every_call_names_its_options() -> None:
    for name, method in inspect.getmembers(Engine, callable):
        for one in inspect.signature(method).parameters.values() if not name.startswith("__") else ():
            if one.kind is one.VAR_KEYWORD:
                assert str(one.annotation).startswith("Unpack["), name


def test_every_field_of_sampling_is_documented_with_range_and_default() -> None:
    documented = inspect.getdoc(SamplingParams) or ""
    lines = re.sub(r"\n {4}(?=\S)", " ", documented)
    for field in fields(SamplingParams):
        line = next((line for line in lines.splitlines() if line.startswith(f"{field.name}: ")), "")
        range_, _, rest = line.partition(". Default ")
        assert range_, field.name
        assert rest, field.name
        for table in (params_module._REALS, params_module._INTEGERS):
            if field.name in table:
                assert rest.startswith(f"{field.default}"), field.name
                if field.name != "repetition_penalty" and table[field.name][0] >= 0:
                    assert re.match(rf"{field.name}: {table[field.name][0]:g} (or more|to )", line), line
