"""Text as it arrives: whatever tokens split, characters stay whole, stop texts stay out, the deltas are the text."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from oxillama import Engine
from oxillama.asgi import create_app
from oxillama.testing.tiny_models import TinyModel
from tests.asgi import events
from tests.asgi.chain_model import write_chain_model

HI = [{"role": "user", "content": "x"}]


def post(client: TestClient, route: str, body: dict[str, Any]) -> Any:
    reply = client.post(route, json=body)
    assert reply.status_code == 200, reply.text
    return events.complete(reply.text) if body.get("stream") else reply.json()


def both_ways(client: TestClient, **body: Any) -> tuple[str, list[str]]:
    """The content of a chat as a whole, and its deltas."""
    whole = post(client, "/v1/chat/completions", {"messages": HI, **body})
    chunks = post(client, "/v1/chat/completions", {"messages": HI, "stream": True, **body})
    deltas = [chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks]
    return whole["choices"][0]["message"]["content"], deltas


def distinct(text: str, cuts: frozenset[int]) -> list[str]:
    edges = [0, *sorted(cuts), len(text)]
    return [text[a:b] for a, b in itertools.pairwise(edges) if a < b]


def check_stops(path: Path, text: str, cuts: frozenset[int], stops: Iterable[list[str]]) -> None:
    """A model that writes `text` in these pieces, stopped in each of these ways."""
    write_chain_model(path, distinct(text, cuts))
    with Engine(path, n_threads=1, progress=False) as engine:
        client = TestClient(create_app(engine))
        for stop in stops:
            found = [text.index(one) for one in stop if one in text]
            whole, deltas = both_ways(client, stop=stop)
            assert whole == text[: min(found)] if found else text
            assert "".join(deltas) == whole


@pytest.mark.parametrize("n_cuts", range(5))
def test_every_stop_text_over_every_split(tmp_path: Path, n_cuts: int) -> None:
    text = "abcde"
    pieces = [text[a:b] for a, b in itertools.combinations(range(len(text) + 1), 2)]
    for number, cuts in enumerate(itertools.combinations(range(1, len(text)), n_cuts)):
        check_stops(tmp_path / f"{number}.gguf", text, frozenset(cuts), ([piece] for piece in pieces))


LONG = "abcdefghij klmnopqr"
PIECES = st.tuples(st.integers(0, 18), st.integers(1, 6)).map(lambda place: LONG[place[0] : sum(place)])
STOPS = st.lists(PIECES | st.sampled_from(["zz", "a b", "rs", "bcx"]), max_size=4, unique=True)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(cuts=st.frozensets(st.integers(1, 18)), stop=STOPS)
def test_several_stop_texts_over_any_split(tmp_path: Path, cuts: frozenset[int], stop: list[str]) -> None:
    check_stops(tmp_path / "split.gguf", LONG, cuts, [stop])


@pytest.fixture(scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A model that writes random bytes: characters are split, cut off, and wrong."""
    path = tmp_path_factory.mktemp("models") / "noise.gguf"
    TinyModel(n_layers=1, tokenizer=True).write(path)
    with Engine(path, n_threads=1, progress=False) as engine:
        yield TestClient(create_app(engine))


# Bytes of a few characters of two, three and four bytes, so that whole ones come about.
NOISE_STOPS = st.sampled_from([[], ["a"], ["é"], ["\ufffd"], ["ab", "🦊"]])
ENCOURAGED = {str(3 + byte): 40 for byte in "é€🦊ab".encode()}


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 1 << 32),
    max_tokens=st.integers(1, 60),
    stop=st.sampled_from([[], ["a"], ["é"], ["\ufffd"], ["ab", "🦊"]]),
)
def test_bytes_of_any_kind(noise: TestClient, seed: int, max_tokens: int, stop: list[str]) -> None:
    body = {
        "prompt": "x",
        "seed": seed,
        "max_tokens": max_tokens,
        "stop": stop,
        "logit_bias": ENCOURAGED,
        "logprobs": 0,
    }
    (choice,) = post(noise, "/v1/completions", body)["choices"]
    chunks = post(noise, "/v1/completions", {**body, "stream": True})
    assert events.texts_by_choice(chunks) == {0: choice["text"]}
    for text in stop:
        assert text not in choice["text"]
    tokens = [token for chunk in chunks for token in (chunk["choices"][0]["logprobs"] or {"tokens": []})["tokens"]]
    assert tokens == choice["logprobs"]["tokens"]
    # Every piece could be read alone: nothing waits for bytes to come.
    for chunk in chunks:
        chunk["choices"][0]["text"].encode("utf-8")


def test_a_character_in_four_tokens_comes_in_one_piece(noise: TestClient) -> None:
    found = set()
    for seed in range(40):
        body = {"prompt": "x", "seed": seed, "max_tokens": 60, "logit_bias": ENCOURAGED, "stream": True}
        for chunk in post(noise, "/v1/completions", body):
            found |= set(chunk["choices"][0]["text"])
    assert "é" in found
