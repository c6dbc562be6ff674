"""Hypothesis strategies for sampling and for tiny models, so that an application can test its own settings.

Needs the extra ``testing``. A test of settings that must never pick an improbable token:

>>> import math
>>> from hypothesis import given
>>> from oxillama import Sampler, SamplingParams
>>> from oxillama.testing import strategies as ox
>>> @given(logits=ox.logits())
... def test_only_probable_tokens(logits):
...     token = Sampler(SamplingParams(min_p=0.1, temperature=0.7, seed=1)).sample(logits)
...     assert logits[token] >= logits.max() + math.log(0.1) - 1e-4
>>> test_only_probable_tokens()
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from oxillama.sampling.params import SamplingParams
from oxillama.testing.grammar_strategies import grammars, json_schemas
from oxillama.testing.random_blocks import FORMATS
from oxillama.testing.tiny_models import TinyModel

__all__ = [
    "conversations",
    "grammars",
    "hostile_texts",
    "json_schemas",
    "logits",
    "sampling_params",
    "tiny_models",
    "token_histories",
]

# Larger rows are made of a seed.
MOST_DRAWN = 256
_FIELDS = frozenset(spec.name for spec in fields(SamplingParams))


def logits(
    n_vocab: int | st.SearchStrategy[int] | None = None, *, low: float = -30.0, high: float = 30.0
) -> st.SearchStrategy[NDArray[np.float32]]:
    """Rows of finite logits, float32 [n_vocab], from ``low`` to ``high``; without ``n_vocab``, 1 to 80 tokens.

    Among them rows full of ties, flat rows and rows with one outstanding token, where samplers go wrong.
    """
    if not np.isfinite([low, high]).all() or low >= high:
        raise ValueError(f"low must be below high and both finite, found {low!r} and {high!r}")
    sizes = st.integers(1, 80) if n_vocab is None else st.just(n_vocab) if isinstance(n_vocab, int) else n_vocab
    return sizes.flatmap(lambda size: _rows(size, np.float32(low), np.float32(high)))


def _rows(size: int, low: np.float32, high: np.float32) -> st.SearchStrategy[NDArray[np.float32]]:
    if size > MOST_DRAWN:
        return _large_rows(size, low, high)
    spread = st.floats(float(low), float(high), width=32)
    few = st.lists(spread, min_size=1, max_size=4).flatmap(st.sampled_from)
    return st.one_of(
        hnp.arrays(np.float32, size, elements=spread, fill=st.nothing()),
        hnp.arrays(np.float32, size, elements=few, fill=st.nothing()),
        hnp.arrays(np.float32, size, elements=spread),
    )


@st.composite
def _large_rows(draw: st.DrawFn, size: int, low: np.float32, high: np.float32) -> NDArray[np.float32]:
    """Rows of a real vocabulary: drawn one by one they would be more than Hypothesis takes. A seeded row, with a few
    tokens that are drawn, which is what shrinks."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    middle, spread = (float(low) + float(high)) / 2, (float(high) - float(low)) / 8
    kind = draw(st.sampled_from(["flat", "ties", "bell"]))
    if kind == "flat":
        row = np.full(size, draw(st.floats(float(low), float(high), width=32)), np.float32)
    else:
        row = (middle + spread * rng.standard_normal(size, np.float32)).astype(np.float32)
        row = np.round(row) if kind == "ties" else row
    spikes = st.dictionaries(st.integers(0, size - 1), st.floats(float(low), float(high), width=32), max_size=8)
    for token, value in draw(spikes).items():
        row[token] = value
    return np.clip(row, low, high)


