"""Grammars through the engine: what is written is what they say, whatever the model, its sampling and its company."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oxillama import Completion, Engine, Grammar, GrammarError
from oxillama.errors import InvalidRequestError, RequestCancelled, UnsupportedModelError
from oxillama.requests.admission import Admission
from oxillama.structured import compiler
from oxillama.testing.tiny_models import TinyModel
from tests.structured.expressions import Expression, expressions, word

SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 6}, "age": {"enum": [1, 20, 300]}},
    "required": ["name", "age"],
    "additionalProperties": False,
    "x-guidance": {"whitespace_flexible": False},
}
PERSON = Grammar("json_schema", json.dumps(SCHEMA))


@cache
def demo(n_threads: int, kv_cache_tokens: int = 4096) -> Engine:
    return Engine.demo(n_threads=n_threads, kv_cache_tokens=kv_cache_tokens, n_ctx=256, progress=False)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A random model of bytes."""
    path = tmp_path_factory.mktemp("tiny") / "tiny.gguf"
    TinyModel(tokenizer=True, seed=4).write(path)
    with Engine(path, n_threads=2, progress=False) as engine:
        yield engine


def facts(completion: Completion) -> list[tuple[Any, ...]]:
    """Everything of a completion that a caller may compare."""
    return [
        (choice.text, choice.token_ids, choice.finish_reason, choice.stop_reason, repr(choice.logprobs))
        for choice in completion.choices
    ]


def test_a_schema_is_held_at_any_temperature(tiny: Engine) -> None:
    for engine in (demo(2), tiny):
        for seed in range(8):
            completion = engine.generate("One day", grammar=PERSON, temperature=1 + seed / 4, seed=seed, max_tokens=120)
            assert completion.finish_reason == "stop"
            person = json.loads(completion.text)
            assert list(person) == ["name", "age"]
            assert len(person["name"]) <= 6
            assert person["age"] in (1, 20, 300)


@pytest.mark.parametrize("options", [{}, {"ignore_eos": True}, {"min_tokens": 30}, {"n": 3}, {"stop": ["zz"]}])
def test_a_complete_text_that_can_only_end_ends(options: dict[str, Any]) -> None:
    completion = demo(1).generate("One day", grammar=Grammar.choice(["yes", "no"]), max_tokens=30, **options)
    for choice in completion.choices:
        assert choice.text in ("yes", "no")
        assert choice.finish_reason == "stop"
        assert choice.stop_reason is None


def test_max_tokens_amid_a_text_is_the_length() -> None:
    completion = demo(1).generate("One day", grammar=PERSON, max_tokens=5, temperature=0)
    assert completion.finish_reason == "length"
    assert len(completion.token_ids) == 5
    assert completion.text.startswith('{"name"')


def test_every_end_token_ends_a_complete_text(tiny: Engine) -> None:
    engine = demo(1)
    assert engine.tokenizer is not None
    for end in engine.tokenizer.eog_ids:
        completion = engine.generate(
            "One day", grammar=Grammar.regex("a*"), max_tokens=9, logit_bias={end: 100.0}, temperature=0
        )
        assert completion.token_ids == (end,)
        assert (completion.text, completion.finish_reason) == ("", "stop")


def test_a_stop_text_ends_a_text_of_a_grammar() -> None:
    completion = demo(1).generate("One day", grammar=Grammar.choice(["a long text"]), stop=["long"], max_tokens=30)
    assert (completion.text, completion.finish_reason, completion.stop_reason) == ("a ", "stop", "long")


def test_bans_that_leave_no_token_are_a_dead_end_of_one_request() -> None:
    engine = demo(2)
    assert engine.tokenizer is not None
    other = engine.submit("One day", max_tokens=30, seed=1)
    ids = [token for token in range(engine.n_vocab) if b"n" in engine.tokenizer.token_bytes(token)]
    with pytest.raises(GrammarError, match="leave no token") as caught:
        engine.generate("One day", grammar=Grammar.choice(["bnb"]), banned_tokens=ids)
    assert (caught.value.code, caught.value.param) == ("dead_end", "grammar")
    partial = []
    with (
        pytest.raises(GrammarError) as caught,
        engine.stream("One day", grammar=Grammar.choice(["Once upon b n"]), banned_tokens=ids) as stream,
    ):
        partial += [chunk.text for chunk in stream]
    assert caught.value.code == "dead_end"
    assert other.result().finish_reason == "length"


