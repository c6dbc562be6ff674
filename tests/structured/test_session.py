"""A grammar beside the sampler, without an engine: the same chain that the engine uses."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oxillama import Engine, Grammar, GrammarError, Sampler, SamplingParams
from oxillama.demo import demo_path
from oxillama.errors import InvalidRequestError
from oxillama.structured.masks import ids_of, packed
from oxillama.structured.session import GrammarSession
from oxillama.testing import strategies as ox
from oxillama.tokenizer import Tokenizer

TOKENIZER = Tokenizer.from_gguf(demo_path())
GRAMMAR = Grammar("regex", "(yes|no)( [0-9]+)?")


def test_a_session_tells_what_may_follow() -> None:
    session = GRAMMAR.session(TOKENIZER)
    first = session.allowed()
    assert {TOKENIZER.token_bytes(token)[:1] for token in first} == {b"y", b"n"}
    assert not session.is_complete
    session.accept(next(token for token in first if TOKENIZER.token_bytes(token) == b"n"))
    assert {TOKENIZER.token_bytes(token)[:1] for token in session.allowed()} == {b"o"}
    session.rollback(1)
    assert session.allowed() == first
    with pytest.raises(GrammarError, match="does not allow token"):
        session.accept(0)
    assert session.allowed() == first
    assert repr(session) == f"<GrammarSession of {GRAMMAR!r}>"


def test_the_end_of_a_text() -> None:
    session = GrammarSession(Grammar("regex", "a"), TOKENIZER)
    session.accept(session.allowed()[0])
    assert session.is_complete
    assert session.allowed() == sorted(TOKENIZER.eog_ids)
    with pytest.raises(GrammarError, match="ends the text"):
        session.accept(min(TOKENIZER.eog_ids))
    session.rollback(1)
    assert not session.is_complete


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    params=ox.sampling_params(n_vocab=TOKENIZER.n_vocab, ignore_eos=False, min_tokens=0),
)
def test_the_chain_draws_what_is_allowed(seed: int, params: SamplingParams) -> None:
    logits = np.random.default_rng(seed).normal(scale=3, size=TOKENIZER.n_vocab).astype(np.float32)
    session = GRAMMAR.session()
    sampler = Sampler(params, tokenizer=TOKENIZER, eog_tokens=TOKENIZER.eog_ids)
    try:
        probs = sampler.probs(logits, mask=session)
    except InvalidRequestError:  # bans that leave nothing
        return
    allowed = session.allowed()
    assert set(np.flatnonzero(probs)) <= set(allowed)
    assert sampler.sample(logits, mask=session) in allowed
    as_row = np.zeros(TOKENIZER.n_vocab, dtype=bool)
    as_row[allowed] = True
    np.testing.assert_array_equal(sampler.probs(logits, mask=allowed), probs)
    np.testing.assert_array_equal(sampler.probs(logits, mask=as_row), probs)


def test_the_sampler_beside_the_engine() -> None:
    """Follows a reply of the engine token by token."""
    params = SamplingParams(seed=3, temperature=1.3, top_p=0.9, max_tokens=20, grammar=GRAMMAR)
    with Engine.demo(progress=False, n_threads=1) as engine:
        reply = engine.generate("One day", params)
        prompt = engine.tokenize("One day")
        sampler, session = Sampler(params, tokenizer=engine.tokenizer), GrammarSession(GRAMMAR)
        written: list[int] = []
        for token in reply.token_ids:
            row = engine.logits([*prompt, *written])[-1]
            assert sampler.sample(row, (prompt, written), len(written), mask=session) == token
            if token in TOKENIZER.eog_ids:
                break
            session.accept(token)
            written.append(token)


def test_masks_of_other_shapes_are_refused() -> None:
    sampler = Sampler(SamplingParams(seed=1))
    row = np.zeros(70, dtype=np.float32)
    for mask in (np.zeros(3, dtype=bool), [70], [-1], [0.5], [[1]]):
        with pytest.raises(InvalidRequestError, match="mask") as caught:
            sampler.sample(row, mask=mask)  # type: ignore[arg-type]
        assert caught.value.param == "mask"
    with pytest.raises(InvalidRequestError, match="needs the tokenizer"):
        sampler.sample(row, mask=GrammarSession(GRAMMAR))
    with pytest.raises(InvalidRequestError, match="vocabulary of 2048"):
        sampler.sample(row, mask=GrammarSession(GRAMMAR, TOKENIZER))
    with pytest.raises(InvalidRequestError, match="no tokenizer yet"):
        GrammarSession(GRAMMAR).allowed()
    assert sampler.sample(row, mask=[65]) == 65


@pytest.mark.parametrize("n_vocab", [1, 31, 32, 33, 64, 75])
def test_words(n_vocab: int) -> None:
    ids = [token for token in range(n_vocab) if token % 3 == 0]
    assert ids_of(packed(ids, n_vocab)) == ids
    assert packed([], n_vocab).shape == ((n_vocab + 31) // 32,)