@st.composite
def tiny_models(draw: st.DrawFn, /, **fixed: Any) -> TinyModel:
    """Llama models of a few kilobytes with random weights; ``fixed`` are fields of TinyModel. Write one with ``write``.

    Every weight type, grouped and ungrouped heads, windows, biases, tied embeddings, and sizes that are no multiple of
    anything.
    """
    n_head_kv = draw(st.sampled_from([1, 2, 4]))
    drawn: dict[str, Any] = {
        "n_vocab": draw(st.integers(3, 150)),
        "n_layers": draw(st.integers(1, 3)),
        "n_embd": draw(st.sampled_from([32, 48, 64, 256])),
        "n_ff": draw(st.sampled_from([32, 60, 96, 256])),
        "n_head": n_head_kv * draw(st.sampled_from([1, 2, 3, 8])),
        "n_head_kv": n_head_kv,
        "head_dim": draw(st.sampled_from([2, 8, 12, 16, 64])),
        "type_name": draw(st.sampled_from(sorted(FORMATS))),
        "window": draw(st.sampled_from([0, 1, 7, 40])),
        "tied": draw(st.booleans()),
        "biases": draw(st.booleans()),
        "seed": draw(st.integers(0, 2**32 - 1)),
    }
    unknown = fixed.keys() - {spec.name for spec in fields(TinyModel)}
    if unknown:
        raise TypeError(f"TinyModel has no field {', '.join(sorted(unknown))}")
    return TinyModel(**{**drawn, **fixed})


# What goes wrong in texts that people, files and attackers write. Tokens of other models' templates too.
HOSTILE = (
    "", " ", "\n", "\x00", "\ufeff", "\ufffd", "\u202eabc", "a\u0301\u0301\u0301",
    "\U0001f469\u200d\U0001f469\u200d\U0001f467",
    "<s>", "</s>", "<|im_start|>system\n", "<|im_end|>", "<|endoftext|>", "[INST]", "<|eot_id|>", "<think>", "</think>",
    "<tool_call>", "{{ 7 * 7 }}", "{% raw %}", "'; DROP TABLE users; --", "<script>alert(1)</script>",
    "data: [DONE]\n\n", "```", "\\u0000", "%s%n", "../../etc/passwd",
    "\N{LEFT-TO-RIGHT OVERRIDE}", "\N{CJK UNIFIED IDEOGRAPH-9F98}",
)  # fmt: skip


def hostile_texts(max_size: int = 200) -> st.SearchStrategy[str]:
    """Texts that break things: control tokens of templates, controls and combinations of Unicode, JSON and SSE in the
    wrong place, long repetitions; among ordinary ones. Never a lone surrogate, which is no text."""
    words = st.one_of(st.sampled_from(HOSTILE), st.text(st.characters(codec="utf-8"), max_size=12))
    runs = st.tuples(words, st.integers(1, 20)).map(lambda pair: pair[0] * pair[1])
    return st.lists(st.one_of(words, runs), max_size=6).map(lambda parts: "".join(parts)[:max_size])


def conversations(
    *, max_turns: int = 4, system: bool | None = None, texts: st.SearchStrategy[str] | None = None
) -> st.SearchStrategy[list[dict[str, str]]]:
    """Conversations that end with a question: turns of user and assistant, perhaps after a system message.

    system: True or False for always or never. texts: what is said; by default `hostile_texts`, but never nothing."""
    said = hostile_texts() if texts is None else texts
    content = said.map(lambda text: text if text.strip() else "Hello")
    first = st.fixed_dictionaries({"role": st.just("system"), "content": content})
    begins = {None: st.lists(first, max_size=1), True: st.lists(first, min_size=1, max_size=1), False: st.just([])}

    def turns(contents: list[str]) -> list[dict[str, str]]:
        # An odd number of them, so that the last one is the user's.
        return [{"role": ("user", "assistant")[index % 2], "content": one} for index, one in enumerate(contents)]

    counts = st.integers(1, max_turns).map(lambda turn: 2 * turn - 1)
    spoken = counts.flatmap(lambda count: st.lists(content, min_size=count, max_size=count)).map(turns)
    return st.tuples(begins[system], spoken).map(lambda parts: [*parts[0], *parts[1]])


def token_histories(
    n_vocab: int = 80, *, max_prompt: int = 24, max_output: int = 24
) -> st.SearchStrategy[tuple[list[int], list[int]]]:
    """Pairs (prompt, output) of token ids below ``n_vocab``, many of them repetitive; each list may be empty."""
    return st.tuples(_runs(n_vocab, max_prompt), _runs(n_vocab, max_output))


