"""SamplingParams: defaults, refusals, and what it shows of itself."""

from __future__ import annotations

import copy
import dataclasses
import math
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oxillama import Grammar, InvalidRequestError, SamplingParams
from oxillama.testing import strategies as ox

# The public defaults, spelt out: changing one changes what other people's programs generate.
DEFAULTS: dict[str, Any] = {
    "max_tokens": None,
    "temperature": 1.0,
    "top_k": 0,
    "top_p": 1.0,
    "min_p": 0.0,
    "typical_p": 1.0,
    "top_a": 0.0,
    "top_n_sigma": 0.0,
    "epsilon_cutoff": 0,
    "eta_cutoff": 0,
    "xtc_probability": 0.0,
    "xtc_threshold": 0.1,
    "dry_multiplier": 0.0,
    "dry_base": 1.75,
    "dry_allowed_length": 2,
    "dry_penalty_last_n": -1,
    "dry_sequence_breakers": ("\n", ":", '"', "*"),
    "repetition_penalty": 1.0,
    "repeat_last_n": 64,
    "prompt_logprobs": None,
    "prompt_logprobs_start": 0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "dynatemp_range": 0,
    "dynatemp_exponent": 1,
    "mirostat": 0,
    "mirostat_tau": 5,
    "mirostat_eta": 0.1,
    "logit_bias": {},
    "banned_tokens": (),
    "seed": None,
    "stop": (),
    "stop_token_ids": (),
    "ignore_eos": False,
    "min_tokens": 0,
    "thinking_budget": None,
    "stop_in_thinking": False,
    "logprobs": None,
    "n": 1,
    "best_of": None,
    "grammar": None,
    "lora": None,
    "prediction": None,
    "cache_prompt": True,
    "priority": 0,
    "deadline": None,
}

REFUSED: list[tuple[str, Any]] = [
    ("temperature", -0.1),
    ("temperature", math.nan),
    ("temperature", math.inf),
    ("temperature", "hot"),
    ("temperature", None),
    ("temperature", True),
    ("top_k", -1),
    ("top_k", 1.5),
    ("top_k", 2**31),
    ("top_k", False),
    ("top_p", 1.01),
    ("top_p", -0.01),
    ("min_p", 2),
    ("typical_p", -1),
    ("top_a", 1.5),
    ("top_n_sigma", math.nan),
    ("epsilon_cutoff", 3),
    ("eta_cutoff", -1e-9),
    ("xtc_probability", 1.1),
    ("xtc_threshold", -0.1),
    ("dry_multiplier", -1),
    ("dry_base", 0.9),
    ("dry_allowed_length", -1),
    ("dry_penalty_last_n", -2),
    ("dry_sequence_breakers", "text"),
    ("dry_sequence_breakers", [""]),
    ("dry_sequence_breakers", [[]]),
    ("dry_sequence_breakers", [[-1]]),
    ("repetition_penalty", 0),
    ("repetition_penalty", -1),
    ("repeat_last_n", -2),
    ("presence_penalty", math.inf),
    ("frequency_penalty", "x"),
    ("dynatemp_range", -1),
    ("dynatemp_exponent", -0.5),
    ("mirostat", 3),
    ("mirostat_tau", -1),
    ("mirostat_eta", math.nan),
    ("logit_bias", [1, 2]),
    ("logit_bias", {-1: 1.0}),
    ("logit_bias", {1: math.nan}),
    ("logit_bias", {1: math.inf}),
    ("logit_bias", {"": 1.0}),
    ("logit_bias", {1.5: 1.0}),
    ("banned_tokens", "12"),
    ("banned_tokens", [-1]),
    ("banned_tokens", 7),
    ("seed", 2**64),
    ("seed", -(2**63) - 1),
    ("seed", 1.0),
    ("stop", [""]),
    ("stop", [b"x"]),
    ("stop", 5),
    ("stop_token_ids", [1.0]),
    ("ignore_eos", 1),
    ("min_tokens", -1),
    ("logprobs", 21),
    ("logprobs", True),
    ("n", 0),
    ("best_of", 0),
    ("lora", 5),
    ("prediction", 5),
    ("prediction", b"text"),
    ("lora", [("name",)]),
    ("lora", [("", 1.0)]),
    ("cache_prompt", None),
    ("priority", 0.5),
    ("deadline", -1),
    ("max_tokens", -1),
]