def test_forced_tokens_cost_no_step() -> None:
    engine = demo(1)
    text = "The quick brown fox jumps over the lazy dog and runs away"
    before = engine.stats().steps
    completion = engine.generate("One day", grammar=Grammar.choice([text]), max_tokens=90, cache_prompt=False)
    assert completion.text == text
    assert engine.stats().steps - before < len(completion.token_ids) / 2
    assert completion.usage.accepted_prediction_tokens > 0


def test_control_tokens_in_a_grammar() -> None:
    engine = demo(1)
    assert engine.tokenizer is not None
    hidden = [t for t in range(engine.n_vocab) if engine.tokenizer.is_control(t) and not engine.tokenizer.is_eog(t)]
    completion = engine.generate("x", grammar=Grammar.lark(f'start: "a" <[{hidden[0]}]> "b"'), max_tokens=9)
    assert completion.text == "ab"
    assert hidden[0] in completion.token_ids


def test_refusals_come_before_the_queue(tiny: Engine) -> None:
    for grammar, code in (
        (Grammar("regex", "("), "invalid_grammar"),
        (Grammar("json_schema", '{"not": {"type": "string"}}'), "invalid_grammar"),
        (Grammar("lark", "start: start"), "unsatisfiable"),
        (Grammar("regex", "a" * (1 << 20)), "grammar_too_large"),
        (Grammar("lark", "start: <|nothing|>"), "invalid_grammar"),
    ):
        with pytest.raises(GrammarError) as caught:
            tiny.submit("One day", grammar=grammar)
        assert (caught.value.param, caught.value.code) == ("grammar", code)
    with pytest.raises(InvalidRequestError, match="a Grammar"):
        tiny.submit("One day", grammar="root ::= x")  # type: ignore[arg-type]


def test_a_model_without_tokenizer_has_no_grammars(tmp_path: Any) -> None:
    TinyModel().write(tmp_path / "ids.gguf")
    with Engine(tmp_path / "ids.gguf", progress=False) as engine, pytest.raises(GrammarError) as caught:
        engine.generate([1, 2, 3], grammar=Grammar.regex("a"))
    assert caught.value.code == "no_tokenizer"
    assert not isinstance(caught.value, UnsupportedModelError)


def test_async_calls_compile_beside_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = []
    original = compiler.GrammarCompiler.compiled

    def compiled(self: compiler.GrammarCompiler, grammar: Grammar) -> Any:
        threads.append(threading.get_ident())
        return original(self, grammar)

    monkeypatch.setattr(compiler.GrammarCompiler, "compiled", compiled)
    engine = demo(1)

    async def main() -> None:
        for text in ("first", "second"):
            grammar = Grammar.choice([f"async {text}"])
            if text == "first":
                completion = await engine.agenerate("x", grammar=grammar, max_tokens=20)
                assert completion.text == "async first"
            else:
                chunks = [chunk.text async for chunk in engine.astream("x", grammar=grammar, max_tokens=20)]
                assert "".join(chunks) == "async second"
        assert threading.get_ident() not in threads
        assert len(threads) == 2
        await engine.agenerate("x", grammar=grammar, max_tokens=20)
        assert threads[2] == threading.get_ident(), "what is compiled needs no thread"

    anyio.run(main)


@contextmanager
def masks_in_line(engine: Engine, in_line: bool) -> Iterator[None]:
    engine._worker.overlaps_masks = not in_line
    try:
        yield
    finally:
        engine._worker.overlaps_masks = True


