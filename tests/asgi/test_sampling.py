"""Sampling options under all their names, their limits at the edge, and who is blamed under which name."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest
from starlette.testclient import TestClient

from oxillama import Engine, InvalidRequestError, SamplingParams
from oxillama.asgi import Limits, create_app
from oxillama.asgi.errors import HTTPError
from oxillama.asgi.sampling import ALIASES, RANGES, SAMPLING_FIELDS, SamplingFields
from tests.asgi.replies import error_of


class AllFields(SamplingFields, kw_only=True):
    max_completion_tokens: int | None = None  # a chat's
    max_output_tokens: int | None = None  # a response's


def params(limits: Limits | None = None, **given: Any) -> SamplingParams:
    fields = msgspec.convert(given, AllFields)
    return fields.to_params(limits or Limits(), logprobs=None, logprobs_name="logprobs", default_max_tokens=16)


# A value that is not the default, for every option that is handed on as it is.
PLAIN: dict[str, Any] = {
    "temperature": 0.5,
    "top_p": 0.5,
    "presence_penalty": 0.5,
    "frequency_penalty": -0.5,
    "seed": 7,
    "n": 3,
    "best_of": 4,
    "top_k": 5,
    "min_p": 0.1,
    "typical_p": 0.5,
    "top_a": 0.1,
    "top_n_sigma": 1.5,
    "epsilon_cutoff": 0.001,
    "eta_cutoff": 0.001,
    "repetition_penalty": 1.5,
    "repeat_last_n": 5,
    "mirostat": 2,
    "mirostat_tau": 4.5,
    "mirostat_eta": 0.2,
    "dry_multiplier": 0.5,
    "dry_base": 1.5,
    "dry_allowed_length": 3,
    "dry_penalty_last_n": 5,
    "dry_sequence_breakers": ["x"],
    "xtc_probability": 0.5,
    "xtc_threshold": 0.2,
    "dynatemp_range": 0.5,
    "dynatemp_exponent": 1.5,
    "ignore_eos": True,
    "max_tokens": 5,
    "min_tokens": 2,
    "stop_token_ids": [5],
    "banned_tokens": [5],
    "cache_prompt": False,
    "thinking_budget": 7,
    "stop_in_thinking": True,
    "deadline": 5.5,
}


@pytest.mark.parametrize("name", PLAIN)
def test_an_option_is_handed_on(name: str) -> None:
    value = getattr(params(**{name: PLAIN[name]}), name)
    assert (list(value) if isinstance(value, tuple) else value) == PLAIN[name]
    assert getattr(params(**{name: None}), name) == getattr(params(), name)
    assert value != getattr(params(), name)


@pytest.mark.parametrize("alias", ALIASES)
def test_an_alias_is_the_same(alias: str) -> None:
    own = ALIASES[alias]
    assert params(**{alias: PLAIN[own]}) == params(**{own: PLAIN[own]})
    assert params(**{alias: PLAIN[own], own: PLAIN[own]}) == params(**{own: PLAIN[own]})
    with pytest.raises(HTTPError, match="mean the same"):
        params(**{alias: PLAIN[own], own: 1})


def test_every_option_of_the_engine_has_a_name_here() -> None:
    elsewhere = {"stop", "logit_bias", "logprobs", "grammar", "lora", "priority", "prediction"}
    elsewhere |= {"prompt_logprobs", "prompt_logprobs_start"}
    assert set(PLAIN) == set(SamplingParams.__dataclass_fields__) - elsewhere
    names = {field.name for field in SAMPLING_FIELDS if field.status == "implemented"}
    assert set(SamplingFields.__struct_fields__) - {"max_tokens"} == names


@pytest.mark.parametrize(
    ("given", "blamed"),
    [
        ({"repeat_penalty": -1}, "repeat_penalty"),
        ({"repetition_penalty": -1}, "repetition_penalty"),
        ({"mirostat_mode": 3}, "mirostat_mode"),
        ({"n_predict": -5}, "n_predict"),
        ({"max_completion_tokens": -5}, "max_completion_tokens"),
        ({"temperature": -0.1}, "temperature"),
        ({"top_k": -2}, "top_k"),
        ({"n": 0}, "n"),
        ({"seed": 1 << 64}, "seed"),
        ({"deadline": -1}, "deadline"),
        ({"stop_token_ids": [-1]}, "stop_token_ids"),
        ({"temperature": 2.01}, "temperature"),
        ({"temperature": 1e9}, "temperature"),
        ({"presence_penalty": 50}, "presence_penalty"),
        ({"presence_penalty": -2.01}, "presence_penalty"),
        ({"frequency_penalty": 2.01}, "frequency_penalty"),
        ({"logit_bias": {"x": 1}}, "logit_bias"),
        ({"logit_bias": {"-1": 1}}, "logit_bias"),
        ({"logit_bias": {"\u0661": 1}}, "logit_bias"),
        ({"logit_bias": {"1": 100.5}}, "logit_bias"),
        ({"logit_bias": {"1": True}}, "logit_bias"),
        ({"logit_bias": [[-1, 1]]}, "logit_bias"),
    ],
)
def test_the_field_is_blamed_as_it_was_spelled(given: dict[str, Any], blamed: str) -> None:
    with pytest.raises((HTTPError, InvalidRequestError)) as caught:
        params(**given)
    assert isinstance(caught.value, HTTPError | InvalidRequestError)
    assert caught.value.param == blamed
    assert blamed.partition("[")[0] in str(caught.value)


def test_other_programs_ways_to_say_none() -> None:
    assert params(top_k=-1).top_k == 0
    assert params(seed=-1).seed is None
    assert params(n_predict=-1).max_tokens is None


@pytest.mark.parametrize(("stop", "texts"), [("", ()), ([""], ()), (["a", ""], ("a",)), ([], ()), ("a", ("a",))])
def test_an_empty_text_stops_nothing(stop: str | list[str], texts: tuple[str, ...]) -> None:
    assert params(stop=stop).stop == texts


def test_the_ends_of_openai_s_ranges_are_in_them() -> None:
    for name, ends in RANGES.items():
        for end in ends:
            given: dict[str, Any] = {name: end}
            assert getattr(params(**given), name) == end
        # The engine itself takes more.
        given = {name: ends[1] + 1}
        assert getattr(SamplingParams(**given), name) == ends[1] + 1


def test_biases() -> None:
    assert dict(params(logit_bias={"5": -100, "7": 100}).logit_bias) == {5: -100.0, 7: 100.0}
    assert dict(params(logit_bias=[[5, 1.5], [7, False]]).logit_bias) == {5: 1.5, 7: -math.inf}


def test_a_bias_bans_or_forces(client: TestClient, demo: Engine) -> None:
    body = {"prompt": "Once upon a time", "max_tokens": 1, "logprobs": 1, "temperature": 0}
    first = demo.generate("Once upon a time", temperature=0, max_tokens=1).token_ids[0]

    def drawn(bias: object) -> str:
        reply = client.post("/v1/completions", json={**body, "logit_bias": bias})
        assert reply.status_code == 200, reply.text
        return str(reply.json()["choices"][0]["logprobs"]["tokens"][0])

    other = demo.tokenize(" upon", add_special=False)[0]
    assert drawn({}) == demo.detokenize([first])
    assert drawn({str(first): -100}) != demo.detokenize([first])
    assert drawn([[first, False]]) != demo.detokenize([first])
    assert drawn({str(other): 100}) == " upon"


def test_a_token_that_the_vocabulary_lacks_is_blamed(client: TestClient) -> None:
    for given in ({"logit_bias": {"999999": 1}}, {"stop_token_ids": [999999]}, {"banned_tokens": [999999]}):
        (name,) = given
        error = error_of(client.post("/v1/completions", json={"prompt": "a", **given}), 400)
        assert error["param"] == name


DRY = "dry_sequence_breakers"
EDGES: list[tuple[str, Any, dict[str, Any], dict[str, Any], str]] = [
    ("max_choices", 2, {"n": 2}, {"n": 3}, "n"),
    ("max_choices", 2, {"best_of": 2}, {"best_of": 3}, "best_of"),
    ("max_sequences", 4, {"prompt": ["a", "b"], "n": 2}, {"prompt": ["a", "b", "c"], "n": 2}, "n"),
    ("max_sequences", 4, {"prompt": ["a", "b"], "best_of": 2}, {"prompt": ["a"], "best_of": 5}, "best_of"),
    ("max_logit_bias", 1, {"logit_bias": {"1": 1}}, {"logit_bias": {"1": 1, "2": 1}}, "logit_bias"),
    ("max_stops", 1, {"stop": ["a"]}, {"stop": ["a", "b"]}, "stop"),
    ("max_dry_breakers", 1, {"dry_sequence_breakers": ["a"]}, {"dry_sequence_breakers": ["a", "b"]}, DRY),
    ("max_dry_breaker_characters", 3, {"dry_sequence_breakers": ["abc"]}, {"dry_sequence_breakers": ["abcd"]}, DRY),
    ("max_token_ids", 2, {"banned_tokens": [5, 6]}, {"banned_tokens": [5, 6, 7]}, "banned_tokens"),
    ("max_token_ids", 2, {"stop_token_ids": [5, 6]}, {"stop_token_ids": [5, 6, 7]}, "stop_token_ids"),
    ("max_stop_characters", 3, {"stop": ["abc"]}, {"stop": ["a", "abcd"]}, "stop"),
    ("max_tokens", 5, {"max_tokens": 5}, {"max_tokens": 6}, "max_tokens"),
    ("max_tokens", 5, {"n_predict": 5}, {"n_predict": 6}, "n_predict"),
    ("max_deadline", 5, {"deadline": 5}, {"deadline": 5.5}, "deadline"),
    ("max_prompts", 2, {"prompt": ["a", "b"]}, {"prompt": ["a", "b", "c"]}, "prompt"),
]


@pytest.mark.parametrize(("limit", "value", "allowed", "refused", "blamed"), EDGES)
def test_a_limit_at_its_edge(
    demo: Engine, limit: str, value: int, allowed: dict[str, Any], refused: dict[str, Any], blamed: str
) -> None:
    client = TestClient(create_app(demo, limits=Limits(**{limit: value})))
    body = {"prompt": "a", **({} if limit == "max_tokens" else {"max_tokens": 1})}
    assert client.post("/v1/completions", json={**body, **allowed}).status_code == 200
    error = error_of(client.post("/v1/completions", json={**body, **refused}), 400)
    assert error["param"].partition("[")[0] == blamed
    assert str(value) in error["message"]


def test_a_limit_is_what_a_request_gets_that_names_none() -> None:
    assert params(Limits(max_tokens=5)).max_tokens == 5
    assert params(Limits(max_tokens=50)).max_tokens == 16
    assert params(Limits(max_tokens=50), n_predict=-1).max_tokens == 50
    assert params(Limits(default_deadline=3)).deadline == 3
    assert params(Limits(max_deadline=2, default_deadline=3)).deadline == 2
    assert params(Limits(default_deadline=3), deadline=4).deadline == 4


def test_there_is_an_edge_for_every_limit_of_a_request() -> None:
    # The others belong to bodies, keys, chats and the queue, and are tested there.
    elsewhere = {
        "max_body_bytes",
        "max_bodies_bytes",
        "max_inputs",
        "max_depth",
        "max_messages",
        "max_upload_bytes",
        "requests_per_minute",
        "concurrent_requests",
    }
    elsewhere |= {"default_deadline", "queue_timeout"}
    assert {edge[0] for edge in EDGES} | elsewhere == set(Limits.__dataclass_fields__)


@pytest.mark.parametrize("stream", [False, True])
def test_a_request_that_bans_every_token_is_the_client_s_mistake(demo: Engine, stream: bool) -> None:
    body = {"prompt": "a", "banned_tokens": list(range(demo.n_vocab)), "max_tokens": 2, "stream": stream}
    error = error_of(TestClient(create_app(demo)).post("/v1/completions", json=body), 400)
    assert error["code"] == "no_token_left"


class TestPriority:
    """Over HTTP lower is earlier, in Python larger is sooner."""

    @pytest.mark.parametrize("given", [0, 1, 2**31 - 1])
    def test_later_is_always_allowed(self, given: int) -> None:
        assert params(priority=given).priority == -given
        assert params().priority == params(priority=None).priority == 0

    @pytest.mark.parametrize(("most", "given"), [(0, -1), (3, -4), (3, -(2**31)), (0, -(2**62)), (0, 2**31)])
    def test_earlier_only_as_far_as_the_owner_allows(self, demo: Engine, most: int, given: int) -> None:
        client = TestClient(create_app(demo, max_priority=most))
        for path, body in (
            ("/v1/completions", {"prompt": "a", "max_tokens": 1}),
            ("/v1/chat/completions", {"messages": [{"role": "user", "content": "a"}], "max_tokens": 1}),
            ("/v1/responses", {"input": "a", "max_output_tokens": 1}),
        ):
            error = error_of(client.post(path, json={**body, "priority": given}), 400)
            assert error["param"] == "priority"
            assert client.post(path, json={**body, "priority": -most}).status_code == 200

    def test_the_owner_s_word_is_checked(self, demo: Engine) -> None:
        for wrong in (-1, 1.5, "1", 2**31):
            with pytest.raises(InvalidRequestError, match="max_priority"):
                create_app(demo, max_priority=wrong)  # type: ignore[arg-type]