def _runs(n_vocab: int, max_size: int) -> st.SearchStrategy[list[int]]:
    token = st.integers(0, n_vocab - 1)
    phrase = st.lists(st.integers(0, min(n_vocab, 4) - 1), min_size=1, max_size=4)
    return st.one_of(
        st.lists(token, max_size=max_size),
        st.lists(phrase, max_size=max_size).map(lambda parts: [token for part in parts for token in part][:max_size]),
        st.tuples(phrase, st.integers(0, max_size)).map(lambda pair: (pair[0] * max_size)[: pair[1]]),
    )


def sampling_params(*, n_vocab: int = 80, mirostat: bool = False, **fixed: Any) -> st.SearchStrategy[SamplingParams]:
    """Valid SamplingParams, by default over every sampler stage but mirostat (which needs a session).

    A keyword fixes a field to a value, or to values of a strategy: ``sampling_params(top_k=40, seed=st.integers(0,
    9))``. Token ids stay below ``n_vocab``. Texts, limits and scheduling options keep their defaults unless given.
    The seed is always set, so that an example can be repeated. Raises TypeError for a name that is no field.
    """
    unknown = set(fixed) - _FIELDS
    if unknown:
        raise TypeError(f"SamplingParams has no field {sorted(unknown)[0]!r}")
    drawn = {name: strategy for name, strategy in _stages(n_vocab, mirostat).items() if name not in fixed}
    given: dict[str, st.SearchStrategy[Any]] = {
        name: value if isinstance(value, st.SearchStrategy) else st.just(value) for name, value in fixed.items()
    }
    given.setdefault("seed", st.integers(0, 2**64 - 1))
    given.setdefault("dry_sequence_breakers", _breakers(n_vocab))
    return st.fixed_dictionaries(given, optional=drawn).map(lambda values: SamplingParams(**values))


def _breakers(n_vocab: int) -> st.SearchStrategy[list[list[int]]]:
    return st.lists(st.lists(st.integers(0, n_vocab - 1), min_size=1, max_size=3), max_size=3)


def _stages(n_vocab: int, mirostat: bool) -> Mapping[str, st.SearchStrategy[Any]]:
    share = st.floats(0.01, 1.0)
    tokens = st.lists(st.integers(0, n_vocab - 1), max_size=4)
    stages: dict[str, st.SearchStrategy[Any]] = {
        "temperature": st.one_of(st.just(0.0), st.floats(0.05, 4.0)),
        "top_k": st.integers(0, n_vocab),
        "top_p": share,
        "min_p": st.floats(0.0, 1.0),
        "typical_p": share,
        "top_a": st.floats(0.0, 1.0),
        "top_n_sigma": st.floats(-1.0, 4.0),
        "epsilon_cutoff": st.floats(0.0, 0.2),
        "eta_cutoff": st.floats(0.0, 0.2),
        "xtc_probability": st.floats(0.0, 1.0),
        "xtc_threshold": st.floats(0.0, 0.6),
        "dry_multiplier": st.floats(0.0, 3.0),
        "dry_base": st.floats(1.0, 3.0),
        "dry_allowed_length": st.integers(0, 4),
        "dry_penalty_last_n": st.integers(-1, 40),
        "repetition_penalty": st.floats(0.5, 2.0),
        "repeat_last_n": st.integers(-1, 40),
        "presence_penalty": st.floats(-2.0, 2.0),
        "frequency_penalty": st.floats(-2.0, 2.0),
        "dynatemp_range": st.floats(0.0, 2.0),
        "dynatemp_exponent": st.floats(0.1, 3.0),
        "logit_bias": st.dictionaries(st.integers(0, n_vocab - 1), st.floats(-100.0, 100.0), max_size=4),
        "banned_tokens": tokens,
        "stop_token_ids": tokens,
        "min_tokens": st.integers(0, 4),
    }
    if mirostat:
        stages["mirostat"] = st.sampled_from([1, 2])
        stages["mirostat_tau"] = st.floats(0.1, 8.0)
        stages["mirostat_eta"] = st.floats(0.01, 1.0)
    return stages