def test_defaults() -> None:
    params = SamplingParams()
    assert {spec.name: getattr(params, spec.name) for spec in dataclasses.fields(params)} == DEFAULTS


@pytest.mark.parametrize(("name", "value"), REFUSED)
def test_an_impossible_value_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(InvalidRequestError, match=f"^{name} must be ") as caught:
        SamplingParams(**{name: value})
    assert caught.value.param == name


def test_values_that_contradict_each_other() -> None:
    with pytest.raises(InvalidRequestError, match=r"best_of must be at least n \(3\)"):
        SamplingParams(n=3, best_of=2)
    with pytest.raises(InvalidRequestError, match=r"min_tokens must be at most max_tokens \(4\)"):
        SamplingParams(max_tokens=4, min_tokens=5)


def test_unknown_options_and_positions_are_type_errors() -> None:
    with pytest.raises(TypeError, match="temprature"):
        SamplingParams(temprature=0.5)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        SamplingParams(0.5)  # type: ignore[call-arg,arg-type]
    with pytest.raises(TypeError, match="temprature"):
        SamplingParams().replace(temprature=0.5)  # type: ignore[call-arg]


def test_it_is_frozen() -> None:
    params = SamplingParams(logit_bias={1: 2.0})
    with pytest.raises(dataclasses.FrozenInstanceError):
        params.temperature = 2.0  # type: ignore[misc]
    with pytest.raises(TypeError):
        params.logit_bias[1] = 3.0  # type: ignore[index]


def test_it_keeps_no_reference_to_what_it_was_given() -> None:
    stop, bias = ["a"], {1: 1.0}
    params = SamplingParams(stop=stop, logit_bias=bias)
    stop.append("b")
    bias[2] = 1.0
    assert params.stop == ("a",)
    assert params.logit_bias == {1: 1.0}


def test_values_of_other_types_are_normalised() -> None:
    given_values: dict[str, Any] = {
        "temperature": np.float32(0.5),
        "top_k": np.int64(4),
        "stop": "end",
        "lora": "style",
        "prediction": "an expected text",
        "banned_tokens": np.array([1, 2]),
    }
    params = SamplingParams(**given_values)
    assert (params.temperature, params.top_k) == (0.5, 4)
    assert type(params.temperature) is float
    assert type(params.top_k) is int
    assert params.stop == ("end",)
    assert params.lora == (("style", 1.0),)
    assert params.banned_tokens == (1, 2)
    assert SamplingParams(lora=[("a", 0.5), ("b", 2)]).lora == (("a", 0.5), ("b", 2.0))
    assert SamplingParams(logit_bias={3: -math.inf}).logit_bias == {3: -math.inf}


def test_replace_checks_again() -> None:
    params = SamplingParams(temperature=0.5, seed=3)
    changed = params.replace(top_k=4)
    assert (changed.temperature, changed.top_k, params.top_k) == (0.5, 4, 0)
    with pytest.raises(InvalidRequestError):
        params.replace(top_p=2)


def test_repr_shows_counts_and_never_text() -> None:
    params = SamplingParams(
        temperature=0.5,
        stop=["secret one", "secret two"],
        logit_bias={"secret": 1.0},
        lora="secret",
        dry_sequence_breakers=["secret"],
        grammar=Grammar.regex("secret"),
    )
    assert repr(params) == (
        "SamplingParams(temperature=0.5, dry_sequence_breakers=<1 breakers>, logit_bias=<1 biases>, "
        "stop=<2 texts>, grammar=<set>, lora=<1 adapters>)"
    )
    assert repr(SamplingParams()) == "SamplingParams()"


def test_errors_do_not_quote_text_either() -> None:
    cases: list[dict[str, Any]] = [{"temperature": "secret"}, {"stop": [b"secret"]}, {"lora": [("secret", "secret")]}]
    cases.append({"prediction": ["secret"]})
    for options in cases:
        with pytest.raises(InvalidRequestError) as caught:
            SamplingParams(**options)
        assert "secret" not in str(caught.value)


