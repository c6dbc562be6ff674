"""Replies drawn at random from a grammar, with nothing but its masks: no model, so every corner is as likely as any."""

from __future__ import annotations

import random
from functools import cache
from typing import Any

import numpy as np
import pytest

from oxillama import Grammar, Tokenizer
from oxillama.demo import demo_path

llguidance = pytest.importorskip("llguidance", reason="the grammar engine is not installed")

MAX_TOKENS = 400


class _Vocabulary:
    """The demo's vocabulary as llguidance's classes want it."""

    def __init__(self) -> None:
        tokenizer = Tokenizer.from_gguf(demo_path())
        ids = range(tokenizer.n_vocab)
        self.tokenizer = tokenizer
        self.special_token_ids = [token for token in ids if tokenizer.is_control(token)]
        self.tokens = [tokenizer.token_bytes(token) or b"<%d>" % token for token in ids]
        self.eos_token_id = min(tokenizer.eog_ids)
        self.bos_token_id = tokenizer.bos_id

    def __call__(self, text: bytes | str) -> list[int]:
        text = text if isinstance(text, str) else text.decode("utf-8", "replace")
        return self.tokenizer.encode(text, add_special=False)


@cache
def _engine_tokenizer() -> tuple[Any, _Vocabulary]:
    vocabulary = _Vocabulary()
    return llguidance.LLTokenizer(llguidance.TokenizerWrapper(vocabulary)), vocabulary


def matcher(grammar: Grammar) -> Any:
    """llguidance's own object for a grammar. ``get_error()`` tells whether it compiled."""
    text = grammar.text if grammar.kind == "lark" else llguidance.grammar_from(grammar.kind, grammar.text)
    return llguidance.LLMatcher(_engine_tokenizer()[0], text)


def problem(grammar: Grammar) -> str:
    """What the engine has against a grammar; "" for nothing."""
    found = matcher(grammar)
    return str(found.get_error()) if found.is_error() else ""


def accepts(grammar: Grammar, text: str) -> bool:
    """Whether a text is a complete reply."""
    state = matcher(grammar)
    assert not state.is_error(), state.get_error()
    vocabulary = _engine_tokenizer()[1]
    ids = vocabulary(text)
    return bool(state.try_consume_tokens(ids) == len(ids) and state.is_accepting())


def walk(grammar: Grammar, seed: int, *, ends_at: float = 0.3) -> str | None:
    """A complete reply; None for one that did not end. `ends_at`: how likely it ends where it may."""
    state = matcher(grammar)
    assert not state.is_error(), state.get_error()
    vocabulary, chance = _engine_tokenizer()[1], random.Random(seed)
    lengths = np.array([len(token) for token in vocabulary.tokens])
    ids: list[int] = []
    for step in range(MAX_TOKENS):
        if state.is_accepting() and chance.random() < ends_at:
            break
        bits = np.unpackbits(np.frombuffer(state.compute_bitmask(), np.uint8), bitorder="little")
        allowed = np.flatnonzero(bits[: len(lengths)])
        allowed = allowed[allowed != vocabulary.eos_token_id]
        if not len(allowed):
            assert state.is_accepting(), "nothing may follow, and it is not complete"
            break
        # What closes something is short: late in a reply it is preferred, or few would end.
        if step > MAX_TOKENS // 4 and chance.random() < 0.7:
            closing = [token for token in allowed if vocabulary.tokens[token][:1] in b'"}],0']
            allowed = np.array(closing) if closing else allowed
        token = int(chance.choice(list(allowed)))
        ids.append(token)
        assert state.consume_token(token), state.get_error()
        if state.is_stopped():
            break
    else:
        return None
    return b"".join(vocabulary.tokens[token] for token in ids).decode()