chains = st.fixed_dictionaries(
    {
        "temperature": st.sampled_from([0.0, 0.7, 1.0, 2.0]),
        "seed": st.integers(0, 99),
        "max_tokens": st.sampled_from([1, 3, 12, 40]),
    },
    optional={
        "repetition_penalty": st.just(1.3),
        "frequency_penalty": st.just(0.5),
        "dry_multiplier": st.just(0.8),
        "xtc_probability": st.just(0.5),
        "mirostat": st.sampled_from([1, 2]),
        "top_p": st.just(0.9),
        "top_k": st.just(20),
        "min_p": st.just(0.1),
        "ignore_eos": st.just(True),
        "logprobs": st.sampled_from([0, 3]),
        "n": st.just(2),
    },
)
requests = st.lists(
    st.tuples(st.sampled_from(["One day", "A b a b a b a b"]), chains, expressions()), min_size=1, max_size=4
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    wanted=requests,
    n_threads=st.sampled_from([1, 2]),
    kv_cache_tokens=st.sampled_from([160, 4096]),
    in_line=st.booleans(),
)
def test_outputs_match_and_depend_on_no_company(
    wanted: list[tuple[str, dict[str, Any], Expression]], n_threads: int, kv_cache_tokens: int, in_line: bool
) -> None:
    """Alone, one after another; then at once, preempted where the cache is small, with masks early or late."""
    alone, together = demo(1), demo(n_threads, kv_cache_tokens)
    with masks_in_line(alone, True):
        expected = [alone.generate(text, grammar=Grammar("regex", e.pattern), **options) for text, options, e in wanted]
    with masks_in_line(together, in_line):
        running = [
            together.submit(text, grammar=Grammar("regex", expression.pattern), **options)
            for text, options, expression in wanted
        ]
        found = [request.result() for request in running]
    assert [facts(completion) for completion in found] == [facts(completion) for completion in expected]
    for completion, (_, _, expression) in zip(found, wanted, strict=True):
        for choice in completion.choices:
            if choice.finish_reason == "stop":
                assert expression.matches(choice.text), (choice.text, expression.pattern)
            else:
                assert choice.finish_reason == "length"
                assert expression.may_match(choice.text), (choice.text, expression.pattern)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(expression=expressions(), chain=chains)
def test_outputs_of_a_random_model_match(tiny: Engine, expression: Expression, chain: dict[str, Any]) -> None:
    completion = tiny.generate("x", grammar=Grammar("regex", expression.pattern), **chain)
    for choice in completion.choices:
        assert (expression.matches if choice.finish_reason == "stop" else expression.may_match)(choice.text)


def test_sixty_four_grammars_at_once() -> None:
    """Of which every fourth is cancelled on the way, in a cache that holds few of them."""
    engine = demo(2, 160)
    words = [f"{'very ' * (i % 7)}number {i} of them" for i in range(64)]
    handles = [
        engine.submit("One day", grammar=Grammar.regex(f"({text}|{text[::-1]})+!"), max_tokens=60, seed=i)
        for i, text in enumerate(words)
    ]
    for handle in handles[::4]:
        handle.cancel()
    for i, (handle, text) in enumerate(zip(handles, words, strict=True)):
        try:
            completion = handle.result()
        except RequestCancelled:
            assert i % 4 == 0
            continue
        one = word(text)
        expected = Expression("alt", parts=(one, word(text[::-1])))
        rest = completion.text
        while rest.startswith((text, text[::-1])):
            rest = rest[len(text) :]
        assert rest == "!" if completion.finish_reason == "stop" else expected.may_match(rest) or rest == "!"
        assert completion.finish_reason in ("stop", "length")
    assert engine.stats().kv_blocks_used == 0


def test_the_grammar_engine_is_told() -> None:
    import oxillama

    demo(1).generate("x", grammar=Grammar.choice(["a"]), max_tokens=3)
    name = demo(1).stats().grammar_engine
    assert name is not None
    assert name.startswith("llguidance ")
    assert name.endswith("(C)")
    assert oxillama.cpu_info().grammar_engine == name


def test_admission_shares_what_is_compiled_for_a_tokenizer() -> None:
    engine = demo(1)
    assert isinstance(engine._admission, Admission)
    assert engine.tokenizer is not None
    assert compiler.GrammarCompiler.of(engine.tokenizer, engine.n_vocab) is engine._admission._grammars