@given(ox.sampling_params())
def test_equality_hash_pickle_and_copy(params: SamplingParams) -> None:
    for twin in (pickle.loads(pickle.dumps(params)), copy.deepcopy(params), copy.copy(params), params.replace()):
        assert twin == params
        assert hash(twin) == hash(params)
    assert params != params.replace(max_tokens=77)


@given(seed=st.none() | st.integers(-(2**63), 2**64 - 1))
def test_a_seed_is_drawn_once(seed: int | None) -> None:
    params = SamplingParams(seed=seed)
    seeded = params.with_seed()
    assert seeded.seed is not None
    assert seeded.with_seed() is seeded
    if seed is not None:
        assert seeded is params
    assert seeded.resolve(n_vocab=4).seed == seeded.seed % 2**64


def test_two_requests_without_a_seed_differ() -> None:
    assert SamplingParams().resolve(n_vocab=4).seed != SamplingParams().resolve(n_vocab=4).seed


class Words:
    """A vocabulary of four words and their concatenations, tokenised greedily."""

    words: tuple[bytes, ...] = (b"a", b"b", b"ab", b"<end>", b"xb")
    n_vocab = len(words)

    def encode(self, text: str, *, add_special: bool = True, parse_special: bool = False) -> list[int]:
        assert not add_special
        tokens = []
        raw = text.encode()
        while raw:
            best = max(
                (i for i, word in enumerate(self.words) if raw.startswith(word)), key=lambda i: len(self.words[i])
            )
            tokens.append(best)
            raw = raw[len(self.words[best]) :]
        return tokens

    def token_bytes(self, token: int, /) -> bytes:
        return self.words[token]


def test_texts_in_logit_bias_must_be_one_token() -> None:
    tokenizer = Words()
    SamplingParams(logit_bias={"ab": 1.0, "<end>": 2.0}).resolve(n_vocab=5, tokenizer=tokenizer)
    with pytest.raises(InvalidRequestError, match="exactly one token, found one of 2") as caught:
        SamplingParams(logit_bias={"ba": 1.0}).resolve(n_vocab=5, tokenizer=tokenizer)
    assert caught.value.param == "logit_bias"
    with pytest.raises(InvalidRequestError, match="needs a tokenizer"):
        SamplingParams(logit_bias={"ab": 1.0}).resolve(n_vocab=5)


@pytest.mark.parametrize(
    ("name", "value"), [("logit_bias", {5: 1.0}), ("banned_tokens", [5]), ("stop_token_ids", [9])]
)  # fmt: skip
def test_tokens_outside_the_vocabulary_are_refused(name: str, value: Any) -> None:
    params = SamplingParams(**{name: value})
    with pytest.raises(InvalidRequestError, match="vocabulary has 5 tokens") as caught:
        params.resolve(n_vocab=5)
    assert caught.value.param == name


def test_breakers_need_a_tokenizer_only_where_dry_is_on() -> None:
    SamplingParams().resolve(n_vocab=5)
    with pytest.raises(InvalidRequestError, match="needs a tokenizer") as caught:
        SamplingParams(dry_multiplier=0.8).resolve(n_vocab=5)
    assert caught.value.param == "dry_sequence_breakers"
    SamplingParams(dry_multiplier=0.8, dry_sequence_breakers=["b"]).resolve(n_vocab=5, tokenizer=Words())


def test_biases_may_be_a_typed_mapping_of_either_kind() -> None:
    # Of a variable with a type of its own, a type checker takes no other mapping for it: keys are invariant.
    ids: dict[int, float] = {5: 1.0}
    texts: dict[str, float] = {"a": -1.0}
    assert SamplingParams(logit_bias=ids).logit_bias == ids
    assert SamplingParams(logit_bias=texts).logit_bias == texts


def test_they_can_be_taken_apart() -> None:
    biases: dict[int | str, float] = {3: 1.0, "a": -2.0}
    params = SamplingParams(logit_bias=biases, stop=["x"])
    taken = dataclasses.asdict(params)
    assert taken["logit_bias"] == {3: 1.0, "a": -2.0}
    assert type(taken["logit_bias"]) is dict
    assert SamplingParams(**taken) == params
